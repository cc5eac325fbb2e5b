package server_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/pgtest"
	"github.com/ops-updater/ops-updater/meta/server"
)

// listener receives webhooks; while it refuses, none of them counts.
type listener struct {
	*httptest.Server
	notices chan api.Notice
	refuse  chan bool // one value for each refusal
}

func newListener(t *testing.T) *listener {
	l := &listener{notices: make(chan api.Notice, 100), refuse: make(chan bool, 100)}
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		select {
		case <-l.refuse:
			http.Error(w, "no", http.StatusForbidden)
			return
		default:
		}
		var n api.Notice
		if err := json.Unmarshal(body, &n); err != nil {
			t.Errorf("%v: %s", err, body)
		}
		l.notices <- n
	}))
	t.Cleanup(l.Close)
	return l
}

// next is the next notice of an event.
func (l *listener) next(t *testing.T, event string) api.Notice {
	t.Helper()
	for deadline := time.After(time.Minute); ; {
		select {
		case n := <-l.notices:
			if n.Event == event {
				return n
			}
		case <-deadline:
			t.Fatalf("nobody told of %s", event)
		}
	}
}

func TestNotifications(t *testing.T) {
	onBoth(t, func(t *testing.T, conf server.Config) {
		conf.Interval = 1
		r := start(t, conf)
		l := newListener(t)
		put, err := r.admin.PutNotifyTarget(t.Context(), api.NotifyTarget{Name: "ops", Kind: api.NotifyWebhook, URL: l.URL, Secret: "s3cret"})
		if err != nil || put.Secret != "" || !put.HasSecret {
			t.Fatalf("got %+v, %v; want it without its secret", put, err)
		}

		t.Run("a target is tried", func(t *testing.T) {
			if err := r.admin.TestNotifyTarget(t.Context(), "ops"); err != nil {
				t.Fatal(err)
			}
			l.next(t, api.NotifyTest)
			if err := r.admin.TestNotifyTarget(t.Context(), "nobody"); problem(err) == nil || problem(err).Status != http.StatusNotFound {
				t.Fatalf("got %v; want 404", err)
			}
		})

		t.Run("what was given up is listed and tried again", func(t *testing.T) {
			l.refuse <- true
			if err := r.admin.TestNotifyTarget(t.Context(), "ops"); err != nil {
				t.Fatal(err)
			}
			var dead api.Page[api.Notification]
			for deadline := time.Now().Add(time.Minute); len(dead.Items) == 0; {
				if time.Now().After(deadline) {
					t.Fatal("was never given up")
				}
				if dead, err = r.admin.DeadLetters(t.Context(), api.ListOptions{}); err != nil {
					t.Fatal(err)
				}
				<-time.After(20 * time.Millisecond)
			}
			if d := dead.Items[0]; d.Target != "ops" || !strings.Contains(d.Error, "403") {
				t.Fatalf("got %+v", d)
			}
			if err := r.admin.RetryDeadLetter(t.Context(), dead.Items[0].ID); err != nil {
				t.Fatal(err)
			}
			l.next(t, api.NotifyTest)
		})

		t.Run("a bad template is refused", func(t *testing.T) {
			_, err := r.admin.PutNotifyTarget(t.Context(), api.NotifyTarget{Name: "bad", Kind: api.NotifyWebhook, URL: l.URL, Template: "{{.Nothing}}"})
			if p := problem(err); p == nil || p.Status != http.StatusBadRequest || p.Field != "template" {
				t.Fatalf("got %+v", err)
			}
		})

		t.Run("a host that goes silent and comes back", func(t *testing.T) {
			beat := meta.HeartbeatRequest{Hostname: "web-1", Arch: "linux_amd64", Protocol: 1}
			r.heartbeat(t, "", beat)
			if n := l.next(t, api.NotifyHostSilent); n.Host != "web-1" || !strings.Contains(n.Link, "/hosts/web-1") {
				t.Errorf("got %+v", n)
			}
			r.heartbeat(t, "", beat)
			if n := l.next(t, api.NotifyHostReturned); n.Host != "web-1" {
				t.Errorf("got %+v", n)
			}
		})
	})
}

// Of several replicas one tells that a host went silent.
func TestReplicasTellOfSilenceOnce(t *testing.T) {
	conf := newConfig(t)
	conf.DB, conf.Interval = pgtest.NewSchema(t), 1
	one := start(t, conf)
	conf.Data = t.TempDir()
	two := start(t, conf)
	two.admin = two.as(t, one.token)
	l := newListener(t)
	if _, err := one.admin.PutNotifyTarget(t.Context(), api.NotifyTarget{Name: "ops", Kind: api.NotifyWebhook, URL: l.URL}); err != nil {
		t.Fatal(err)
	}
	one.heartbeat(t, "", meta.HeartbeatRequest{Hostname: "web-1", Arch: "linux_amd64", Protocol: 1})
	l.next(t, api.NotifyHostSilent)
	for _, r := range []*running{one, two} {
		within(t, func() bool {
			h, err := r.admin.Host(t.Context(), "web-1")
			return err == nil && h.Silent
		})
	}
	if err := one.admin.TestNotifyTarget(t.Context(), "ops"); err != nil {
		t.Fatal(err)
	}
	for deadline := time.After(time.Minute); ; {
		select {
		case n := <-l.notices:
			if n.Event == api.NotifyTest {
				return
			}
			t.Fatalf("told again: %+v", n)
		case <-deadline:
			t.Fatal("nothing arrives any more")
		}
	}
}
