package api

import (
	"context"
	"net/http"
)

// Users lists those who log in with a password.
func (c *Client) Users(ctx context.Context, o ListOptions) (Page[User], error) {
	return getResource[Page[User]](ctx, c, o.Values(), "users")
}

// User is the user of that name.
func (c *Client) User(ctx context.Context, name string) (User, error) {
	return getResource[User](ctx, c, nil, "users", name)
}

// PutUser makes or replaces a user; an empty Password keeps the one that is
// there. Whoever is logged in as that user no longer is.
func (c *Client) PutUser(ctx context.Context, u User) (User, error) {
	return putResource(ctx, c, u, u.Revision, "users", u.Name)
}

// DeleteUser removes a user, and ends their sessions.
func (c *Client) DeleteUser(ctx context.Context, name string, revision int64) error {
	return c.deleteResource(ctx, revision, "users", name)
}

// ChangePassword changes the password of who is logged in, and ends their
// other sessions.
func (c *Client) ChangePassword(ctx context.Context, p NewPassword) error {
	_, err := readReply[struct{}](ctx, c, call{method: http.MethodPut, path: []string{"sessions", Self, "password"}, body: p})
	return err
}

// Login makes a session; its Secret is in this reply and nowhere else.
func (c *Client) Login(ctx context.Context, l Login) (Session, error) {
	return readReply[Session](ctx, c, call{method: http.MethodPost, path: []string{"sessions"}, body: l})
}

// Sessions lists who is logged in: to admins everyone, to others themselves.
func (c *Client) Sessions(ctx context.Context, o ListOptions) (Page[Session], error) {
	return getResource[Page[Session]](ctx, c, o.Values(), "sessions")
}

// EndSession ends a session at once; [Self] is the client's own.
func (c *Client) EndSession(ctx context.Context, id string) error {
	return c.deleteResource(ctx, 0, "sessions", id)
}
