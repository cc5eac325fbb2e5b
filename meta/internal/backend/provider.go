package backend

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/provider"
)

// logins joins the people of a login provider to the API. What is under way is kept
// by who logs in, sealed: a flood of logins that nobody finishes costs nothing, and
// any of several servers finishes what another began.
type logins struct{ *core }

// How long a login may take at the provider, and its code on the way to a program.
const (
	ticketLife = 10 * time.Minute
	codeLife   = time.Minute
)

// ticket is a login that is under way.
type ticket struct {
	provider.Login
	Next     string        `json:"next,omitempty"`
	Loopback *api.Loopback `json:"loopback,omitempty"`
	Expires  int64         `json:"expires"` // Unix seconds
}

// code is a login that is done, on its way to the program that waits for it.
type code struct {
	Session   api.Session `json:"session"`
	Challenge string      `json:"challenge"`
	Expires   int64       `json:"expires"` // Unix seconds
}

// What seals are for: one is never taken for the other.
const (
	sealOfTicket = "login ticket"
	sealOfCode   = "login code"
)

func (l logins) known() (*provider.Provider, error) {
	if l.provider == nil {
		return nil, api.NoLoginProvider()
	}
	return l.provider, nil
}

// LoginProvider says who vouches for people; nothing where nobody does.
func (l logins) LoginProvider() api.LoginProvider {
	if l.provider == nil {
		return api.LoginProvider{}
	}
	return api.LoginProvider{Name: l.provider.Name(), Issuer: l.provider.Issuer(), Begin: l.address("/login/provider")}
}

// address is one of this server's, as people reach it.
func (l logins) address(path string) string {
	return strings.TrimRight(l.settings.Load().PublicURL, "/") + path
}

// back is where the provider sends a browser back to.
func (l logins) back() string { return l.address("/login/callback") }

// BeginLogin begins one.
func (l logins) BeginLogin(ctx context.Context, b api.BeginLogin) (api.BegunLogin, error) {
	p, err := l.known()
	if err != nil {
		return api.BegunLogin{}, err
	}
	if err := checkLoopback(b.Loopback); err != nil {
		return api.BegunLogin{}, err
	}
	if len(b.Next) > maxNext {
		b.Next = ""
	}
	t := ticket{
		Login: provider.Login{State: rand.Text(), Nonce: rand.Text(), Verifier: rand.Text() + rand.Text()},
		Next:  b.Next, Loopback: b.Loopback, Expires: time.Now().Add(ticketLife).Unix(),
	}
	to, err := p.AddressOf(ctx, t.Login, l.back())
	if err != nil {
		return api.BegunLogin{}, err
	}
	sealed, err := l.seal.seal(sealOfTicket, t)
	return api.BegunLogin{URL: to, Ticket: sealed}, err
}

// maxNext bounds the address of the page that a login goes on to.
const maxNext = 1024

func checkLoopback(l *api.Loopback) error {
	switch {
	case l == nil:
		return nil
	case l.Port < 1 || l.Port > 65535:
		return api.InvalidField("loopback.port", "loopback.port: %d is no port", l.Port)
	case len(l.Challenge) != base64.RawURLEncoding.EncodedLen(sha256.Size):
		return api.InvalidField("loopback.challenge", "loopback.challenge: is no SHA-256 in base64url")
	case len(l.State) < 16 || len(l.State) > 128:
		return api.InvalidField("loopback.state", "loopback.state: want 16 to 128 characters")
	}
	return nil
}

func refuseStale() error {
	return &api.Error{Kind: api.KindDenied, Message: "this login was begun elsewhere, or too long ago", Hint: "log in again from the beginning, in one browser"}
}

// FinishLogin lets in whom the provider has sent back.
func (l logins) FinishLogin(ctx context.Context, from string, f api.FinishLogin) (api.FinishedLogin, error) {
	p, err := l.known()
	if err != nil {
		return api.FinishedLogin{}, err
	}
	var t ticket
	if !l.seal.open(sealOfTicket, f.Ticket, &t) || time.Now().Unix() >= t.Expires || subtle.ConstantTimeCompare([]byte(f.State), []byte(t.State)) != 1 {
		return api.FinishedLogin{}, refuseStale()
	}
	session, err := l.redeem(ctx, p, t, f)
	if err != nil {
		l.log.Info().Err(err).Str("from", from).Msg("a login by the provider was refused")
	}
	if t.Loopback != nil {
		return l.toProgram(*t.Loopback, session, err)
	}
	if err != nil {
		return api.FinishedLogin{}, err
	}
	session.From = from
	session, err = l.store.OpenSession(ctx, session, 0)
	return api.FinishedLogin{Session: &session, Next: t.Next}, err
}

func (l logins) redeem(ctx context.Context, p *provider.Provider, t ticket, f api.FinishLogin) (api.Session, error) {
	if f.Error != "" || f.Code == "" {
		return api.Session{}, &api.Error{
			Kind: api.KindDenied, Message: fmt.Sprintf("the login provider %s lets nobody in: %s", p.Issuer(), printable.Line(printable.Clip(f.Error))),
			Hint: "log in again",
		}
	}
	return p.Redeem(ctx, t.Login, f.Code, l.back())
}

// toProgram leads the browser to a program on its own machine. What it brings there is of
// use only with the verifier of who began, which may be somebody else there who had the
// person follow a link: so the page asks first.
func (l logins) toProgram(to api.Loopback, s api.Session, failed error) (api.FinishedLogin, error) {
	query := url.Values{"state": {to.State}}
	if failed != nil {
		query.Set("error", failed.Error())
	} else {
		s.ID = "s" + strings.ToLower(rand.Text()[:12])
		sealed, err := l.seal.seal(sealOfCode, code{Session: s, Challenge: to.Challenge, Expires: time.Now().Add(codeLife).Unix()})
		if err != nil {
			return api.FinishedLogin{}, err
		}
		query.Set("code", sealed)
	}
	finished := api.FinishedLogin{Redirect: fmt.Sprintf("http://127.0.0.1:%d/?%s", to.Port, query.Encode())}
	if failed == nil {
		finished.Name = s.Name
	}
	return finished, nil
}

// RedeemLogin makes a session of a code, once.
func (l logins) RedeemLogin(ctx context.Context, from string, r api.RedeemLogin) (api.Session, error) {
	if _, err := l.known(); err != nil {
		return api.Session{}, err
	}
	var c code
	proof := sha256.Sum256([]byte(r.Verifier))
	held := l.seal.open(sealOfCode, r.Code, &c)
	if !held || time.Now().Unix() >= c.Expires || subtle.ConstantTimeCompare([]byte(base64.RawURLEncoding.EncodeToString(proof[:])), []byte(c.Challenge)) != 1 {
		return api.Session{}, refuseStale()
	}
	c.Session.From = from
	s, err := l.store.OpenSession(ctx, c.Session, 0)
	if api.KindOf(err) == api.KindExists { // the code was redeemed: its session is there
		return api.Session{}, refuseStale()
	}
	return s, err
}

// CheckProvider says whether people can log in by the provider.
func (c *core) CheckProvider(ctx context.Context) []api.Check {
	if c.provider == nil {
		return nil
	}
	if err := c.provider.Check(ctx); err != nil {
		return []api.Check{api.Checkf("login provider", api.CheckError, "look at oidc in the settings, and whether this machine reaches it", "%v", err)}
	}
	return []api.Check{api.Checkf("login provider", api.CheckOK, "", "%s answers", c.provider.Issuer())}
}
