package api

import (
	"context"
	"net/http"
)

// Keys says whom the server's hosts can believe.
func (c *Client) Keys(ctx context.Context) (KeyReport, error) {
	return getResource[KeyReport](ctx, c, nil, "keys")
}

// MakeServerKey has the server make a key of its own. The first one signs replies at
// once, a later one waits for [Client.RotateServerKey] or for a list that names it; while
// one waits, that one is returned.
func (c *Client) MakeServerKey(ctx context.Context) (OwnKey, error) {
	return readReply[OwnKey](ctx, c, call{method: http.MethodPost, path: []string{"keys", "server"}})
}

// RotateServerKey has the key that waits sign in place of the one that does.
func (c *Client) RotateServerKey(ctx context.Context) (KeyReport, error) {
	return readReply[KeyReport](ctx, c, call{method: http.MethodPost, path: []string{"keys", "server", "rotate"}})
}

// PublishKeyList has a signed list of keys passed on to hosts.
func (c *Client) PublishKeyList(ctx context.Context, p PublishKeyList) (KeyReport, error) {
	return readReply[KeyReport](ctx, c, call{method: http.MethodPut, path: []string{"keys", "list"}, body: p})
}

// DeleteKey has the server forget a key of its own that does not sign, or a root key.
func (c *Client) DeleteKey(ctx context.Context, id string) error {
	return c.deleteResource(ctx, 0, "keys", "known", id)
}
