package store

import (
	"context"
	"database/sql"
	"errors"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// ProveWritable writes to the database and takes it back: nil means that a
// change would have been kept. It works on a row of its own, so that replicas
// and operators' writes don't wait for each other, and really dirties a page:
// SQLite leaves one alone whose row gets the value that it has.
func (s *Store) ProveWritable(ctx context.Context) error {
	row := "written by " + s.id
	return s.inTx(ctx, "write to the database", func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `INSERT INTO leases (name, holder, expires) VALUES ($1, $2, `+s.dialect.Now+`)`, row, s.id); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `DELETE FROM leases WHERE name = $1`, row)
		return err
	})
}

// WhyNotWritable says in a few words, without names or addresses, why a write
// failed.
func WhyNotWritable(err error) string {
	var lite *sqlite.Error
	if errors.As(err, &lite) {
		switch lite.Code() & 0xff {
		case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
			return "it is locked by another process"
		case sqlite3.SQLITE_FULL:
			return "its disk is full"
		case sqlite3.SQLITE_READONLY:
			return "it is read-only"
		case sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR:
			return "its file cannot be opened, read or written"
		case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
			return "its file is damaged"
		}
		return "it failed"
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		switch pg.Code {
		case "25006":
			return "it is read-only, as a standby is"
		case "53100":
			return "its disk is full"
		case "55P03":
			return "it is locked"
		}
		return "it failed with " + pg.Code
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return "it did not take a write in time"
	}
	return "it does not answer"
}
