package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
)

// Config says where the database is. Exactly one of Dir and DSN is set.
type Config struct {
	Dir string // SQLite: the directory of ops-meta.db, made when missing
	DSN string // PostgreSQL: a URL or keyword string

	MaxConns int // PostgreSQL: connections of the pool; 0: 16
}

// file is SQLite's database in [Config].Dir.
const file = "ops-meta.db"

func (c Config) validate() error {
	if (c.Dir == "") == (c.DSN == "") {
		return api.Errorf(api.KindInvalid, "cannot open store: want either a directory or a PostgreSQL address")
	}
	return nil
}

// Store is an open database. It is safe for concurrent use, and any number of
// processes may have the same PostgreSQL open.
type Store struct {
	Reader // reads outside of a transaction

	cfg     Config
	dialect dialect
	writer  *sql.DB // SQLite: one connection; PostgreSQL: the pool
	reader  *sql.DB
	id      string // of this process, as the holder of leases
	path    string // SQLite: the file

	done    context.CancelFunc // ends what the store has running
	running context.Context
	wg      sync.WaitGroup
	hub     hub
	written atomic.Int64 // the serial of this process's last write

	isMember func(host, group string) bool // see [Store.JudgeMembers]
}

// Open opens the database, creating and migrating it as needed. A database of
// a newer ops-meta is refused.
func Open(ctx context.Context, c Config) (*Store, error) {
	s, err := connectTo(ctx, c)
	if err != nil {
		return nil, err
	}
	if err := s.migrateSchema(ctx); err != nil {
		if s.path != "" {
			err = fmt.Errorf("cannot use %s: %w", s.path, err)
		}
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// connectTo makes a store of a database as it is.
func connectTo(ctx context.Context, c Config) (*Store, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	s := &Store{cfg: c, id: rand.Text()}
	// What runs ends with Close, not with the context that only bounds the opening.
	s.running, s.done = context.WithCancel(context.WithoutCancel(ctx))
	open := s.openSQLite
	if c.DSN != "" {
		open = s.openPostgres
	}
	if err := open(ctx); err != nil {
		return nil, err
	}
	s.Reader = Reader{q: s.reader}
	return s, nil
}

// Close waits for what runs and closes the database.
func (s *Store) Close() error {
	s.done()
	s.wg.Wait()
	err := s.writer.Close()
	// With PostgreSQL both are one pool.
	if s.reader != s.writer {
		err = errors.Join(err, s.reader.Close())
	}
	return err
}

// Dialect is "sqlite" or "postgres".
func (s *Store) Dialect() string { return s.dialect.Name }

func (s *Store) openSQLite(ctx context.Context) error {
	s.dialect = sqliteDialect
	if err := os.MkdirAll(s.cfg.Dir, 0o700); err != nil {
		return fmt.Errorf("cannot make data directory: %w", err)
	}
	s.path = filepath.Join(s.cfg.Dir, file)
	var err error
	if s.writer, s.reader, err = openSQLiteFile(ctx, s.path); err != nil {
		return fmt.Errorf("cannot open %s: %w", s.path, err)
	}
	return nil
}

// querier is what reads need of a database or a transaction.
type querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// Reader reads nouns. A [Store] reads what is committed, a [Tx] also sees its
// own writes.
type Reader struct{ q querier }

// inTx runs do in a writing transaction, again when PostgreSQL asks for it.
func (s *Store) inTx(ctx context.Context, what string, do func(*sql.Tx) error) error {
	var err error
	// Serialization failures and deadlocks are PostgreSQL's way to say "again"; eight
	// in a row are something else.
	for range 8 {
		if err = s.tryTx(ctx, do); !isRetryable(err) {
			break
		}
	}
	return faultOf(what, err)
}

func (s *Store) tryTx(ctx context.Context, do func(*sql.Tx) error) error {
	tx, err := s.writer.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := do(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// inView runs do in a reading transaction that sees one moment.
func (s *Store) inView(ctx context.Context, what string, do func(*sql.Tx) error) error {
	opts := &sql.TxOptions{ReadOnly: true}
	if s.dialect.Postgres {
		// By default each statement would see a moment of its own.
		opts.Isolation = sql.LevelRepeatableRead
	}
	tx, err := s.reader.BeginTx(ctx, opts)
	if err != nil {
		return faultOf(what, err)
	}
	defer tx.Rollback()
	return faultOf(what, do(tx))
}

func toMicros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}
