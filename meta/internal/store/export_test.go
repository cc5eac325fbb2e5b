package store

import (
	"context"
	"database/sql"
	"errors"

	"github.com/ops-updater/ops-updater/meta/api"
)

// Exec runs a statement past the store's methods.
func Exec(s *Store, query string) error {
	_, err := s.writer.ExecContext(context.Background(), query)
	return err
}

// Tables returns the tables that there are.
func Tables(ctx context.Context, s *Store) (names []string, err error) {
	query := `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name`
	if s.dialect.Postgres {
		query = `SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema() ORDER BY table_name`
	}
	rows, err := s.reader.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, rows.Err()
}

// BackedUp is what an archive holds.
var BackedUp = tables

// EncodeHost is how a host's row holds it.
func EncodeHost(h api.Host) []byte { return encodeHost(nil, h) }

// DecodeHost is the opposite of EncodeHost.
func DecodeHost(doc []byte) (h api.Host, err error) {
	err = decodeHost(string(doc), &h)
	return h, err
}

// HostEncoding is the encoding that hosts are written in.
const HostEncoding = hostEncoding

// SchemaVersion is the version of an open database's schema.
func SchemaVersion(ctx context.Context, s *Store) (int, error) { return schemaVersion(ctx, s.reader) }

// OpenAt opens a database as an older ops-meta did, whose newest schema was version.
func OpenAt(ctx context.Context, c Config, version int) (*Store, error) {
	s, err := connectTo(ctx, c)
	if err != nil {
		return nil, err
	}
	err = s.inTx(ctx, "migrate database", func(tx *sql.Tx) error {
		at, err := s.lockSchema(ctx, tx)
		if err != nil {
			return err
		}
		return s.migrateTo(ctx, tx, at, version)
	})
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Migrations are the statements of every migration, for SQLite.
func Migrations() (texts []string, err error) {
	all, err := allMigrations(sqliteDialect)
	for _, m := range all {
		texts = append(texts, m.sql)
	}
	return texts, err
}
