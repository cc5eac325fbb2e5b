package server

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

// admins counts the tokens of admins.
type admins struct {
	lasting int // that never expire
	valid   int // that have not expired
}

func countAdmins(ctx context.Context, list func(context.Context, api.Cursor) (api.Page[api.Token], error)) (n admins, err error) {
	all, err := everything(func(c api.Cursor) (api.Page[api.Token], error) { return list(ctx, c) })
	for _, t := range all {
		switch {
		case t.Role != api.RoleAdmin:
		case t.ExpiresAt == nil:
			n.lasting++
			n.valid++
		case t.ExpiresAt.After(time.Now()):
			n.valid++
		}
	}
	return n, err
}

// checkAdmins says whether somebody can still make tokens.
func (c *core) checkAdmins(ctx context.Context) api.Check {
	n, err := countAdmins(ctx, c.store.Tokens)
	const hint = "ops-meta token create NAME --role admin; with --data DIR while the server is down, or with --db"
	switch {
	case err != nil:
		return found("admins", api.CheckError, "look at the database", "%v", err)
	case n.valid == 0:
		return found("admins", api.CheckError, hint, "no admin has a valid token: nobody can make another")
	case n.lasting == 0:
		return found("admins", api.CheckWarning, hint, "no admin's token lasts: once the %d that there are have expired nobody can make another", n.valid)
	}
	return found("admins", api.CheckOK, "", "%d tokens of admins that do not expire", n.lasting)
}

// CreateTokenOffline makes a token without a server: in the data directory of
// one that is down, or in a PostgreSQL, whose servers may run.
func CreateTokenOffline(ctx context.Context, conf Config, n api.Token) (made api.Token, err error) {
	if err := n.Validate(); err != nil {
		return made, err
	}
	if conf.DB == "" {
		if _, err := os.Stat(conf.path("ops-meta.db")); err != nil {
			return made, &api.Error{Kind: api.KindNotFound, Message: "there is no ops-meta in " + conf.Data, Hint: "give a server's --data directory"}
		}
		lock, err := lockData(conf.Data)
		if err != nil {
			return made, err
		}
		defer lock.Close() //nolint:errcheck // the lock ends either way
	}
	s, err := store.Open(ctx, storeConfig(conf))
	if err != nil {
		return made, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	_, err = s.Write(ctx, api.Actor{Name: "whoever has the data"}, func(tx *store.Tx) (err error) {
		made, err = tx.CreateToken(ctx, n)
		return err
	})
	return made, err
}
