package backend

import (
	"context"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
)

// admins counts the tokens of admins.
type admins struct {
	lasting int // that never expire
	valid   int // that have not expired
}

func countAdmins(ctx context.Context, list func(context.Context, api.Cursor) (api.Page[api.Token], error)) (n admins, err error) {
	all, err := readAllPages(func(c api.Cursor) (api.Page[api.Token], error) { return list(ctx, c) })
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

// CheckAdmins says whether somebody can still make tokens.
func (c *core) CheckAdmins(ctx context.Context) api.Check {
	n, err := countAdmins(ctx, c.store.Tokens)
	const hint = "ops-meta token create NAME --role admin; with --data DIR while the server is down, or with --db"
	switch {
	case err != nil:
		return api.Checkf("admins", api.CheckError, "look at the database", "%v", err)
	case n.valid == 0:
		return api.Checkf("admins", api.CheckError, hint, "no admin has a valid token: nobody can make another")
	case n.lasting == 0:
		return api.Checkf("admins", api.CheckWarning, hint, "no admin's token lasts: once the %d that there are have expired nobody can make another", n.valid)
	}
	return api.Checkf("admins", api.CheckOK, "", "%d tokens of admins that do not expire", n.lasting)
}
