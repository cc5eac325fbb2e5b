package httpapi_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/httpapi"
)

// slowTokens is a database whose answer is on its way while something else
// happens.
type slowTokens struct {
	asked   chan struct{}
	answer  chan struct{}
	voided  atomic.Bool
	lookups atomic.Int64
}

func (s *slowTokens) Authenticate(context.Context, string) (api.Token, error) {
	s.lookups.Add(1)
	if s.voided.Load() {
		return api.Token{}, api.Errorf(api.KindNotFound, "there is no such token")
	}
	s.asked <- struct{}{}
	<-s.answer
	return api.Token{ID: "c1", Name: "host:h", Role: api.RoleHost, Host: "h", CreatedAt: time.Now().Add(-time.Hour)}, nil
}

func (s *slowTokens) AuthenticateSession(context.Context, string) (api.Session, error) {
	return api.Session{}, api.Errorf(api.KindNotFound, "there is no such session")
}

func (s *slowTokens) FirstUse(context.Context, string, time.Time) error { return nil }

func TestWhatIsForgottenWhileItIsLookedUpIsNotRemembered(t *testing.T) {
	for name, forget := range map[string]func(*httpapi.Access){
		"forgotten": func(a *httpapi.Access) { a.ForgetToken("h") },
		"doubted":   func(a *httpapi.Access) { a.DoubtCredentials("h") },
	} {
		t.Run(name, func(t *testing.T) {
			db := &slowTokens{asked: make(chan struct{}), answer: make(chan struct{})}
			access := httpapi.NewAccess(httpapi.AccessConfig{Tokens: db})
			beat := func() error {
				r := httptest.NewRequest(http.MethodPost, "/api/heartbeat", nil)
				r.Header.Set("Authorization", "Bearer om_secret")
				_, err := access.Sender(r)
				return err
			}
			done := make(chan error)
			go func() { done <- beat() }()
			<-db.asked
			db.voided.Store(true) // the credential is gone, the answer was made before
			forget(access)
			close(db.answer)
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			if err := beat(); err == nil {
				t.Errorf("the credential of a forgotten host still counts, after %d look-ups", db.lookups.Load())
			}
		})
	}
}
