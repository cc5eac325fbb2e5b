package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"modernc.org/sqlite" // also the driver "sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/ops-updater/ops-updater/internal/pause"
	"github.com/ops-updater/ops-updater/internal/plainfile"
	"github.com/ops-updater/ops-updater/meta/api"
)

const (
	busyTimeout = 10 * time.Second // for somebody else's write
	walPause    = 10 * time.Millisecond
)

// openSQLiteFile opens one connection that writes, so that writers queue in Go
// instead of failing with SQLITE_BUSY, and several that read beside it.
// synchronous=FULL makes a commit survive the machine, not just the process.
func openSQLiteFile(ctx context.Context, path string) (writer, reader *sql.DB, err error) {
	if err := makePrivate(path); err != nil {
		return nil, nil, err
	}
	shared := []string{fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds()), "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)", "temp_store(MEMORY)"}
	if writer, err = openSQLiteDB(path, append(shared, "wal_autocheckpoint(4000)"), "immediate"); err != nil {
		return nil, nil, err
	}
	// Transactions begin IMMEDIATE: one that only locked when it first writes would
	// fail where another one has written since.
	writer.SetMaxOpenConns(1)
	enterWAL(ctx, writer)
	if reader, err = openSQLiteDB(path, append(shared, "query_only(1)"), "deferred"); err != nil {
		return nil, nil, errors.Join(err, writer.Close())
	}
	reader.SetMaxOpenConns(4)
	reader.SetMaxIdleConns(4)
	return writer, reader, nil
}

// enterWAL opens the first connection. Of several that open a fresh file in the
// same moment one switches its journal mode, and the others are told that it is
// locked at once: for that alone busy_timeout does not count. Whatever else is
// wrong with the file is said by who uses it first.
func enterWAL(ctx context.Context, db *sql.DB) {
	for range busyTimeout / walPause {
		busy, is := errors.AsType[*sqlite.Error](db.PingContext(ctx))
		if !is || busy.Code()&0xff != sqlite3.SQLITE_BUSY || !pause.For(ctx, walPause) {
			return
		}
	}
}

func openSQLiteDB(path string, pragmas []string, lock string) (*sql.DB, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	q := url.Values{"_pragma": pragmas, "_txlock": {lock}}
	u := url.URL{Scheme: "file", Path: abs, RawQuery: q.Encode()}
	db, err := sql.Open("sqlite", u.String())
	if err != nil {
		return nil, err
	}
	return db, nil
}

// makePrivate creates the database's file before SQLite does: it holds hashes
// of tokens and keys of cookies.
func makePrivate(path string) error {
	// A FIFO in its place would keep the opening waiting for ever, a device would
	// swallow what is written.
	for _, part := range []string{"", "-wal", "-shm", "-journal"} {
		if err := plainfile.CheckLinked(path + part); err != nil {
			return &api.Error{Kind: api.KindInvalid, Message: err.Error(), Hint: "move it away; the database is a plain file"}
		}
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}
