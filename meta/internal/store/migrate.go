package store

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"text/template"

	"github.com/ops-updater/ops-updater/meta/api"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrationLock is the key of PostgreSQL's advisory lock; any number will do
// as long as it stays.
const migrationLock = 7_305_806_221

// migration is one step of the schema. They only go forward: a file that was
// released never changes.
type migration struct {
	version int
	name    string
	sql     string
}

func allMigrations(d dialect) ([]migration, error) {
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	var all []migration
	for i, name := range names { // sorted by Glob
		t, err := template.ParseFS(migrations, name)
		if err != nil {
			return nil, err
		}
		var b strings.Builder
		if err := t.Execute(&b, d); err != nil {
			return nil, err
		}
		short := strings.TrimSuffix(strings.TrimPrefix(name, "migrations/"), ".sql")
		number, _, _ := strings.Cut(short, "_")
		if n, err := strconv.Atoi(number); err != nil || n != i+1 {
			return nil, fmt.Errorf("migration %s is not number %d", short, i+1)
		}
		all = append(all, migration{version: i + 1, name: short, sql: b.String()})
	}
	return all, nil
}

// latest stands for the newest version that this ops-meta knows.
const latest = -1

// migrateSchema brings the schema up to date in one transaction, one process at a
// time.
func (s *Store) migrateSchema(ctx context.Context) error {
	return s.inTx(ctx, "migrate database", func(tx *sql.Tx) error {
		at, err := s.lockSchema(ctx, tx)
		if err != nil {
			return err
		}
		return s.migrateTo(ctx, tx, at, latest)
	})
}

// lockSchema keeps other processes from migrating and returns the version.
func (s *Store) lockSchema(ctx context.Context, tx *sql.Tx) (version int, err error) {
	if s.dialect.Postgres {
		// Replicas that are updated together start together. The table that says what
		// was done may not exist yet, so it cannot be what is locked.
		if _, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(migrationLock)); err != nil {
			return 0, err
		}
	}
	_, err = tx.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS schema_migrations (version BIGINT PRIMARY KEY, name TEXT NOT NULL, applied BIGINT NOT NULL)`)
	if err != nil {
		return 0, err
	}
	return schemaVersion(ctx, tx)
}

func schemaVersion(ctx context.Context, q querier) (version int, err error) {
	err = q.QueryRowContext(ctx, `SELECT COALESCE(MAX(version), 0) FROM schema_migrations`).Scan(&version)
	return version, err
}

func (s *Store) migrateTo(ctx context.Context, tx *sql.Tx, from, to int) error {
	all, err := allMigrations(s.dialect)
	if err != nil {
		return err
	}
	if to == latest {
		to = len(all)
	}
	// An older program would not know what it must not break.
	if from > len(all) || to > len(all) {
		return api.Errorf(api.KindInvalid, "schema version %d is of a newer ops-meta, this one knows %d: use the newer one", max(from, to), len(all))
	}
	for _, m := range all[from:to] {
		if err := s.applyMigration(ctx, tx, m); err != nil {
			return fmt.Errorf("migration %s: %w", m.name, err)
		}
	}
	return nil
}

func (s *Store) applyMigration(ctx context.Context, tx *sql.Tx, m migration) error {
	if _, err := tx.ExecContext(ctx, m.sql); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO schema_migrations (version, name, applied) VALUES ($1, $2, `+s.dialect.Now+`)`, m.version, m.name)
	return err
}
