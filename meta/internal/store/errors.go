package store

import (
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/ops-updater/ops-updater/meta/api"
)

// faultOf gives an error of the database its kind. Errors that have one, and
// those of callbacks, pass as they are.
func faultOf(what string, err error) error {
	var own callbackError
	if errors.As(err, &own) {
		return own.err
	}
	var known *api.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	return &api.Error{Kind: kindOf(err), Message: "cannot " + what, Err: err}
}

// callbackError carries an error of the caller's function through [faultOf].
type callbackError struct{ err error }

func (e callbackError) Error() string { return e.err.Error() }
func (e callbackError) Unwrap() error { return e.err }

func kindOf(err error) api.ErrorKind {
	var lite *sqlite.Error
	if errors.As(err, &lite) {
		return sqliteKind(lite.Code())
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return postgresKind(pg.Code)
	}
	// What is left is a broken or refused connection, or the caller's patience.
	return api.KindUnavailable
}

func sqliteKind(code int) api.ErrorKind {
	switch code {
	case sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_UNIQUE:
		return api.KindExists
	}
	switch code & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL,
		sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_READONLY:
		return api.KindUnavailable
	}
	return api.KindInternal
}

// postgresKind goes by the classes of PostgreSQL's appendix A.
func postgresKind(code string) api.ErrorKind {
	if code == "23505" {
		return api.KindExists
	}
	switch code[:2] {
	case "08", "25", "40", "53", "55", "57", "58":
		return api.KindUnavailable
	}
	return api.KindInternal
}

// isRetryable says that a transaction lost against another and may just be
// run again: serialization failure, deadlock.
func isRetryable(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.Code == "40001" || pg.Code == "40P01")
}

func notFound(kind, name string) error {
	return &api.Error{Kind: api.KindNotFound, Message: fmt.Sprintf("there is no %s %q", kind, name), Hint: listedBy[kind], Noun: kind, Name: name}
}

// listedBy says how to find the right name.
var listedBy = map[string]string{
	"agent": "ops-meta agents lists them", "release": "ops-meta releases lists what is published",
	"group": "ops-meta group list says what there is", "assignment": "ops-meta assign list says what there is",
	"hold": "ops-meta hold list says what is held", "rollout": "ops-meta rollout list says what there is",
	"channel": "ops-meta channel list says what there is", "schedule": "ops-meta schedule list says what there is",
	"token": "ops-meta token list says what there is", "strategy": "ops-meta export shows those there are",
}

func inUse(kind, name, by string) error {
	return &api.Error{
		Kind: api.KindConflict, Message: fmt.Sprintf("cannot delete %s %q: it is in use by %s", kind, name, by),
		Hint: "remove or change what uses it first",
	}
}
