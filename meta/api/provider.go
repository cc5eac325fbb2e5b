package api

import (
	"context"
	"net/http"
)

// LoginProvider is an OpenID Connect provider whose people may log in here.
type LoginProvider struct {
	Name   string `json:"name"`
	Issuer string `json:"issuer"`
	// Begin is the address of the page at which a browser begins a login.
	Begin string `json:"begin"`
}

// NoLoginProvider is the refusal of a login by a provider where there is none.
func NoLoginProvider() *Error {
	return &Error{
		Kind: KindNotFound, Message: "this server has no login provider",
		Hint: "log in with a name and a password, or a token: ops-meta login URL [--user NAME]",
	}
}

// BeginLogin begins a login at the provider.
type BeginLogin struct {
	Next     string    `json:"next,omitempty"`     // page to go on to; of a browser's own login
	Loopback *Loopback `json:"loopback,omitempty"` // of a program's
}

// Loopback is a program that waits for the login of whoever runs it (RFC 8252):
// the browser brings it a code, and who holds the verifier redeems that.
type Loopback struct {
	Port      int    `json:"port"`      // at 127.0.0.1
	Challenge string `json:"challenge"` // SHA-256 of the verifier, base64url without padding
	State     string `json:"state"`     // comes back with the code
}

// BegunLogin is a login under way: where the browser goes, and a ticket that it
// keeps until it comes back.
type BegunLogin struct {
	URL    string `json:"url"`
	Ticket string `json:"ticket"`
}

// FinishLogin is what the browser comes back with.
type FinishLogin struct {
	Ticket string `json:"ticket"`
	State  string `json:"state"`
	Code   string `json:"code,omitempty"`
	Error  string `json:"error,omitempty"` // of the provider, instead of a code
}

// FinishedLogin is a session, or of a program's login where the browser brings
// it a code or an error.
type FinishedLogin struct {
	Session  *Session `json:"session,omitempty"` // with its secret
	Next     string   `json:"next,omitempty"`
	Redirect string   `json:"redirect,omitempty"`
	Name     string   `json:"name,omitempty"` // whom the program would be, with what is at Redirect; empty: nobody
}

// RedeemLogin makes a session of a code that the browser brought.
type RedeemLogin struct {
	Code     string `json:"code"`
	Verifier string `json:"verifier"`
}

// LoginProvider is the provider whose people may log in; its Begin is empty when
// there is none.
func (c *Client) LoginProvider(ctx context.Context) (LoginProvider, error) {
	return getResource[LoginProvider](ctx, c, nil, "provider")
}

// BeginLogin begins a login at the provider.
func (c *Client) BeginLogin(ctx context.Context, b BeginLogin) (BegunLogin, error) {
	return readReply[BegunLogin](ctx, c, call{method: http.MethodPost, path: []string{"provider", "begin"}, body: b})
}

// FinishLogin lets in whom the provider has sent back.
func (c *Client) FinishLogin(ctx context.Context, f FinishLogin) (FinishedLogin, error) {
	return readReply[FinishedLogin](ctx, c, call{method: http.MethodPost, path: []string{"provider", "finish"}, body: f})
}

// RedeemLogin makes a session of the code that the browser brought a program.
func (c *Client) RedeemLogin(ctx context.Context, r RedeemLogin) (Session, error) {
	return readReply[Session](ctx, c, call{method: http.MethodPost, path: []string{"provider", "redeem"}, body: r})
}
