package httpapi_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/httpapi"
)

// tokenTable is a table of tokens by secret, as a database has one.
type tokenTable struct {
	bySecret map[string]api.Token
	fail     error
	hangs    bool // until the caller gives up
	lookups  int
	used     []string
}

func (s *tokenTable) AuthenticateSession(context.Context, string) (api.Session, error) {
	return api.Session{}, api.Errorf(api.KindNotFound, "there is no such session")
}

func (s *tokenTable) Authenticate(ctx context.Context, secret string) (api.Token, error) {
	s.lookups++
	if s.hangs {
		<-ctx.Done()
		return api.Token{}, &api.Error{Kind: api.KindUnavailable, Message: "the database does not answer", Err: ctx.Err()}
	}
	if s.fail != nil {
		return api.Token{}, s.fail
	}
	t, there := s.bySecret[secret]
	if !there {
		return t, api.Errorf(api.KindNotFound, "there is no such token")
	}
	return t, nil
}

func (s *tokenTable) FirstUse(_ context.Context, id string, _ time.Time) error {
	s.used = append(s.used, id)
	return nil
}

func identify(a *httpapi.Access, secret string) (api.Identity, error) {
	r := httptest.NewRequest(http.MethodGet, "/api/v1/whoami", nil)
	r.Header.Set("Authorization", "Bearer "+secret)
	return a.Identify(r)
}

// statusOf is how a request is answered that access refuses.
func statusOf(err error) int {
	var d interface{ HTTPStatus() int }
	switch {
	case err == nil:
		return http.StatusOK
	case errors.As(err, &d):
		return d.HTTPStatus()
	}
	return http.StatusServiceUnavailable
}

var away = api.Errorf(api.KindUnavailable, "the database is away")

// A token is remembered, so that a heartbeat needs no database; and no longer
// than somebody may be wrong about it.
func TestTokensAreRemembered(t *testing.T) {
	type step struct {
		do      func(*httpapi.Access, *tokenTable)
		status  int
		lookups int // so far
	}
	nothing := func(*httpapi.Access, *tokenTable) {}
	wait := func(d time.Duration) func(*httpapi.Access, *tokenTable) {
		return func(*httpapi.Access, *tokenTable) { time.Sleep(d) } // by the bubble's clock
	}
	gone := func(_ *httpapi.Access, db *tokenTable) { clear(db.bySecret) }
	down := func(_ *httpapi.Access, db *tokenTable) { db.fail = away }
	both := func(fs ...func(*httpapi.Access, *tokenTable)) func(*httpapi.Access, *tokenTable) {
		return func(a *httpapi.Access, db *tokenTable) {
			for _, f := range fs {
				f(a, db)
			}
		}
	}
	forget := func(what string) func(*httpapi.Access, *tokenTable) {
		return func(a *httpapi.Access, _ *tokenTable) { a.ForgetToken(what) }
	}
	doubt := func(host string) func(*httpapi.Access, *tokenTable) {
		return func(a *httpapi.Access, _ *tokenTable) { a.DoubtCredentials(host) }
	}
	person := api.Token{ID: "t1", Name: "ann", Role: api.RoleViewer}
	host := api.Token{ID: "c1", Name: "host:h", Role: api.RoleHost, Host: "h"}
	for name, tc := range map[string]struct {
		token api.Token
		steps []step
	}{
		"a person's, for a minute": {person, []step{
			{nothing, 200, 1}, {wait(59 * time.Second), 200, 1}, {wait(2 * time.Second), 200, 2},
		}},
		"a host's, for half a day": {host, []step{
			{nothing, 200, 1}, {wait(11 * time.Hour), 200, 1}, {wait(2 * time.Hour), 200, 2},
		}},
		"one that is void, until it is asked again": {person, []step{
			{nothing, 200, 1}, {gone, 200, 1}, {wait(2 * time.Minute), 401, 2}, {nothing, 401, 3},
		}},
		"forgotten by its id": {person, []step{
			{nothing, 200, 1}, {both(gone, forget("t1")), 401, 2},
		}},
		"forgotten by its host": {host, []step{
			{nothing, 200, 1}, {both(gone, forget("h")), 401, 2},
		}},
		"another one is forgotten": {person, []step{
			{nothing, 200, 1}, {both(gone, forget("t2")), 200, 1},
		}},
		"doubted, and asked again": {host, []step{
			{nothing, 200, 1}, {doubt("h"), 200, 2}, {nothing, 200, 2},
		}},
		"doubted and void": {host, []step{
			{nothing, 200, 1}, {both(gone, doubt("h")), 401, 2},
		}},
		"another host is doubted": {host, []step{
			{nothing, 200, 1}, {both(gone, doubt("g")), 200, 1},
		}},
		"every person is doubted": {person, []step{
			{nothing, 200, 1}, {both(gone, doubt("")), 401, 2},
		}},
		"no database, believed and asked again soon": {person, []step{
			{nothing, 200, 1}, {both(down, wait(2*time.Minute)), 200, 2}, {wait(9 * time.Second), 200, 2}, {wait(2 * time.Second), 200, 3},
		}},
		"no database, doubted and believed": {host, []step{
			{nothing, 200, 1}, {both(down, doubt("h")), 200, 2},
		}},
		"no database, never seen before": {person, []step{{down, 503, 1}}},
		"no database, and then it is void": {person, []step{
			{nothing, 200, 1},
			{both(down, wait(2*time.Minute)), 200, 2},
			{both(gone, func(_ *httpapi.Access, db *tokenTable) { db.fail = nil }, wait(11*time.Second)), 401, 3},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tc.token.CreatedAt = time.Now().Add(-24 * time.Hour)
				db := &tokenTable{bySecret: map[string]api.Token{"s": tc.token}}
				a := httpapi.NewAccess(httpapi.AccessConfig{Tokens: db})
				for i, s := range tc.steps {
					s.do(a, db)
					if _, err := identify(a, "s"); statusOf(err) != s.status || db.lookups != s.lookups {
						t.Errorf("step %d: %v after %d look-ups, want %d after %d", i, err, db.lookups, s.status, s.lookups)
					}
				}
			})
		})
	}
}

// Who is known does not wait for a database that hangs.
func TestADatabaseThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := &tokenTable{bySecret: map[string]api.Token{"s": {ID: "t1", Name: "ann", Role: api.RoleViewer}}}
		a := httpapi.NewAccess(httpapi.AccessConfig{Tokens: db})
		if _, err := identify(a, "s"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		db.hangs = true
		for secret, want := range map[string]struct {
			status int
			within time.Duration
		}{"s": {200, time.Second}, "new": {503, 5 * time.Second}} {
			began := time.Now()
			if _, err := identify(a, secret); statusOf(err) != want.status || time.Since(began) > want.within {
				t.Errorf("%s: %v after %s", secret, err, time.Since(began))
			}
		}
	})
}

func TestATokenThatEndsIsRefusedFromMemoryToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end := time.Now().Add(30 * time.Second)
		db := &tokenTable{bySecret: map[string]api.Token{"s": {ID: "t1", Name: "ann", Role: api.RoleViewer, ExpiresAt: &end}}}
		a := httpapi.NewAccess(httpapi.AccessConfig{Tokens: db})
		if _, err := identify(a, "s"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Second)
		if _, err := identify(a, "s"); statusOf(err) != 401 || !strings.Contains(err.Error(), "ann expired at") || db.lookups != 1 {
			t.Errorf("got %v after %d look-ups", err, db.lookups)
		}
	})
}

// A credential that was never used is asked for at each use until that is
// noted: it may be replaced as long as its host may not have got it.
func TestTheFirstUseOfACredentialIsNoted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		young := api.Token{ID: "c1", Role: api.RoleHost, Host: "h", CreatedAt: time.Now()}
		db := &tokenTable{bySecret: map[string]api.Token{"s": young}}
		a := httpapi.NewAccess(httpapi.AccessConfig{Tokens: db})
		for range 2 {
			if id, err := identify(a, "s"); err != nil || id.Name != "h" {
				t.Fatal(id, err)
			}
		}
		if len(db.used) != 1 || db.used[0] != "c1" || db.lookups != 1 {
			t.Errorf("noted %v after %d look-ups", db.used, db.lookups)
		}
		if used := a.TakeUses(); len(used) != 0 {
			t.Errorf("a host's credential counts as used by a person: %v", used)
		}
	})
}

func TestUsesOfTokensAreToldOnce(t *testing.T) {
	a := httpapi.NewAccess(httpapi.AccessConfig{Tokens: badge{}})
	for range 3 {
		if _, err := identify(a, "viewer"); err != nil {
			t.Fatal(err)
		}
	}
	if used := a.TakeUses(); len(used) != 1 || used["id-viewer"].IsZero() {
		t.Errorf("used were %v", used)
	}
	if used := a.TakeUses(); len(used) != 0 {
		t.Errorf("told again: %v", used)
	}
}

// Anyone who guesses is held back; who has a token that was good before is not,
// and neither is anybody else.
func TestWhoGuessesIsHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := &tokenTable{bySecret: map[string]api.Token{"s": {ID: "t1", Name: "ann", Role: api.RoleViewer}, "new": {ID: "t2", Role: api.RoleViewer}}}
		a := httpapi.NewAccess(httpapi.AccessConfig{Tokens: db, FailuresPerMin: 3})
		from := func(addr, secret string) error {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.RemoteAddr = addr
			r.Header.Set("Authorization", "Bearer "+secret)
			_, err := a.Identify(r)
			return err
		}
		if err := from("192.0.2.1:1", "s"); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if err := from("192.0.2.1:1", "guess"); statusOf(err) != 401 {
				t.Fatal(err)
			}
		}
		for _, tc := range []struct {
			addr, secret string
			status       int
		}{
			{"192.0.2.1:9", "guess", 429},
			{"192.0.2.1:9", "new", 429}, // it could be the right guess
			{"192.0.2.1:9", "s", 200},
			{"[::ffff:192.0.2.1]:9", "guess", 429}, // the same address
			{"192.0.2.2:1", "new", 200},
			{"[2001:db8::1]:1", "guess", 401},
			{"[2001:db8::2]:1", "guess", 401},
			{"[2001:db8::3]:1", "guess", 401},
			{"[2001:db8::4]:1", "guess", 429}, // one network is one guesser
			{"[2001:db8:0:1::1]:1", "guess", 401},
		} {
			err := from(tc.addr, tc.secret)
			if statusOf(err) != tc.status {
				t.Errorf("%s with %s: %v, want %d", tc.addr, tc.secret, err, tc.status)
			}
			var d interface{ RetryAfter() time.Duration }
			if tc.status == 429 && (!errors.As(err, &d) || d.RetryAfter() <= 0 || d.RetryAfter() > 20*time.Second) {
				t.Errorf("%s: no word of when to try again", tc.addr)
			}
		}
		time.Sleep(20 * time.Second)
		if err := from("192.0.2.1:9", "guess"); statusOf(err) != 401 {
			t.Errorf("after the wait: %v", err)
		}
		time.Sleep(2 * time.Minute) // what is known must be asked about again
		for range 4 {
			_ = from("192.0.2.1:9", "guess")
		}
		if err := from("192.0.2.1:9", "s"); err != nil {
			t.Errorf("one that was good before: %v", err)
		}
	})
}

func TestOnlyTrustedProxiesSpeakForOthers(t *testing.T) {
	a := httpapi.NewAccess(httpapi.AccessConfig{Tokens: badge{}, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	for name, tc := range map[string]struct {
		peer, forwarded, want string
	}{
		"no proxy":              {"192.0.2.1:5", "", "192.0.2.1"},
		"a stranger who claims": {"192.0.2.1:5", "198.51.100.1", "192.0.2.1"},
		"a proxy":               {"10.0.0.1:5", "198.51.100.1", "198.51.100.1"},
		"a proxy says nothing":  {"10.0.0.1:5", "", "10.0.0.1"},
		"a proxy says nonsense": {"10.0.0.1:5", "unknown", "10.0.0.1"},
		"two proxies":           {"10.0.0.1:5", "198.51.100.1, 10.0.0.2", "198.51.100.1"},
		"a client who claims":   {"10.0.0.1:5", "203.0.113.9, 198.51.100.1", "198.51.100.1"},
		"a mapped address":      {"[::ffff:10.0.0.1]:5", "::ffff:198.51.100.1", "198.51.100.1"},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.RemoteAddr = tc.peer
			if tc.forwarded != "" {
				r.Header.Set("X-Forwarded-For", tc.forwarded)
			}
			if got := a.Address(r).String(); got != tc.want {
				t.Errorf("it comes from %s, want %s", got, tc.want)
			}
		})
	}
}

func TestOnlyAHostReportsForItself(t *testing.T) {
	for name, tc := range map[string]struct {
		token, host string
		open        bool
		status      int
	}{
		"its own credential":   {"host", "h", false, 200},
		"that of another host": {"host", "g", false, 403},
		"a person's token":     {"admin", "h", false, 403},
		"none":                 {"", "h", false, 401},
		"a wrong one":          {"zzz", "h", false, 401},
		"none, where all may":  {"", "h", true, 200},
	} {
		t.Run(name, func(t *testing.T) {
			a := httpapi.NewAccess(httpapi.AccessConfig{Tokens: badge{}, OpenHeartbeats: tc.open})
			r := httptest.NewRequest(http.MethodPost, "/api/heartbeat", nil)
			if tc.token != "" {
				r.Header.Set("Authorization", "Bearer "+tc.token)
			}
			sender, err := a.Sender(r)
			if err == nil {
				err = a.MayReport(r, sender, tc.host)
			}
			if statusOf(err) != tc.status {
				t.Errorf("got %v, want %d", err, tc.status)
			}
		})
	}
}

// Enrolments are counted by address, so that one token in the wrong hands does
// not fill the database.
func TestEnrolmentsOfOneAddressAreBounded(t *testing.T) {
	m := newMemory()
	s := newServerWith(t, m.backend(), httpapi.AccessConfig{Tokens: badge{}, EnrolPerMin: 2})
	for i, want := range []int{201, 201, 429} {
		w := ask(s, api.RoleEnroll, "POST /enroll", `{"hostname":"h"}`)
		if w.Code != want || want == 429 && w.Header().Get("Retry-After") != "31" {
			t.Errorf("enrolment %d: %d, Retry-After %q", i+1, w.Code, w.Header().Get("Retry-After"))
		}
	}
	if asked := m.questions(); len(asked) != 2 {
		t.Errorf("the backend was asked %q", asked)
	}
}
