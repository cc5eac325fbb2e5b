package provider

import (
	"cmp"
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/meta/api"
)

// Config is one provider, and what its people may do here.
type Config struct {
	Name         string // what people know it as; empty: the issuer's host
	Issuer       string // URL
	ClientID     string
	ClientSecret string   // empty: a public client
	Scopes       []string // beside openid; empty: profile, email and groups where it has that
	GroupsClaim  string   // empty: groups
	Rules        []Rule
	CAFile       string // PEM; empty: the system's authorities
}

// Provider is asked who somebody is. It is safe for concurrent use.
type Provider struct {
	conf   Config
	client *http.Client

	mu     sync.Mutex
	known  *oidc.Provider
	since  time.Time // of known
	failed time.Time // when it was last asked in vain
	why    error
}

// Login is one that is under way: three random texts.
type Login struct {
	State    string `json:"s"` // comes back with the browser
	Nonce    string `json:"n"` // comes back in what is signed
	Verifier string `json:"v"` // proves to the provider who began
}

// How long the description of the provider counts, and for how long it is not asked
// again when it did not answer.
const (
	knownFor   = time.Hour
	failedFor  = 5 * time.Second
	nothingBut = "which logs nobody in; users and tokens of this server go on"
)

// New checks the settings; the provider is asked nothing yet.
func New(c Config) (*Provider, error) {
	u, err := url.Parse(c.Issuer)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, api.InvalidField("oidc.issuer", "oidc.issuer %q is not a URL such as https://login.example.com", printable.Clip(c.Issuer))
	case !isSafe(u):
		return nil, api.InvalidField("oidc.issuer", "oidc.issuer %q is asked without TLS: who is in between could be anybody", printable.Clip(c.Issuer))
	case c.ClientID == "":
		return nil, api.InvalidField("oidc.clientId", "oidc.clientId is missing: the provider gives one for this server")
	case len(c.Rules) == 0:
		return nil, api.InvalidField("oidc.roles", "oidc.roles is missing: nobody could log in; say --oidc-role GROUP=ROLE")
	}
	c.Name, c.GroupsClaim = cmp.Or(c.Name, u.Hostname()), cmp.Or(c.GroupsClaim, "groups")
	client, err := newHTTPClient(c.CAFile)
	if err != nil {
		return nil, api.InvalidField("oidc.ca", "%s", err)
	}
	return &Provider{conf: c, client: client}, nil
}

// Name is what people know it as.
func (p *Provider) Name() string { return p.conf.Name }

// Issuer is its address.
func (p *Provider) Issuer() string { return p.conf.Issuer }

// Check asks it whether it is there. The error is an [api.Error] of KindUnavailable.
func (p *Provider) Check(ctx context.Context) error {
	_, err := p.describe(ctx)
	return err
}

// AddressOf is where a browser goes to log in, and comes back to from there.
func (p *Provider) AddressOf(ctx context.Context, l Login, back string) (string, error) {
	known, err := p.describe(ctx)
	if err != nil {
		return "", err
	}
	to := p.oauth(known, back).AuthCodeURL(l.State, oidc.Nonce(l.Nonce), oauth2.S256ChallengeOption(l.Verifier))
	if u, err := url.Parse(to); err != nil || !isSafe(u) {
		return "", p.unavailable(errClear)
	}
	return to, nil
}

// Redeem is whom the provider gave a code, with what they may do here. The
// error is an [api.Error]: KindDenied when it is nobody, or nobody who may do
// anything, KindUnavailable when the provider does not answer.
func (p *Provider) Redeem(ctx context.Context, l Login, code, back string) (api.Session, error) {
	known, err := p.describe(ctx)
	if err != nil {
		return api.Session{}, err
	}
	ctx = oidc.ClientContext(ctx, p.client)
	conf := p.oauth(known, back)
	token, err := conf.Exchange(ctx, code, oauth2.VerifierOption(l.Verifier))
	if refused := (*oauth2.RetrieveError)(nil); errors.As(err, &refused) && refused.Response.StatusCode < http.StatusInternalServerError {
		return api.Session{}, p.denied("does not take its own code: %s", cmp.Or(refused.ErrorCode, refused.Response.Status))
	}
	if err != nil {
		return api.Session{}, p.unavailable(err)
	}
	signed, _ := token.Extra("id_token").(string)
	said, err := p.verify(ctx, known, signed, l)
	if err != nil {
		return api.Session{}, err
	}
	if said.lack(p.conf.GroupsClaim) || said.lack("email") {
		if err := p.askMore(ctx, known, conf.TokenSource(ctx, token), said); err != nil {
			return api.Session{}, err
		}
	}
	return said.session(p.conf)
}

// verify is what is in a token that the provider has signed for this login.
func (p *Provider) verify(ctx context.Context, known *oidc.Provider, signed string, l Login) (claims, error) {
	if signed == "" {
		return nil, p.denied("gives no id_token")
	}
	id, err := known.VerifierContext(ctx, &oidc.Config{ClientID: p.conf.ClientID}).Verify(ctx, signed)
	if err != nil && strings.Contains(err.Error(), "fetching keys") { // it has no kind of its own
		return nil, p.unavailable(err)
	}
	if err != nil {
		return nil, p.denied("gives an id_token that does not hold: %v", err)
	}
	said := claims{}
	if err := id.Claims(&said); err != nil {
		return nil, p.denied("gives an id_token that cannot be read")
	}
	azp, named := said["azp"]
	switch {
	case subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(l.Nonce)) != 1:
		return nil, p.denied("gives an id_token of another login")
	case id.Subject == "":
		return nil, p.denied("gives an id_token of nobody")
	case named && azp != p.conf.ClientID, !named && len(id.Audience) > 1:
		return nil, p.denied("gives an id_token that another client asked for")
	}
	return said, nil
}

// askMore adds what the provider says of the same person when it is asked for more.
func (p *Provider) askMore(ctx context.Context, known *oidc.Provider, by oauth2.TokenSource, said claims) error {
	if known.UserInfoEndpoint() == "" {
		return nil
	}
	info, err := known.UserInfo(ctx, by)
	if err != nil {
		return p.unavailable(err)
	}
	if info.Subject != said.text("sub") {
		return p.denied("speaks of somebody else in its userinfo")
	}
	more := claims{}
	if err := info.Claims(&more); err != nil {
		return p.denied("gives a userinfo that cannot be read")
	}
	for name, value := range more {
		if said.lack(name) { // what is signed counts
			said[name] = value
		}
	}
	return nil
}

// describe is the provider's description of itself, asked for when it is needed.
func (p *Provider) describe(ctx context.Context) (*oidc.Provider, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if age := now.Sub(p.since); p.known != nil && age >= 0 && age < knownFor {
		return p.known, nil
	}
	if ago := now.Sub(p.failed); p.why != nil && ago >= 0 && ago < failedFor {
		return p.known, p.whyUnknown()
	}
	// Not for this caller alone, who may go away.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerWithin)
	defer cancel()
	known, err := oidc.NewProvider(oidc.ClientContext(ctx, p.client), p.conf.Issuer)
	if err != nil {
		p.failed, p.why = time.Now(), err // to ask may have taken longer than this counts
		return p.known, p.whyUnknown()
	}
	p.known, p.since, p.why = known, now, nil
	return known, nil
}

// whyUnknown is nil while an older description counts.
func (p *Provider) whyUnknown() error {
	if p.known != nil {
		return nil
	}
	return p.unavailable(p.why)
}

// oauth is this server as the provider's client.
func (p *Provider) oauth(known *oidc.Provider, back string) *oauth2.Config {
	scopes := append([]string{oidc.ScopeOpenID}, p.conf.Scopes...)
	if len(p.conf.Scopes) == 0 {
		scopes = append(scopes, "profile", "email")
		var has struct {
			Scopes []string `json:"scopes_supported"`
		}
		if known.Claims(&has) == nil && slices.Contains(has.Scopes, "groups") {
			scopes = append(scopes, "groups")
		}
	}
	return &oauth2.Config{ClientID: p.conf.ClientID, ClientSecret: p.conf.ClientSecret, Endpoint: known.Endpoint(), RedirectURL: back, Scopes: scopes}
}

func (p *Provider) denied(format string, args ...any) error {
	why := printable.Line(printable.ClipTo(fmt.Sprintf(format, args...), 300))
	return &api.Error{Kind: api.KindDenied, Message: "the login provider " + p.conf.Issuer + " " + why, Hint: "log in again; if it says so again, an admin has to look at oidc in the settings of ops-meta and at the provider's"}
}

func (p *Provider) unavailable(err error) error {
	var syntax *json.SyntaxError
	why := err.Error()
	if errors.As(err, &syntax) {
		why = "its reply is not JSON"
	}
	// Of an address that was asked, without what was sent along.
	if failed := (*url.Error)(nil); errors.As(err, &failed) {
		why = failed.Err.Error()
	}
	return &api.Error{
		Kind: api.KindUnavailable, Message: "the login provider " + p.conf.Issuer + " does not answer as it should, " + nothingBut + ": " + strings.TrimSpace(printable.Line(printable.ClipTo(why, 300))),
		Hint: "try again in a moment, or log in with a name and a password of this server, or a token",
	}
}
