package notify_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/notify"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

// office is a sender on a real database.
type office struct {
	store *store.Store
	mu    sync.Mutex
	list  []api.NotifyTarget
}

func newOffice(t *testing.T, targets ...api.NotifyTarget) *office {
	t.Helper()
	s, err := store.Open(t.Context(), store.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return &office{store: s, list: targets}
}

func (o *office) targets(context.Context) ([]api.NotifyTarget, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.list, nil
}

func (o *office) setTargets(targets ...api.NotifyTarget) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.list = targets
}

// run starts a sender that hurries, and returns what ends it.
func (o *office) run(t *testing.T, change func(*notify.Config)) (stop func()) {
	t.Helper()
	c := notify.Config{
		Outbox: o.store, Targets: o.targets, Poll: 20 * time.Millisecond, Timeout: time.Minute,
		RetryBase: 10 * time.Millisecond, RetryLimit: 50 * time.Millisecond, MaxAttempts: 4, Collect: 300 * time.Millisecond,
	}
	if change != nil {
		change(&c)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		notify.New(c).Run(ctx)
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

func (o *office) owe(t *testing.T, notices ...api.Notice) {
	t.Helper()
	for _, n := range notices {
		note, err := notify.Owed(n)
		if err != nil {
			t.Fatal(err)
		}
		if err := o.store.Notify(t.Context(), note); err != nil {
			t.Fatal(err)
		}
	}
}

func (o *office) dead(t *testing.T) []api.Notification {
	t.Helper()
	page, err := o.store.DeadLetters(t.Context(), api.Cursor{})
	if err != nil {
		t.Fatal(err)
	}
	return page.Items
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// delivery is what a receiver got.
type delivery struct {
	header http.Header
	body   []byte
}

func (d delivery) notice(t *testing.T) api.Notice {
	t.Helper()
	var n api.Notice
	if err := json.Unmarshal(d.body, &n); err != nil {
		t.Fatalf("%v: %s", err, d.body)
	}
	return n
}

// receiver answers webhooks as told, 200 after that.
type receiver struct {
	*httptest.Server
	mu      sync.Mutex
	got     []delivery
	answers []int
}

func newReceiver(t *testing.T, answers ...int) *receiver {
	r := &receiver{answers: answers}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.got = append(r.got, delivery{req.Header.Clone(), body})
		if n := len(r.got); n <= len(r.answers) {
			http.Error(w, "try\nthat again", r.answers[n-1])
		}
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) deliveries() []delivery {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]delivery(nil), r.got...)
}

func hook(r *receiver) api.NotifyTarget {
	return api.NotifyTarget{Name: "hook", Kind: api.NotifyWebhook, URL: r.URL + "/in", Secret: "s3cret"}
}

var paused = api.Notice{
	ID: "K7", Event: "rollout.paused", Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Agent: "falcon-agent", Version: "5.1.3", Rollout: "r1",
	From: "running", To: "paused", Actor: "ops-meta", Reason: "too-many-failures", Message: "1 of 2 hosts failed",
	Link: "https://ops-meta.example/rollouts/r1", Progress: []api.StageCount{{Size: 10, Granted: 2, Succeeded: 1, Failed: 1}},
}

// silent and failed are notices about a host.
func silent(host string) api.Notice {
	return notify.Host(api.NotifyHostSilent, api.Event{Time: time.Now(), Host: host, Kind: api.EventSilent}, "")
}

func failed(host string) api.Notice {
	return api.Notice{ID: host, Event: api.NotifyHostFailed, Time: time.Now(), Host: host, Agent: "falcon-agent", Version: "2", Message: host + " failed"}
}

func TestWebhookIsSignedAndComplete(t *testing.T) {
	r := newReceiver(t)
	o := newOffice(t, hook(r))
	o.owe(t, paused)
	o.run(t, nil)
	eventually(t, "the delivery", func() bool { return len(r.deliveries()) > 0 })
	d := r.deliveries()[0]
	if err := verify("s3cret", d.header, d.body, time.Now(), time.Minute); err != nil {
		t.Error(err)
	}
	n := d.notice(t)
	if n.Event != "rollout.paused" || n.Agent != "falcon-agent" || n.Version != "5.1.3" || n.Link != "https://ops-meta.example/rollouts/r1" || n.Progress[0].Failed != 1 || n.Reason != "too-many-failures" {
		t.Errorf("got %+v", n)
	}
	if d.header.Get("Content-Type") != "application/json" || d.header.Get(notify.HeaderEvent) != "rollout.paused" || d.header.Get(notify.HeaderID) != paused.ID {
		t.Errorf("got %v", d.header)
	}
}

func TestVerifyRefuses(t *testing.T) {
	r := newReceiver(t)
	o := newOffice(t, hook(r))
	o.owe(t, paused)
	o.run(t, nil)
	eventually(t, "the delivery", func() bool { return len(r.deliveries()) > 0 })
	d := r.deliveries()[0]
	later := d.header.Clone()
	later.Set(notify.HeaderTimestamp, fmt.Sprint(time.Now().Unix()+30))
	cases := []struct {
		name   string
		secret string
		header http.Header
		body   string
		now    time.Time
	}{
		{"another secret", "guess", d.header, string(d.body), time.Now()},
		{"another body", "s3cret", d.header, string(d.body) + " ", time.Now()},
		{"another timestamp", "s3cret", later, string(d.body), time.Now()},
		{"no signature", "s3cret", http.Header{}, string(d.body), time.Now()},
		{"sent again an hour later", "s3cret", d.header, string(d.body), time.Now().Add(time.Hour)},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if verify(c.secret, c.header, []byte(c.body), c.now, time.Minute) == nil {
				t.Fatal("was accepted")
			}
		})
	}
}

func TestAFailedDeliveryIsTriedAgainWithTheSameID(t *testing.T) {
	r := newReceiver(t, http.StatusInternalServerError, http.StatusTooManyRequests)
	o := newOffice(t, hook(r))
	o.owe(t, paused)
	o.run(t, nil)
	eventually(t, "three attempts", func() bool { return len(r.deliveries()) == 3 })
	for _, d := range r.deliveries() {
		if d.header.Get(notify.HeaderID) != paused.ID {
			t.Errorf("ID %q; want %q", d.header.Get(notify.HeaderID), paused.ID)
		}
	}
	o.owe(t, notify.Test(time.Now(), "me")) // the next one comes after it: the first is not sent a fourth time
	eventually(t, "the next", func() bool { return len(r.deliveries()) == 4 })
	if got := r.deliveries()[3].notice(t).Event; got != api.NotifyTest {
		t.Errorf("sent %s once more", got)
	}
	if dead := o.dead(t); len(dead) != 0 {
		t.Errorf("given up: %+v", dead)
	}
}

func TestWhatCannotBeDeliveredIsGivenUpAndCanBeRevived(t *testing.T) {
	closed := newReceiver(t)
	closed.Close()
	refusing := newReceiver(t, 404, 404, 404, 404, 404)
	failing := newReceiver(t, 503, 503, 503, 503, 503, 503)
	redirecting := httptest.NewServer(http.RedirectHandler("http://127.0.0.1:1/", http.StatusFound))
	t.Cleanup(redirecting.Close)
	denied := newReceiver(t)
	deny := func(network, address string, _ syscall.RawConn) error {
		if strings.HasSuffix(denied.URL, address) {
			return errors.New("that address is not for us")
		}
		return nil
	}
	cases := []struct {
		name     string
		target   api.NotifyTarget
		attempts int
		says     string
	}{
		{"nobody listens", hook(closed), 4, "cannot reach the receiver"},
		{"refused", hook(refusing), 1, "404 Not Found: try that again"},
		{"fails every time", hook(failing), 4, "503"},
		{"redirects", api.NotifyTarget{Name: "hook", Kind: api.NotifyWebhook, URL: redirecting.URL}, 1, "302"},
		{"denied address", hook(denied), 4, "not for us"},
		{"mail without a mail server", api.NotifyTarget{Name: "team", Kind: api.NotifyMail, Addresses: []string{"a@example.com"}}, 1, "no mail server"},
		{"template that fails", api.NotifyTarget{Name: "hook", Kind: api.NotifyWebhook, URL: refusing.URL, Template: "{{index .Hosts 7}}"}, 1, "cannot fill in the template"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			o := newOffice(t, c.target)
			o.owe(t, paused)
			stop := o.run(t, func(c *notify.Config) { c.Control = deny })
			eventually(t, "giving up", func() bool { return len(o.dead(t)) > 0 })
			stop()
			dead := o.dead(t)
			if len(dead) != 1 || dead[0].Attempts != c.attempts || !strings.Contains(dead[0].Error, c.says) || dead[0].Kind != "rollout.paused" {
				t.Fatalf("got %+v; want one after %d attempts with %q", dead, c.attempts, c.says)
			}
			if strings.Contains(dead[0].Error, "/in") {
				t.Errorf("the reason repeats the address, which may hold a key: %s", dead[0].Error)
			}
			good := newReceiver(t)
			o.setTargets(api.NotifyTarget{Name: c.target.Name, Kind: api.NotifyWebhook, URL: good.URL})
			if _, err := o.store.Write(t.Context(), api.Actor{Name: "me"}, func(tx *store.Tx) error {
				return tx.ReviveNotification(t.Context(), dead[0].ID)
			}); err != nil {
				t.Fatal(err)
			}
			o.run(t, nil)
			eventually(t, "the delivery after all", func() bool { return len(good.deliveries()) == 1 })
		})
	}
}

func TestTargetsGetWhatTheyAskedFor(t *testing.T) {
	cases := []struct {
		name   string
		target api.NotifyTarget
		notice api.Notice
		want   bool
	}{
		{"everything", api.NotifyTarget{}, paused, true},
		{"an event by name", api.NotifyTarget{Events: []string{"host.silent", "rollout.paused"}}, paused, true},
		{"other events", api.NotifyTarget{Events: []string{"host.silent", "rollout.completed"}}, paused, false},
		{"a kind of events", api.NotifyTarget{Events: []string{"rollout."}}, paused, true},
		{"another kind of events", api.NotifyTarget{Events: []string{"host."}}, paused, false},
		{"half a name is no kind", api.NotifyTarget{Events: []string{"rollout.pau"}}, paused, false},
		{"its agent", api.NotifyTarget{Agents: []string{"x", "falcon-agent"}}, failed("h"), true},
		{"another agent", api.NotifyTarget{Agents: []string{"x"}}, failed("h"), false},
		{"about a host, for those of one agent", api.NotifyTarget{Agents: []string{"x"}}, silent("h"), false},
		{"switched off", api.NotifyTarget{Disabled: true}, paused, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := notify.Wants(c.target, c.notice); got != c.want {
				t.Fatalf("got %v; want %v", got, c.want)
			}
		})
	}
}

func TestManyHostsWithTheSameTroubleAreOneNotice(t *testing.T) {
	r := newReceiver(t)
	o := newOffice(t, hook(r))
	wave := func(from, n int) {
		for i := range n {
			o.owe(t, silent(fmt.Sprintf("web-%03d", from+i)))
		}
	}
	wave(0, 120)
	o.owe(t, failed("db-1"))
	stop := o.run(t, func(c *notify.Config) { c.Collect = time.Hour })
	eventually(t, "both notices", func() bool { return len(r.deliveries()) == 2 })
	told := map[string]api.Notice{}
	for _, d := range r.deliveries() {
		n := d.notice(t)
		told[n.Event] = n
	}
	many, one := told[api.NotifyHostSilent], told[api.NotifyHostFailed]
	if many.Count != 120 || len(many.Hosts) != 20 || many.Host != "" || !strings.HasPrefix(many.Message, "120 hosts went silent: web-000, web-001, ") || !strings.HasSuffix(many.Message, ", …") {
		t.Errorf("got %+v", many)
	}
	if one.Host != "db-1" || one.Count != 0 || one.Version != "2" {
		t.Errorf("got %+v", one)
	}
	wave(200, 5) // within the hour: collected
	o.owe(t, paused)
	eventually(t, "what is not about hosts", func() bool { return len(r.deliveries()) == 3 })
	if got := r.deliveries()[2].notice(t).Event; got != "rollout.paused" {
		t.Errorf("told of %s again within the time to collect", got)
	}
	stop()
	if dead := o.dead(t); len(dead) != 0 {
		t.Errorf("given up: %+v", dead)
	}
}

func TestCollectedNoticesAreToldLater(t *testing.T) {
	r := newReceiver(t)
	o := newOffice(t, hook(r))
	o.run(t, nil)
	for i := range 4 {
		o.owe(t, silent(fmt.Sprint("h", i)))
		eventually(t, "something", func() bool { return len(r.deliveries()) > 0 })
	}
	eventually(t, "all four hosts", func() bool {
		hosts := map[string]bool{}
		for _, d := range r.deliveries() {
			n := d.notice(t)
			hosts[n.Host] = true
			for _, h := range n.Hosts {
				hosts[h] = true
			}
		}
		return hosts["h0"] && hosts["h1"] && hosts["h2"] && hosts["h3"]
	})
}

func TestTimelinesBecomeNotices(t *testing.T) {
	var events []api.Event
	for i := range 30 {
		events = append(events, api.Event{Time: time.Now(), Host: fmt.Sprint("h", i), Kind: api.EventSilent})
	}
	events = append(events,
		api.Event{Time: time.Now(), Host: "x", Kind: api.EventReturned, Message: "after a day"},
		api.Event{Time: time.Now(), Host: "y", Kind: api.EventVersion})
	got := notify.Hosts(events, "https://ops-meta.example/")
	if len(got) != 2 || got[0].Event != api.NotifyHostReturned || got[1].Event != api.NotifyHostSilent {
		t.Fatalf("got %+v", got)
	}
	if n := got[0]; n.Message != "x came back: after a day" || n.Link != "https://ops-meta.example/hosts/x" || n.Count != 0 {
		t.Errorf("got %+v", n)
	}
	if n := got[1]; n.Count != 30 || len(n.Hosts) != 20 || !strings.HasPrefix(n.Message, "30 hosts went silent: h0, h1, ") {
		t.Errorf("got %+v", n)
	}
	r := newReceiver(t)
	o := newOffice(t, hook(r))
	o.owe(t, got[1], got[1], silent("z"))
	o.run(t, nil)
	eventually(t, "one notice of them all", func() bool { return len(r.deliveries()) == 1 })
	if n := r.deliveries()[0].notice(t); n.Count != 61 || len(n.Hosts) != 20 {
		t.Errorf("got %+v", n)
	}
}

func TestNotificationsOfTargetsThatAreGoneAreDropped(t *testing.T) {
	r := newReceiver(t)
	o := newOffice(t)
	for _, target := range []string{"gone", "off", "team/left@example.com", "hook"} {
		note, err := notify.Owed(paused)
		if err != nil {
			t.Fatal(err)
		}
		note.Target = target
		if err := o.store.Notify(t.Context(), note); err != nil {
			t.Fatal(err)
		}
	}
	o.setTargets(hook(r), api.NotifyTarget{Name: "off", Kind: api.NotifyWebhook, URL: r.URL, Disabled: true}, api.NotifyTarget{Name: "team", Kind: api.NotifyMail, Addresses: []string{"a@example.com"}})
	o.run(t, nil)
	eventually(t, "the one that is there", func() bool { return len(r.deliveries()) == 1 })
	if dead := o.dead(t); len(dead) != 0 {
		t.Errorf("given up instead of dropped: %+v", dead)
	}
}
