package backend

import (
	"context"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/password"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

// users joins those who log in with a password to the API.
type users struct{ *core }

// Users lists them by name.
func (u users) Users(ctx context.Context, search string, c api.Cursor) (api.Page[api.User], error) {
	kept, err := u.store.Users(ctx, search, c)
	page := api.Page[api.User]{Total: kept.Total, Next: kept.Next}
	for _, user := range kept.Items {
		page.Items = append(page.Items, user.User)
	}
	return page, err
}

// User reads one.
func (u users) User(ctx context.Context, name string) (api.User, error) {
	kept, err := u.store.User(ctx, name)
	return kept.User, err
}

// PutUser makes or replaces one.
func (u users) PutUser(ctx context.Context, by api.Actor, user api.User) (api.User, error) {
	if err := user.Validate(); err != nil {
		return user, err
	}
	hash := ""
	if user.Password != "" {
		var err error
		if hash, err = u.hashPassword(ctx, user.Password); err != nil {
			return user, err
		}
		user.Password = ""
	}
	var put store.KeptUser
	err := u.write(ctx, by, func(tx *store.Tx) error {
		next, err := withKept(ctx, tx, by, user, hash)
		if err != nil {
			return err
		}
		put, err = tx.PutUser(ctx, next)
		return err
	})
	if err == nil {
		u.access.ForgetToken(user.Name)
	}
	return put.User, err
}

// withKept is a user with what the database knows of them, and with another
// hash when there is one.
func withKept(ctx context.Context, tx *store.Tx, by api.Actor, user api.User, hash string) (store.KeptUser, error) {
	next := store.KeptUser{User: user, Hash: hash}
	old, err := tx.User(ctx, user.Name)
	switch {
	case err == nil:
		next.CreatedAt, next.CreatedBy, next.PasswordSet = old.CreatedAt, old.CreatedBy, old.PasswordSet
		if user.Remits == nil {
			next.Remits = old.Remits
		}
		if hash == "" {
			next.Hash = old.Hash
		}
	case api.KindOf(err) != api.KindNotFound:
		return next, err
	case hash == "":
		return next, api.InvalidField("password", "a new user needs a password")
	default:
		next.CreatedAt, next.CreatedBy = tx.Now(), by.Name
	}
	if hash != "" {
		now := tx.Now()
		next.PasswordSet = &now
	}
	if len(next.Remits) == 0 {
		next.Remits = nil
	}
	return next, next.Validate() // with what was left out
}

// DeleteUser removes one.
func (u users) DeleteUser(ctx context.Context, by api.Actor, name string, revision int64) error {
	err := u.write(ctx, by, func(tx *store.Tx) error { return tx.DeleteUser(ctx, name, revision) })
	if err == nil {
		u.access.ForgetToken(name)
	}
	return err
}

// sessions joins those who are logged in to the API.
type sessions struct{ *core }

// LogIn makes a session of a name and a password. A name that there is not
// is as much work as one with another password, and told from it by nothing:
// both are NotFound.
func (s sessions) LogIn(ctx context.Context, from string, l api.Login) (api.Session, error) {
	user, err := s.checkPassword(ctx, l)
	if err != nil {
		return api.Session{}, err
	}
	return s.store.OpenSession(ctx, api.Session{Name: user.Name, Role: user.Role, Remits: user.Remits, From: from}, user.Revision)
}

// checkPassword is the user whose name and password these are.
func (s sessions) checkPassword(ctx context.Context, l api.Login) (store.KeptUser, error) {
	user, err := s.store.User(ctx, l.Name)
	switch {
	case err == nil:
	case api.KindOf(err) == api.KindNotFound:
		user = store.KeptUser{Hash: password.Nobody}
	default:
		return user, err
	}
	if len(l.Password) > api.MaxPassword {
		l.Password = ""
	}
	if err := s.waitForHash(ctx); err != nil {
		return user, err
	}
	defer s.endHash()
	if !password.Matches(user.Hash, l.Password) {
		return user, &api.Error{Kind: api.KindNotFound, Message: "the name or the password is wrong"}
	}
	return user, nil
}

// ChangePassword changes that of a person who is logged in, and ends their
// other sessions. NotFound when the current one is wrong.
func (s sessions) ChangePassword(ctx context.Context, by api.Actor, session string, p api.NewPassword) error {
	if err := api.ValidatePassword(p.Password); err != nil {
		return err
	}
	user, err := s.checkPassword(ctx, api.Login{Name: by.Name, Password: p.Current})
	if err != nil {
		return err
	}
	hash, err := s.hashPassword(ctx, p.Password)
	if err != nil {
		return err
	}
	err = s.write(ctx, by, func(tx *store.Tx) error {
		now := tx.Now()
		next := user // its revision keeps this from undoing what was changed meanwhile
		next.Hash, next.PasswordSet = hash, &now
		return tx.SetPassword(ctx, next, session)
	})
	if err == nil {
		s.access.ForgetToken(by.Name)
	}
	return err
}

// Sessions lists those of a person, or of everyone.
func (s sessions) Sessions(ctx context.Context, name string, c api.Cursor) (api.Page[api.Session], error) {
	return s.store.Sessions(ctx, name, c)
}

// EndSession ends one: a person's own, or anybody's when none is named.
func (s sessions) EndSession(ctx context.Context, by api.Actor, id, of string) error {
	err := s.write(ctx, by, func(tx *store.Tx) error {
		sess, err := tx.Session(ctx, id)
		if err == nil && of != "" && sess.Name != of {
			err = &api.Error{Kind: api.KindNotFound, Message: "there is no such session"}
		}
		if err != nil {
			return err
		}
		return tx.EndSession(ctx, id)
	})
	if err == nil {
		s.access.ForgetToken(id)
	}
	return err
}

// atOnce is how many passwords are hashed at a time: each takes 19 MiB and some
// hundredths of a second.
const atOnce = 2

// hashPatience is how long a login waits for its turn.
const hashPatience = 5 * time.Second

func (c *core) waitForHash(ctx context.Context) error {
	patience := time.NewTimer(hashPatience)
	defer patience.Stop()
	select {
	case c.hashing <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-patience.C:
		return &api.Error{Kind: api.KindUnavailable, Message: "too many logins at once", Hint: "try again in a moment"}
	}
}

func (c *core) endHash() { <-c.hashing }

func (c *core) hashPassword(ctx context.Context, text string) (string, error) {
	if err := c.waitForHash(ctx); err != nil {
		return "", err
	}
	defer c.endHash()
	return password.Hash(text), nil
}
