package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/ops-updater/ops-updater/meta/api"
)

// KeptUser is a user as the database has them: with the hash of their
// password in the place of the password.
type KeptUser struct {
	api.User
	Hash string `json:"hash"`
}

var users = noun[KeptUser]{
	kind: "user", table: "users",
	name:     func(u KeptUser) string { return u.Name },
	revision: func(u *KeptUser) *int64 { return &u.Revision },
	strip:    func(u *KeptUser) { u.Password = "" },
	redact:   func(u *KeptUser) { u.Password, u.Hash = "", "" },
}

// User reads one user.
func (r Reader) User(ctx context.Context, name string) (KeptUser, error) {
	return users.get(ctx, r.q, name)
}

// Users lists users by name; search is part of it.
func (r Reader) Users(ctx context.Context, search string, c api.Cursor) (api.Page[KeptUser], error) {
	return users.findPage(ctx, r.q, nameContains(search), c)
}

// PutUser creates or replaces a user, as their Revision demands, and ends
// their sessions: what these may do was said before.
func (tx *Tx) PutUser(ctx context.Context, u KeptUser) (KeptUser, error) {
	if err := tx.refuseTokenName(ctx, u.Name); err != nil {
		return u, err
	}
	put, err := users.put(ctx, tx, u)
	if err != nil || put.Revision != tx.serial { // it says what was said before
		return put, err
	}
	return put, tx.endSessionsOf(ctx, u.Name, "")
}

// SetPassword gives a user another hash, and ends their sessions but one.
func (tx *Tx) SetPassword(ctx context.Context, u KeptUser, keep string) error {
	if _, err := users.put(ctx, tx, u); err != nil {
		return err
	}
	return tx.endSessionsOf(ctx, u.Name, keep)
}

// DeleteUser removes a user and ends their sessions.
func (tx *Tx) DeleteUser(ctx context.Context, name string, revision int64) error {
	if err := users.remove(ctx, tx, name, revision); err != nil {
		return err
	}
	return tx.endSessionsOf(ctx, name, "")
}

// refuseTokenName refuses a user who would be called like a token: the audit
// log names both.
func (tx *Tx) refuseTokenName(ctx context.Context, name string) error {
	return tx.refuseTaken(ctx, "token", `SELECT name FROM tokens WHERE name = $1 AND host = ''`, name)
}

// refuseUserName is the same the other way round.
func (tx *Tx) refuseUserName(ctx context.Context, name string) error {
	return tx.refuseTaken(ctx, "user", `SELECT name FROM users WHERE name = $1`, name)
}

func (tx *Tx) refuseTaken(ctx context.Context, kind, query, name string) error {
	var found string
	err := tx.q.QueryRowContext(ctx, query, cleanText(name)).Scan(&found)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return faultOf("look for a "+kind, err)
	}
	return &api.Error{Kind: api.KindExists, Message: fmt.Sprintf("there is a %s called %q", kind, name), Hint: "choose another name: the audit log would not tell them apart"}
}
