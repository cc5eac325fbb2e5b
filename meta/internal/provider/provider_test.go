package provider_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/coreos/go-oidc/v3/oidc/oidctest"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/provider"
)

// fake is a provider that says what a test has it say.
type fake struct {
	*httptest.Server
	key    *rsa.PrivateKey
	claims map[string]any // of the id_token, over those that are right
	info   map[string]any // of the userinfo
	token  http.HandlerFunc
	found  oidctest.Server

	asked url.Values // at the token endpoint
}

func newFake(t *testing.T) *fake {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{key: key, found: oidctest.Server{PublicKeys: []oidctest.PublicKey{{PublicKey: key.Public(), KeyID: "k", Algorithm: oidc.RS256}}}}
	mux := http.NewServeMux()
	mux.Handle("/", &f.found)
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, r *http.Request) {
		inner := httptest.NewRecorder()
		f.found.ServeHTTP(inner, r)
		var doc map[string]any
		_ = json.Unmarshal(inner.Body.Bytes(), &doc)
		if f.info != nil {
			doc["userinfo_endpoint"] = f.URL + "/userinfo"
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(doc)
	})
	mux.HandleFunc("/userinfo", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(f.info)
	})
	mux.HandleFunc("/token", func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		f.asked = r.PostForm
		if f.token != nil {
			f.token(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"access_token": "a", "token_type": "Bearer", "id_token": f.sign()})
	})
	f.Server = httptest.NewServer(mux)
	t.Cleanup(f.Close)
	f.found.SetIssuer(f.URL)
	return f
}

func (f *fake) sign() string {
	said := map[string]any{
		"iss": f.URL, "aud": "ops-meta", "sub": "u1", "nonce": "nonce", "exp": time.Now().Add(time.Minute).Unix(), "iat": time.Now().Unix(),
		"email": "anna@example.com", "email_verified": true, "groups": []string{"team-a"},
	}
	maps.Copy(said, f.claims)
	maps.DeleteFunc(said, func(_ string, v any) bool { return v == nil })
	text, _ := json.Marshal(said)
	return oidctest.SignIDToken(f.key, "k", oidc.RS256, string(text))
}

func (f *fake) provider(t *testing.T) *provider.Provider {
	t.Helper()
	var rules []provider.Rule
	for _, text := range []string{"team-a=operator:falcon-*@canary", "ops=admin"} {
		r, err := provider.ParseRule(text)
		if err != nil {
			t.Fatal(err)
		}
		rules = append(rules, r)
	}
	p, err := provider.New(provider.Config{Issuer: f.URL, ClientID: "ops-meta", ClientSecret: "secret", Rules: rules})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

var login = provider.Login{State: "state", Nonce: "nonce", Verifier: strings.Repeat("v", 43)}

const back = "http://127.0.0.1:2000/login/callback"

// Where a browser is sent proves nothing yet, and keeps the verifier back.
func TestALoginIsBegunWithStateNonceAndChallenge(t *testing.T) {
	f := newFake(t)
	to, err := f.provider(t).AddressOf(t.Context(), login, back)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	for name, want := range map[string]string{
		"response_type": "code", "client_id": "ops-meta", "redirect_uri": back, "state": "state", "nonce": "nonce",
		"scope": "openid profile email", "code_challenge_method": "S256",
	} {
		if q.Get(name) != want {
			t.Errorf("%s is %q, want %q", name, q.Get(name), want)
		}
	}
	if strings.Contains(to, login.Verifier) || len(q.Get("code_challenge")) != 43 {
		t.Errorf("the challenge is %q in %s", q.Get("code_challenge"), to)
	}
}

// TestWhomAProviderVouchesFor is let in with what their groups may do, and nobody else.
func TestWhomAProviderVouchesFor(t *testing.T) {
	for name, c := range map[string]struct {
		claims map[string]any
		info   map[string]any
		token  http.HandlerFunc
		want   string // name, role; or what the error says
		kind   api.ErrorKind
	}{
		"by mail":                        {want: "anna@example.com, operator of falcon-*@canary"},
		"an admin":                       {claims: map[string]any{"groups": []string{"team-a", "ops"}}, want: "anna@example.com, admin"},
		"a group that is no list":        {claims: map[string]any{"groups": "ops"}, want: "anna@example.com, admin"},
		"mail that nobody made sure of":  {claims: map[string]any{"email_verified": false, "preferred_username": "anna"}, want: "anna@127.0.0.1, operator of falcon-*@canary"},
		"a name with an @":               {claims: map[string]any{"email": nil, "preferred_username": "anna@corp"}, want: "anna@corp@127.0.0.1, operator of falcon-*@canary"},
		"another's address as a name":    {claims: map[string]any{"email_verified": false, "preferred_username": "boss@example.com"}, want: "boss@example.com@127.0.0.1, operator of falcon-*@canary"},
		"a verified address of two @":    {claims: map[string]any{"email": "boss@example.com@127.0.0.1", "preferred_username": nil}, want: "u1@127.0.0.1, operator of falcon-*@canary"},
		"no name":                        {claims: map[string]any{"email": nil}, want: "u1@127.0.0.1, operator of falcon-*@canary"},
		"a name that is none":            {claims: map[string]any{"email": "a b@c\n", "preferred_username": "\u202eanna"}, want: "u1@127.0.0.1, operator of falcon-*@canary"},
		"groups in the userinfo":         {claims: map[string]any{"groups": nil}, info: map[string]any{"sub": "u1", "groups": []string{"ops"}}, want: "anna@example.com, admin"},
		"mail in the userinfo":           {claims: map[string]any{"email": nil, "email_verified": nil}, info: map[string]any{"sub": "u1", "email": "bob@example.com", "email_verified": true}, want: "bob@example.com, operator of falcon-*@canary"},
		"what is signed counts":          {claims: map[string]any{"groups": []string{}}, info: map[string]any{"sub": "u1", "groups": []string{"ops"}}, want: "the provider says no groups", kind: api.KindDenied},
		"another in the userinfo":        {claims: map[string]any{"groups": nil}, info: map[string]any{"sub": "u2", "groups": []string{"ops"}}, want: "somebody else", kind: api.KindDenied},
		"a group without a role":         {claims: map[string]any{"groups": []string{"staff"}}, want: "anna@example.com is in no group that may do anything here: their groups are staff", kind: api.KindDenied},
		"no groups":                      {claims: map[string]any{"groups": nil}, want: "no groups in the claim groups", kind: api.KindDenied},
		"groups that are no texts":       {claims: map[string]any{"groups": []any{1, map[string]any{"ops": 1}}}, want: "no groups", kind: api.KindDenied},
		"another login":                  {claims: map[string]any{"nonce": "other"}, want: "of another login", kind: api.KindDenied},
		"no nonce":                       {claims: map[string]any{"nonce": nil}, want: "of another login", kind: api.KindDenied},
		"another client":                 {claims: map[string]any{"aud": "other"}, want: "does not hold", kind: api.KindDenied},
		"also another client":            {claims: map[string]any{"aud": []string{"ops-meta", "other"}}, want: "another client", kind: api.KindDenied},
		"asked for by another client":    {claims: map[string]any{"aud": []string{"ops-meta", "other"}, "azp": "other"}, want: "another client", kind: api.KindDenied},
		"for several, asked for by this": {claims: map[string]any{"aud": []string{"ops-meta", "other"}, "azp": "ops-meta"}, want: "anna@example.com, operator of falcon-*@canary"},
		"another issuer":                 {claims: map[string]any{"iss": "https://other"}, want: "does not hold", kind: api.KindDenied},
		"one that has ended":             {claims: map[string]any{"exp": time.Now().Add(-time.Hour).Unix()}, want: "does not hold", kind: api.KindDenied},
		"nobody":                         {claims: map[string]any{"sub": ""}, want: "of nobody", kind: api.KindDenied},
		"a code that is not taken":       {token: answers(400, `{"error":"invalid_grant"}`), want: "does not take its own code: invalid_grant", kind: api.KindDenied},
		"no id_token":                    {token: answers(200, `{"access_token":"a","token_type":"Bearer"}`), want: "gives no id_token", kind: api.KindDenied},
		"an id_token that is none":       {token: answers(200, `{"access_token":"a","token_type":"Bearer","id_token":"x.y.z"}`), want: "does not hold", kind: api.KindDenied},
		"a fault":                        {token: answers(502, `no`), want: "does not answer as it should", kind: api.KindUnavailable},
		"what is no JSON":                {token: answers(200, `<html>`), want: "does not answer as it should", kind: api.KindUnavailable},
		"an endless reply":               {token: endless, want: "does not answer as it should", kind: api.KindUnavailable},
		"a redirect": {token: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusTemporaryRedirect)
		}, want: "sends elsewhere", kind: api.KindUnavailable},
		"a token that is signed by nobody": {token: unsigned, want: "does not hold", kind: api.KindDenied},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.claims, f.info, f.token = c.claims, c.info, c.token
			s, err := f.provider(t).Redeem(t.Context(), login, "code", back)
			if c.kind != "" {
				if api.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %+v, %v, want one of kind %s that says %q", s, err, c.kind, c.want)
				}
				return
			}
			if got := s.Name + ", " + s.Role.Within(s.Remits); err != nil || got != c.want || s.Provider != f.URL || s.Subject != "u1" {
				t.Errorf("got %q, %+v, %v, want %q", got, s, err, c.want)
			}
			if f.asked.Get("code_verifier") != login.Verifier || f.asked.Get("code") != "code" || f.asked.Get("redirect_uri") != back {
				t.Errorf("the provider was asked with %v", f.asked)
			}
		})
	}
}

func answers(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

func endless(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = fmt.Fprint(w, `{"access_token":"`)
	for range 64 {
		if _, err := fmt.Fprint(w, strings.Repeat("a", 64<<10)); err != nil {
			return
		}
	}
}

// unsigned says of itself that it need not be signed.
func unsigned(w http.ResponseWriter, _ *http.Request) {
	answers(200, `{"access_token":"a","token_type":"Bearer","id_token":"eyJhbGciOiJub25lIn0.eyJzdWIiOiJ1MSJ9."}`)(w, nil)
}

// One that is away is said to be, and asked again by itself later.
func TestAProviderThatIsAway(t *testing.T) {
	f := newFake(t)
	p := f.provider(t)
	f.Close()
	for range 2 { // the second is not asked at all
		_, err := p.AddressOf(t.Context(), login, back)
		if api.KindOf(err) != api.KindUnavailable || !strings.Contains(err.Error(), f.URL) || !strings.Contains(err.Error(), "users and tokens of this server go on") {
			t.Errorf("got %v", err)
		}
	}
	without := httptest.NewServer(http.HandlerFunc(endless))
	t.Cleanup(without.Close)
	big, err := provider.New(provider.Config{Issuer: without.URL, ClientID: "c", Rules: []provider.Rule{{Group: "g", Role: api.RoleViewer}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := big.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "larger than 1048576 bytes") {
		t.Errorf("a description without an end: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	g := newFake(t)
	if err := g.provider(t).Check(ctx); err != nil {
		t.Errorf("a caller who goes away takes the description along: %v", err)
	}
}

func TestSettingsThatAreRefused(t *testing.T) {
	rule := []provider.Rule{{Group: "g", Role: api.RoleViewer}}
	for name, c := range map[string]struct {
		conf provider.Config
		says string
	}{
		"no URL":         {provider.Config{Issuer: "login.example.com", ClientID: "c", Rules: rule}, "is not a URL"},
		"without TLS":    {provider.Config{Issuer: "http://login.example.com", ClientID: "c", Rules: rule}, "without TLS"},
		"with a login":   {provider.Config{Issuer: "https://a:b@login.example.com", ClientID: "c", Rules: rule}, "is not a URL"},
		"without client": {provider.Config{Issuer: "https://login.example.com", Rules: rule}, "clientId is missing"},
		"without roles":  {provider.Config{Issuer: "https://login.example.com", ClientID: "c"}, "nobody could log in"},
		"without its CA": {provider.Config{Issuer: "https://login.example.com", ClientID: "c", Rules: rule, CAFile: "/nowhere.pem"}, "cannot read oidc.ca"},
	} {
		if _, err := provider.New(c.conf); api.KindOf(err) != api.KindInvalid || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v, want %q", name, err, c.says)
		}
	}
	for _, text := range []string{"", "ops", "=admin", "ops=", "ops=root", "ops=host", "ops=admin:a@b", "ops=operator:falcon-*", "ops=operator:"} {
		if r, err := provider.ParseRule(text); api.KindOf(err) != api.KindInvalid {
			t.Errorf("%q was read as %+v, %v", text, r, err)
		}
	}
	if r, err := provider.ParseRule("cn=ops,ou=all=operator:falcon-*@canary:demo@*"); err != nil || r.Group != "cn=ops,ou=all" || r.Role != api.RoleOperator || r.Remits.String() != "falcon-*@canary, demo@*" {
		t.Errorf("got %+v, %v", r, err)
	}
}

// A provider with a certificate of its own is believed by the file that vouches for
// it alone.
func TestAProvidersCertificate(t *testing.T) {
	found := &oidctest.Server{}
	s := httptest.NewTLSServer(found)
	t.Cleanup(s.Close)
	found.SetIssuer(s.URL)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for file, works := range map[string]bool{"": false, ca: true} {
		p, err := provider.New(provider.Config{Issuer: s.URL, ClientID: "c", CAFile: file, Rules: []provider.Rule{{Group: "g", Role: api.RoleViewer}}})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Check(t.Context()); (err == nil) != works {
			t.Errorf("with the authority %q: %v", file, err)
		}
	}
}

func TestTheStrongestRoleCounts(t *testing.T) {
	rules := []provider.Rule{
		{Group: "a", Role: api.RoleOperator, Remits: api.Remits{"x@y"}},
		{Group: "b", Role: api.RoleOperator, Remits: api.Remits{"u@v", "x@y"}},
		{Group: "c", Role: api.RoleViewer},
		{Group: "d", Role: api.RoleAdmin},
		{Group: "e", Role: api.RoleOperator},
	}
	for groups, want := range map[string]string{
		"": "", "z": "", "a": "operator of x@y", "b a": "operator of u@v, x@y", "c": "viewer", "c a": "operator of x@y", "a c": "operator of x@y",
		"a d": "admin", "d c b a": "admin", "a e": "operator", "e b": "operator", "A": "",
	} {
		role, remits := provider.RoleOf(rules, strings.Fields(groups))
		if got := role.Within(remits); got != want {
			t.Errorf("%q: got %q, want %q", groups, got, want)
		}
	}
	if !slices.Equal(rules[0].Remits, api.Remits{"x@y"}) {
		t.Errorf("the rules are %+v now", rules)
	}
}
