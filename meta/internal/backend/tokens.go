package backend

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/ops-updater/ops-updater/internal/atomicfile"
	"github.com/ops-updater/ops-updater/internal/plainfile"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

// tokens joins credentials to the API.
type tokens struct{ *core }

// Tokens lists those of operators.
func (t tokens) Tokens(ctx context.Context, c api.Cursor) (api.Page[api.Token], error) {
	return t.store.Tokens(ctx, c)
}

// CreateToken makes one.
func (t tokens) CreateToken(ctx context.Context, by api.Actor, token api.Token) (api.Token, error) {
	var made api.Token
	err := t.write(ctx, by, func(tx *store.Tx) (err error) {
		made, err = tx.CreateToken(ctx, token)
		return err
	})
	return made, err
}

// DeleteToken ends one, given its id or its name.
func (t tokens) DeleteToken(ctx context.Context, by api.Actor, id string) error {
	err := t.write(ctx, by, func(tx *store.Tx) error {
		before, err := countAdmins(ctx, tx.Tokens)
		if err != nil {
			return err
		}
		if err := tx.DeleteToken(ctx, id); err != nil {
			return err
		}
		after, err := countAdmins(ctx, tx.Tokens)
		if err != nil || (after.lasting > 0 || before.lasting == 0) && (after.valid > 0 || before.valid == 0) {
			return err
		}
		return &api.Error{
			Kind: api.KindConflict, Message: "token " + id + " is the last of an admin that lasts: without it nobody could make another",
			Hint: "make another one first: ops-meta token create NAME --role admin",
		}
	})
	if err == nil {
		t.access.ForgetToken(id)
	}
	return err
}

// Credentials lists those of hosts.
func (t tokens) Credentials(ctx context.Context, c api.Cursor) (api.Page[api.Token], error) {
	return t.store.Credentials(ctx, c)
}

// Enroll makes a host's credential. A repeat within [api.EnrolAgain] is a
// lost reply, but only until the credential is first used: from then on the
// host keeps it until an operator forgets the host, since an enrolment token
// must not be able to take over a host that works.
func (t tokens) Enroll(ctx context.Context, by api.Actor, host string) (api.Token, error) {
	old, err := t.store.HostToken(ctx, host)
	if err != nil && api.KindOf(err) != api.KindNotFound {
		return api.Token{}, err
	}
	again := err == nil && old.CreatedBy == by.Name && old.LastUsed == nil && time.Since(old.CreatedAt) < api.EnrolAgain
	token, err := t.store.EnrollHost(ctx, store.HostCredential{Actor: by, Host: host, Replace: again})
	if api.KindOf(err) == api.KindExists {
		return token, &api.Error{
			Kind: api.KindExists, Message: fmt.Sprintf("host %s has a credential already", host),
			Hint: "if it was lost, an operator lets the host enrol again: ops-meta host " + host + " --forget",
		}
	}
	return token, err
}

// AdminTokenFile is the file with the first token.
const AdminTokenFile = "admin.token"

// EnsureAdmin makes the first admin token of a store that has no token at
// all, and returns its secret; empty when there was one.
func (c *core) EnsureAdmin(ctx context.Context) (string, error) {
	page, err := c.store.Tokens(ctx, api.Cursor{Limit: 1})
	if err != nil || len(page.Items) > 0 {
		return "", err
	}
	path := filepath.Join(c.conf.Data, AdminTokenFile)
	secret := ""
	_, err = c.store.Write(ctx, Self, func(tx *store.Tx) error {
		page, err := tx.Tokens(ctx, api.Cursor{Limit: 1})
		if err != nil || len(page.Items) > 0 {
			return err // another replica was faster
		}
		t := api.Token{Name: "admin", Role: api.RoleAdmin}
		if kept, err := plainfile.Read(path, maxNote); err == nil {
			// A start that was interrupted had written it already.
			secret = strings.TrimSpace(string(kept))
			_, err = tx.CreateTokenWithSecret(ctx, t, secret)
			return err
		} else if !errors.Is(err, fs.ErrNotExist) {
			return HintOddFile(err, HintMakesOwn)
		}
		made, err := tx.CreateToken(ctx, t)
		if err != nil {
			return err
		}
		secret = made.Secret
		return atomicfile.Write(path, []byte(secret+"\n"), 0o600)
	})
	return secret, err
}
