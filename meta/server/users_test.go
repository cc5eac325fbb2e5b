package server_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/server"
)

const horse, staple = "correct horse", "battery staple"

func (r *running) newUser(t testing.TB, name string, role api.Role) api.User {
	t.Helper()
	u, err := r.admin.PutUser(t.Context(), api.User{Name: name, Role: role, Password: horse, Revision: api.MustNotExist})
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func (r *running) logIn(t testing.TB, name, password string) (api.Session, *api.Client) {
	t.Helper()
	s, err := r.as(t, "").Login(t.Context(), api.Login{Name: name, Password: password})
	if err != nil {
		t.Fatal(err)
	}
	return s, r.as(t, s.Secret)
}

func isRefused(err error, status int, says string) bool {
	p := problem(err)
	return p != nil && p.Status == status && strings.Contains(p.Detail, says)
}

// A person is let in by name and password, does what their role may, and the
// audit log names them.
func TestAPersonLogsIn(t *testing.T) {
	onBoth(t, func(t *testing.T, conf server.Config) {
		r := start(t, conf)
		made := r.newUser(t, "anna", api.RoleOperator)
		if made.Password != "" || made.PasswordSet == nil || made.CreatedBy != "admin" {
			t.Errorf("made %+v", made)
		}
		s, anna := r.logIn(t, "anna", horse)
		who, err := anna.WhoAmI(t.Context())
		if err != nil || who.Name != "anna" || who.Role != api.RoleOperator || who.SessionID != s.ID || who.TokenID != "" || who.ExpiresAt == nil {
			t.Errorf("whoami: %+v, %v", who, err)
		}
		if _, err := anna.PutAgent(t.Context(), api.Agent{Name: "demo"}); err != nil {
			t.Error(err)
		}
		if err := second(anna.Tokens(t.Context(), api.ListOptions{})); !isRefused(err, http.StatusForbidden, "anna has the role operator") {
			t.Errorf("an operator lists tokens: %v", err)
		}
		log, err := r.admin.Audit(t.Context(), api.ListOptions{Actor: "anna"})
		if err != nil || len(log.Items) != 2 || log.Items[0].Name != "demo" || log.Items[1].Action != "login" || log.Items[1].Kind != "session" {
			t.Errorf("audit: %+v, %v", log.Items, err)
		}
		for name, l := range map[string]api.Login{
			"another password": {Name: "anna", Password: staple}, "none": {Name: "anna"}, "nobody": {Name: "bob", Password: horse},
			"an endless one": {Name: "anna", Password: strings.Repeat("x", 2<<10)}, "another case": {Name: "Anna", Password: horse}, "nothing": {},
		} {
			if err := second(r.as(t, "").Login(t.Context(), l)); !isRefused(err, http.StatusUnauthorized, "the name or the password is wrong") {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// A session ends when somebody ends it, and when what it may do is said anew.
func TestASessionEnds(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, r *running, s api.Session, own *api.Client) error{
		"by the person": func(t *testing.T, _ *running, _ api.Session, own *api.Client) error {
			return own.EndSession(t.Context(), api.Self)
		},
		"by an admin": func(t *testing.T, r *running, s api.Session, _ *api.Client) error {
			return r.admin.EndSession(t.Context(), s.ID)
		},
		"with the user": func(t *testing.T, r *running, _ api.Session, _ *api.Client) error {
			return r.admin.DeleteUser(t.Context(), "anna", 0)
		},
		"with another role": func(t *testing.T, r *running, _ api.Session, _ *api.Client) error {
			return second(r.admin.PutUser(t.Context(), api.User{Name: "anna", Role: api.RoleViewer}))
		},
		"with another password": func(t *testing.T, r *running, _ api.Session, _ *api.Client) error {
			return second(r.admin.PutUser(t.Context(), api.User{Name: "anna", Role: api.RoleOperator, Password: staple}))
		},
		"by a new password of another session": func(t *testing.T, r *running, _ api.Session, _ *api.Client) error {
			_, other := r.logIn(t, "anna", horse)
			err := other.ChangePassword(t.Context(), api.NewPassword{Current: horse, Password: staple})
			if err == nil {
				err = second(other.WhoAmI(t.Context())) // which goes on
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, conf server.Config) {
				r := start(t, conf)
				r.newUser(t, "anna", api.RoleOperator)
				s, anna := r.logIn(t, "anna", horse)
				if err := second(anna.WhoAmI(t.Context())); err != nil {
					t.Fatal(err)
				}
				if err := end(t, r, s, anna); err != nil {
					t.Fatal(err)
				}
				if err := second(anna.WhoAmI(t.Context())); !isRefused(err, http.StatusUnauthorized, "the session has ended") {
					t.Errorf("the session goes on: %v", err)
				}
			})
		})
	}
}

// Nobody but an admin sees or ends the sessions of others, and a password
// changes only for who knows the old one.
func TestOthersSessionsAreTheirOwn(t *testing.T) {
	onBoth(t, func(t *testing.T, conf server.Config) {
		r := start(t, conf)
		r.newUser(t, "anna", api.RoleOperator)
		r.newUser(t, "bob", api.RoleViewer)
		_, anna := r.logIn(t, "anna", horse)
		bobs, bob := r.logIn(t, "bob", horse)
		if page, err := bob.Sessions(t.Context(), api.ListOptions{}); err != nil || len(page.Items) != 1 || page.Items[0].ID != bobs.ID || page.Items[0].Secret != "" {
			t.Errorf("bob sees %+v, %v", page.Items, err)
		}
		if page, err := r.admin.Sessions(t.Context(), api.ListOptions{}); err != nil || len(page.Items) != 2 {
			t.Errorf("an admin sees %+v, %v", page.Items, err)
		}
		if err := anna.EndSession(t.Context(), bobs.ID); !isRefused(err, http.StatusNotFound, "no such session") {
			t.Errorf("anna ends bob's session: %v", err)
		}
		if err := r.admin.EndSession(t.Context(), api.Self); !isRefused(err, http.StatusConflict, "this is a token") {
			t.Errorf("a token ended itself: %v", err)
		}
		if err := bob.ChangePassword(t.Context(), api.NewPassword{Current: staple, Password: staple}); !isRefused(err, http.StatusUnauthorized, "the password is wrong") {
			t.Errorf("a password changed without the old one: %v", err)
		}
		if err := bob.ChangePassword(t.Context(), api.NewPassword{Current: horse, Password: "short"}); !isRefused(err, http.StatusBadRequest, "5 characters") {
			t.Errorf("a short password: %v", err)
		}
		if err := second(bob.WhoAmI(t.Context())); err != nil {
			t.Error(err)
		}
	})
}

func TestUsersThatAreRefused(t *testing.T) {
	r := start(t, newConfig(t))
	r.newUser(t, "anna", api.RoleViewer)
	for name, c := range map[string]struct {
		user   api.User
		status int
		says   string
	}{
		"without a password":  {api.User{Name: "bob", Role: api.RoleViewer}, 400, "a new user needs a password"},
		"with a short one":    {api.User{Name: "bob", Role: api.RoleViewer, Password: "short"}, 400, "want 10 or more"},
		"of a token's role":   {api.User{Name: "bob", Role: api.RoleEnroll, Password: horse}, 400, "is not for people"},
		"called like a token": {api.User{Name: "admin", Role: api.RoleViewer, Password: horse}, 409, `there is a token called "admin"`},
		"twice":               {api.User{Name: "anna", Role: api.RoleAdmin, Password: horse, Revision: api.MustNotExist}, 409, "exists already"},
	} {
		if err := second(r.admin.PutUser(t.Context(), c.user)); !isRefused(err, c.status, c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := second(r.admin.CreateToken(t.Context(), api.NewToken{Name: "anna", Role: api.RoleViewer})); !isRefused(err, 409, `there is a user called "anna"`) {
		t.Errorf("a token called like a user: %v", err)
	}
}

// Who guesses is held back by address and by name, also with tries at once;
// who is logged in is not.
func TestGuessedPasswordsAreHeldBack(t *testing.T) {
	for name, c := range map[string]struct {
		perAddress int
		says       string
	}{
		"by address": {5, "from this address"}, "by name": {1000, "too many logins by this name"},
	} {
		t.Run(name, func(t *testing.T) {
			conf := newConfig(t)
			conf.FailuresPerMin = c.perAddress
			r := start(t, conf)
			r.newUser(t, "anna", api.RoleViewer)
			_, anna := r.logIn(t, "anna", horse)
			if err := second(anna.WhoAmI(t.Context())); err != nil {
				t.Fatal(err)
			}
			errs := make(chan error)
			for range 12 {
				go func() { errs <- second(r.as(t, "").Login(t.Context(), api.Login{Name: "ANNA", Password: staple})) }()
			}
			held := 0
			for range 12 {
				if isRefused(<-errs, http.StatusTooManyRequests, c.says) {
					held++
				}
			}
			if held == 0 {
				t.Error("12 guesses in a moment, and none was held back")
			}
			if err := second(anna.WhoAmI(t.Context())); err != nil {
				t.Errorf("who is logged in is held back: %v", err)
			}
		})
	}
}

// Neither a password nor its hash nor the secret of a session is in what the
// server tells.
func TestPasswordsAndSessionsAreToldToNobody(t *testing.T) {
	onBoth(t, func(t *testing.T, conf server.Config) {
		r := start(t, conf)
		r.newUser(t, "anna", api.RoleAdmin)
		s, anna := r.logIn(t, "anna", horse)
		if err := second(anna.WhoAmI(t.Context())); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{"/api/v1/users", "/api/v1/users/anna", "/api/v1/sessions", "/api/v1/audit"} {
			body := string(r.raw(t, http.MethodGet, path, nil).body)
			for _, secret := range []string{horse, s.Secret, "argon2id"} {
				if strings.Contains(body, secret) {
					t.Errorf("%s tells %q", path, secret)
				}
			}
			if !strings.Contains(body, "anna") {
				t.Errorf("%s does not know anna: %s", path, body)
			}
		}
	})
}
