package store

import (
	"database/sql"
	"errors"
	"net/url"
	"os"
	"path/filepath"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/ops-updater/ops-updater/internal/plainfile"
	"github.com/ops-updater/ops-updater/meta/api"
)

// openSQLiteFile opens one connection that writes, so that writers queue in Go
// instead of failing with SQLITE_BUSY, and several that read beside it.
// synchronous=FULL makes a commit survive the machine, not just the process.
func openSQLiteFile(path string) (writer, reader *sql.DB, err error) {
	if err := makePrivate(path); err != nil {
		return nil, nil, err
	}
	shared := []string{"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)", "temp_store(MEMORY)"}
	if writer, err = openSQLiteDB(path, append(shared, "wal_autocheckpoint(4000)"), "immediate"); err != nil {
		return nil, nil, err
	}
	// Transactions begin IMMEDIATE: one that only locked when it first writes would
	// fail where another one has written since.
	writer.SetMaxOpenConns(1)
	if reader, err = openSQLiteDB(path, append(shared, "query_only(1)"), "deferred"); err != nil {
		return nil, nil, errors.Join(err, writer.Close())
	}
	reader.SetMaxOpenConns(4)
	reader.SetMaxIdleConns(4)
	return writer, reader, nil
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
