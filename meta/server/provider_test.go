package server_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/coreos/go-oidc/v3/oidc/oidctest"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/server"
)

// startProvider is a login provider at which everybody is who they say, in the groups
// that they say: /auth?person=NAME:GROUP:GROUP. It changes conf to let them in.
func startProvider(t *testing.T, conf *server.Config) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	found := &oidctest.Server{PublicKeys: []oidctest.PublicKey{{PublicKey: key.Public(), KeyID: "k", Algorithm: oidc.RS256}}}
	var mu sync.Mutex
	given := map[string]url.Values{} // by code: what was asked for
	mux := http.NewServeMux()
	mux.Handle("/", found)
	mux.HandleFunc("/auth", func(w http.ResponseWriter, r *http.Request) {
		q, code := r.URL.Query(), rand.Text()
		q.Set("person", r.Header.Get("Person"))
		mu.Lock()
		given[code] = q
		mu.Unlock()
		http.Redirect(w, r, q.Get("redirect_uri")+"?"+url.Values{"code": {code}, "state": {q.Get("state")}}.Encode(), http.StatusFound)
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	mux.HandleFunc("/token", func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked, known := given[r.FormValue("code")]
		delete(given, r.FormValue("code"))
		w.Header().Set("Content-Type", "application/json")
		sum := sha256.Sum256([]byte(r.FormValue("code_verifier")))
		if !known || asked.Get("code_challenge") != base64.RawURLEncoding.EncodeToString(sum[:]) {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"error":"invalid_grant"}`)
			return
		}
		person := strings.Split(asked.Get("person"), ":")
		claims, _ := json.Marshal(map[string]any{
			"iss": s.URL, "aud": "ops-meta", "sub": "sub-" + person[0], "exp": time.Now().Add(time.Minute).Unix(), "nonce": asked.Get("nonce"),
			"email": person[0] + "@example.com", "email_verified": true, "groups": person[1:],
		})
		_ = json.NewEncoder(w).Encode(map[string]any{"access_token": "a", "token_type": "Bearer", "id_token": oidctest.SignIDToken(key, "k", oidc.RS256, string(claims))})
	})
	found.SetIssuer(s.URL)
	conf.OIDC = server.OIDC{Issuer: s.URL, ClientID: "ops-meta", Roles: []string{"ops=admin", "team-a=operator:falcon-*@canary"}}
}

// visitor is a browser of somebody whom the provider knows.
type visitor struct {
	*http.Client
	t      *testing.T
	person string
}

func newVisitor(t *testing.T, person string) visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return visitor{&http.Client{Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		r.Header.Set("Person", person)
		if r.URL.Query().Has("state") && r.URL.Path == "/" { // a program's own address
			return http.ErrUseLastResponse
		}
		return nil
	}}, t, person}
}

// open is what is at an address, redirects followed.
func (v visitor) open(address string) answer {
	v.t.Helper()
	req, err := http.NewRequestWithContext(v.t.Context(), http.MethodGet, address, nil)
	if err != nil {
		v.t.Fatal(err)
	}
	req.Header.Set("Accept", "text/html")
	resp, err := v.Do(req)
	if err != nil {
		v.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return answer{resp, body}
}

// logInThrough has a person log in at the provider by the API alone.
func logInThrough(ctx context.Context, c *api.Client, person string, b api.BeginLogin) (api.FinishedLogin, error) {
	begun, err := c.BeginLogin(ctx, b)
	if err != nil {
		return api.FinishedLogin{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, begun.URL, nil)
	if err != nil {
		return api.FinishedLogin{}, err
	}
	req.Header.Set("Person", person)
	resp, err := (&http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Do(req)
	if err != nil {
		return api.FinishedLogin{}, err
	}
	defer resp.Body.Close()
	back, err := resp.Location()
	if err != nil {
		return api.FinishedLogin{}, err
	}
	return c.FinishLogin(ctx, api.FinishLogin{Ticket: begun.Ticket, State: back.Query().Get("state"), Code: back.Query().Get("code")})
}

// tryProvider goes through every operation of logins at a provider.
func tryProvider(ctx context.Context, c *api.Client) error {
	if _, err := c.LoginProvider(ctx); err != nil {
		return err
	}
	if done, err := logInThrough(ctx, c, "anna:ops", api.BeginLogin{Next: "/hosts"}); err != nil || done.Session == nil || done.Next != "/hosts" {
		return fmt.Errorf("got %+v: %w", done, err)
	}
	verifier := strings.Repeat("v", 52)
	sum := sha256.Sum256([]byte(verifier))
	done, err := logInThrough(ctx, c, "anna:ops", api.BeginLogin{Loopback: &api.Loopback{Port: 1, Challenge: base64.RawURLEncoding.EncodeToString(sum[:]), State: strings.Repeat("s", 26)}})
	if err != nil {
		return err
	}
	to, err := url.Parse(done.Redirect)
	if err == nil {
		_, err = c.RedeemLogin(ctx, api.RedeemLogin{Code: to.Query().Get("code"), Verifier: verifier})
	}
	return err
}

// Who is let in at the page has a session like any other, with the role of their
// groups; the cookie of the login is gone with it.
func TestThePageLetsInWhomTheProviderKnows(t *testing.T) {
	onBoth(t, func(t *testing.T, conf server.Config) {
		startProvider(t, &conf)
		r := start(t, conf)
		anna := newVisitor(t, "anna:ops:staff")
		if a := anna.open(r.url + "/hosts"); !strings.Contains(string(a.body), "Log in with 127.0.0.1") {
			t.Fatalf("the login page: %s", a.body)
		}
		a := anna.open(r.url + "/login/provider?next=/hosts")
		if a.StatusCode != http.StatusOK || a.Header.Get("Refresh") != "0; url=/hosts" || !strings.Contains(string(a.body), "You are logged in") {
			t.Fatalf("got %d %v %s", a.StatusCode, a.Header, a.body)
		}
		for _, c := range a.Cookies() {
			if c.Name == "ops_meta_session" && (c.SameSite != http.SameSiteStrictMode || !c.HttpOnly) || c.Name == "ops_meta_login" && c.MaxAge >= 0 {
				t.Errorf("cookie %+v", c)
			}
		}
		if a := anna.open(r.url + "/settings"); !strings.Contains(string(a.body), "You are anna@example.com (admin)") {
			t.Errorf("settings: %.2000s", a.body)
		}
		if a := anna.open(r.url + "/login/provider?next=//evil.example/"); a.Header.Get("Refresh") != "0; url=/" {
			t.Errorf("a login leads to %q", a.Header.Get("Refresh"))
		}
		all, err := r.admin.Sessions(t.Context(), api.ListOptions{})
		if err != nil || len(all.Items) != 2 || all.Items[0].Provider != conf.OIDC.Issuer || all.Items[0].Subject != "sub-anna" || all.Items[0].Secret != "" || all.Items[0].From != "127.0.0.1" {
			t.Errorf("sessions: %+v, %v", all.Items, err)
		}
		log, err := r.admin.Audit(t.Context(), api.ListOptions{Actor: "anna@example.com"})
		if err != nil || len(log.Items) != 2 || log.Items[0].Action != "login" {
			t.Errorf("audit: %+v, %v", log.Items, err)
		}
		for _, s := range all.Items {
			if err := r.admin.EndSession(t.Context(), s.ID); err != nil {
				t.Fatal(err)
			}
		}
		if a := anna.open(r.url + "/settings"); strings.Contains(string(a.body), "You are anna") {
			t.Error("a session that was ended goes on")
		}

		eve := newVisitor(t, "eve:staff")
		if a := eve.open(r.url + "/login/provider"); a.StatusCode != http.StatusForbidden || !strings.Contains(string(a.body), "eve@example.com is in no group that may do anything here") {
			t.Errorf("got %d %s", a.StatusCode, a.body)
		}
		for _, path := range []string{"/login/callback", "/login/callback?code=x&state=y", "/login/callback?error=access_denied&state=y"} {
			if a := eve.open(r.url + path); a.StatusCode != http.StatusForbidden || !strings.Contains(string(a.body), "begun elsewhere, or too long ago") {
				t.Errorf("%s: got %d %s", path, a.StatusCode, a.body)
			}
		}
	})
}

var programLink = regexp.MustCompile(`id="program" href="([^"]+)"`)

// A program's login is of use only to the program that began it, and once.
func TestAProgramsLoginIsRedeemedOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, conf server.Config) {
		startProvider(t, &conf)
		r := start(t, conf)
		nobody := r.as(t, "")
		at, err := nobody.LoginProvider(t.Context())
		if err != nil || at.Begin != r.url+"/login/provider" || at.Issuer != conf.OIDC.Issuer {
			t.Fatalf("provider: %+v, %v", at, err)
		}
		verifier, state := strings.Repeat("v", 52), strings.Repeat("s", 26)
		sum := sha256.Sum256([]byte(verifier))
		challenge := base64.RawURLEncoding.EncodeToString(sum[:])
		begin := func(person string) url.Values {
			t.Helper()
			a := newVisitor(t, person).open(at.Begin + "?" + url.Values{"port": {"1234"}, "challenge": {challenge}, "state": {state}}.Encode())
			where, status := a.Header.Get("Location"), http.StatusSeeOther
			if link := programLink.FindSubmatch(a.body); link != nil { // it asks, before anything is brought there
				where, status = html.UnescapeString(string(link[1])), http.StatusOK
				if !strings.Contains(string(a.body), "asks to be logged in as <b>tim@example.com</b>") {
					t.Errorf("it does not ask: %s", a.body)
				}
			}
			to, err := url.Parse(where)
			if failed := to.Query().Has("error"); failed == (status == http.StatusOK) {
				t.Errorf("%s: failed: %v, answered with %d", person, failed, status)
			}
			if err != nil || a.StatusCode != status || to.Host != "127.0.0.1:1234" || to.Query().Get("state") != state {
				t.Fatalf("got %d, %s: %s", a.StatusCode, to, a.body)
			}
			return to.Query()
		}
		code := begin("tim:team-a").Get("code")
		for name, c := range map[string]api.RedeemLogin{
			"another verifier": {Code: code, Verifier: "other"}, "no code": {Verifier: verifier}, "a code that is changed": {Code: code[:len(code)-2] + "AA", Verifier: verifier},
		} {
			if err := second(nobody.RedeemLogin(t.Context(), c)); !isRefused(err, http.StatusForbidden, "begun elsewhere") {
				t.Errorf("%s: %v", name, err)
			}
		}
		if all, err := r.admin.Sessions(t.Context(), api.ListOptions{}); err != nil || len(all.Items) != 0 {
			t.Errorf("sessions before it is redeemed: %+v, %v", all.Items, err)
		}
		s, err := nobody.RedeemLogin(t.Context(), api.RedeemLogin{Code: code, Verifier: verifier})
		if err != nil || s.Name != "tim@example.com" || s.Role != api.RoleOperator || s.Remits.String() != "falcon-*@canary" || s.ExpiresAt.Sub(s.CreatedAt) != api.SessionLife {
			t.Fatalf("got %+v, %v", s, err)
		}
		if err := second(nobody.RedeemLogin(t.Context(), api.RedeemLogin{Code: code, Verifier: verifier})); !isRefused(err, http.StatusForbidden, "begun elsewhere") {
			t.Errorf("a code was redeemed twice: %v", err)
		}
		tim := r.as(t, s.Secret)
		who, err := tim.WhoAmI(t.Context())
		if err != nil || who.Provider != conf.OIDC.Issuer || who.Remits.String() != "falcon-*@canary" {
			t.Errorf("whoami: %+v, %v", who, err)
		}
		if p := problem(second(tim.PutGroup(t.Context(), api.Group{Name: "g"}))); p == nil || p.Type != outside {
			t.Errorf("beyond the remit: %+v", p)
		}
		if err := tim.ChangePassword(t.Context(), api.NewPassword{Current: horse, Password: staple}); !isRefused(err, http.StatusConflict, "is not kept here") {
			t.Errorf("a password: %v", err)
		}
		if failed := begin("eve:staff").Get("error"); !strings.Contains(failed, "eve@example.com is in no group") {
			t.Errorf("the program is told %q", failed)
		}
		for name, q := range map[string]url.Values{
			"no port": {"port": {"0"}, "challenge": {challenge}, "state": {state}}, "a bad challenge": {"port": {"1"}, "challenge": {"x"}, "state": {state}},
			"a short state": {"port": {"1"}, "challenge": {challenge}, "state": {"s"}},
		} {
			if a := newVisitor(t, "tim:team-a").open(at.Begin + "?" + q.Encode()); a.StatusCode != http.StatusBadRequest {
				t.Errorf("%s: got %d", name, a.StatusCode)
			}
		}
	})
}

// Without a provider there is none, and with one that is away everybody else goes on.
func TestOthersLogInWithoutTheProvider(t *testing.T) {
	r := start(t, newConfig(t))
	if at, err := r.as(t, "").LoginProvider(t.Context()); err != nil || at != (api.LoginProvider{}) {
		t.Errorf("got %+v, %v", at, err)
	}
	if err := second(r.as(t, "").BeginLogin(t.Context(), api.BeginLogin{})); !isRefused(err, http.StatusNotFound, "has no login provider") {
		t.Errorf("got %v", err)
	}
	conf := newConfig(t)
	conf.OIDC = server.OIDC{Issuer: "http://127.0.0.1:1", ClientID: "c", Roles: []string{"g=viewer"}}
	conf.FailuresPerMin = 5
	r = start(t, conf)
	r.newUser(t, "anna", api.RoleViewer)
	_, anna := r.logIn(t, "anna", horse)
	if err := second(anna.WhoAmI(t.Context())); err != nil {
		t.Error(err)
	}
	if err := second(r.as(t, "").BeginLogin(t.Context(), api.BeginLogin{})); !isRefused(err, http.StatusServiceUnavailable, "the login provider http://127.0.0.1:1 does not answer") {
		t.Errorf("got %v", err)
	}
	// Tries are counted like passwords.
	held := false
	for range 6 {
		held = held || isRefused(second(r.as(t, "").RedeemLogin(t.Context(), api.RedeemLogin{})), http.StatusTooManyRequests, "from this address")
	}
	if !held {
		t.Error("six tries in a moment, and none was held back")
	}
}
