package local_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/local"
)

// daemon is one that says and notes what it is asked.
func daemon(orders *[]local.Order, reload error) local.Daemon {
	return local.Daemon{
		Status: func(context.Context) local.Status {
			return local.Status{Version: "1.2.3", Hostname: "h", Started: time.Unix(1000, 0), Agents: []meta.RealAgent{
				{Name: "good", Version: "1", DesiredVersion: "1", Status: "started", Phase: meta.PhaseIdle},
				{Name: "bad", Version: "1", DesiredVersion: "2", Status: "unknown: x", Phase: meta.PhaseFailed, Error: `says "no"`, Held: true},
			}}
		},
		Plan: func(context.Context) (local.Plan, error) {
			return local.Plan{Steps: []local.Step{{Agent: "good", Act: "none", Reason: "as wanted"}}}, nil
		},
		Do: func(_ context.Context, o local.Order) error {
			*orders = append(*orders, o)
			if o.Agent == "nobody" {
				return errors.New("no such agent on this host: nobody")
			}
			return nil
		},
		Reload: func(context.Context) (local.Reloaded, error) {
			return local.Reloaded{Config: json.RawMessage(`{"server":"a:1"}`), Restart: []string{"http"}}, reload
		},
		Output: func(_ context.Context, agent string) (local.Output, error) {
			return local.Output{Text: "of " + agent}, nil
		},
		Metrics: local.NewMetrics(),
	}
}

func TestHTTPIsTheContractOfTheAncestors(t *testing.T) {
	bad := errors.New("cfg.json:1: interval: want seconds")
	cases := []struct {
		name, method, path, peer string
		reload                   error
		status                   int
		body                     string
	}{
		{"health", "GET", "/health", "192.0.2.7:9", nil, 200, "ok"},
		{"version", "GET", "/version", "192.0.2.7:9", nil, 200, "1.2.3"},
		{"workdir", "GET", "/workdir", "192.0.2.7:9", nil, 200, `{"msg":"success","data":"/opt/agents"}`},
		{"reload from IPv4 loopback", "GET", "/config/reload", "127.0.0.1:9", nil, 200, `{"msg":"success","data":{"server":"a:1"}}`},
		{"reload from all of 127/8", "GET", "/config/reload", "127.3.2.1:9", nil, 200, `{"msg":"success","data":{"server":"a:1"}}`},
		{"reload from IPv6 loopback", "POST", "/config/reload", "[::1]:9", nil, 200, `{"msg":"success","data":{"server":"a:1"}}`},
		{"reload from IPv4 in IPv6", "GET", "/config/reload", "[::ffff:127.0.0.1]:9", nil, 200, `{"msg":"success","data":{"server":"a:1"}}`},
		{"reload of a bad file", "GET", "/config/reload", "127.0.0.1:9", bad, 200, `{"msg":"cfg.json:1: interval: want seconds"}`},
		{"reload from elsewhere", "GET", "/config/reload", "192.0.2.7:9", nil, 403, "no privilege"},
		{"reload from an address that begins like loopback", "GET", "/config/reload", "[127::1]:9", nil, 403, "no privilege"},
		{"no pprof unless asked for", "GET", "/debug/pprof/", "127.0.0.1:9", nil, 404, "404 page not found"},
		{"no socket endpoints here", "POST", "/order", "127.0.0.1:9", nil, 404, "404 page not found"},
		{"anything else", "GET", "/", "127.0.0.1:9", nil, 404, "404 page not found"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			handler := local.HTTP(daemon(nil, c.reload), local.HTTPConfig{Version: "1.2.3", WorkDir: "/opt/agents"})
			r := httptest.NewRequest(c.method, c.path, nil)
			r.RemoteAddr = c.peer
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			if body := strings.TrimSpace(w.Body.String()); w.Code != c.status || body != c.body {
				t.Errorf("%d %q; want %d %q", w.Code, body, c.status, c.body)
			}
		})
	}
}

func TestMetrics(t *testing.T) {
	d := daemon(nil, nil)
	d.Metrics.Heartbeat(250*time.Millisecond, nil)
	d.Metrics.Heartbeat(time.Second, errors.New("x"))
	d.Metrics.Transaction("upgrade", meta.PhaseRolledBack)
	w := httptest.NewRecorder()
	local.HTTP(d, local.HTTPConfig{}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, line := range []string{
		`ops_updater_heartbeats_total{result="ok"} 1`,
		`ops_updater_heartbeats_total{result="error"} 1`,
		`ops_updater_heartbeat_duration_seconds_sum 1.25`,
		`ops_updater_info{version="1.2.3"} 1`,
		`ops_updater_transactions_total{act="upgrade",ended="rolledBack"} 1`,
		`ops_updater_agent_info{agent="bad",version="1",desired="2",phase="failed"} 1`,
		`ops_updater_agent_started{agent="good"} 1`,
		`ops_updater_agent_started{agent="bad"} 0`,
		`ops_updater_agent_error{agent="bad"} 1`,
		`ops_updater_agent_held{agent="bad"} 1`,
	} {
		if !strings.Contains(w.Body.String(), line+"\n") {
			t.Errorf("no line %s in\n%s", line, w.Body)
		}
	}
}

// dial serves d on a socket in a fresh directory and returns its client.
func dial(t *testing.T, d local.Daemon, dir string) *local.Client {
	t.Helper()
	l, err := local.Listen(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: local.Socket(d)}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	return local.NewClient(dir)
}

func TestSocket(t *testing.T) {
	var orders []local.Order
	dir := t.TempDir()
	c := dial(t, daemon(&orders, nil), dir)
	ctx := t.Context()

	if fi, err := os.Stat(filepath.Join(dir, local.SocketName)); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("the socket has mode %v, %v; want 0600", fi.Mode(), err)
	}
	if s, err := c.Status(ctx); err != nil || s.Version != "1.2.3" || len(s.Agents) != 2 {
		t.Errorf("status %+v, %v", s, err)
	}
	if p, err := c.Plan(ctx); err != nil || len(p.Steps) != 1 || p.Steps[0].Reason != "as wanted" {
		t.Errorf("plan %+v, %v", p, err)
	}
	if r, err := c.Reload(ctx); err != nil || cmp.Diff([]string{"http"}, r.Restart) != "" {
		t.Errorf("reload %+v, %v", r, err)
	}
	if o, err := c.Output(ctx, "good"); err != nil || o.Text != "of good" {
		t.Errorf("output %+v, %v", o, err)
	}
	if _, err := c.Output(ctx, "../etc"); err == nil {
		t.Error("the output of ../etc was given")
	}
}

func TestSocketOrders(t *testing.T) {
	until := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	cases := []struct {
		name  string
		order local.Order
		want  string // part of the error; empty: obeyed
	}{
		{"hold", local.Order{Verb: local.VerbHold, Agent: "good", Reason: "r", Until: until, By: "me"}, ""},
		{"unhold", local.Order{Verb: local.VerbUnhold, Agent: "good"}, ""},
		{"rollback", local.Order{Verb: local.VerbRollback, Agent: "good"}, ""},
		{"clear", local.Order{Verb: local.VerbClear, Agent: "good"}, ""},
		{"refused by the daemon", local.Order{Verb: local.VerbClear, Agent: "nobody"}, "no such agent on this host: nobody"},
		{"unknown verb", local.Order{Verb: "reboot", Agent: "good"}, `verb "reboot" is not known`},
		{"path as a name", local.Order{Verb: local.VerbHold, Agent: "../etc"}, "not an agent's name"},
		{"endless reason", local.Order{Verb: local.VerbHold, Agent: "good", Reason: strings.Repeat("x", 2000)}, "too long"},
		{"more than the socket reads", local.Order{Verb: local.VerbHold, Agent: "good", Reason: strings.Repeat("x", 80<<10)}, "EOF"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var orders []local.Order
			err := dial(t, daemon(&orders, nil), t.TempDir()).Do(t.Context(), c.order)
			if c.want == "" {
				if diff := cmp.Diff([]local.Order{c.order}, orders); err != nil || diff != "" {
					t.Errorf("%v %s", err, diff)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v; want %q", err, c.want)
			}
		})
	}
}

func TestNobodyThere(t *testing.T) {
	dir := t.TempDir()
	if _, err := local.NewClient(dir).Status(t.Context()); !errors.Is(err, local.ErrNotRunning) {
		t.Errorf("error %v without a socket; want ErrNotRunning", err)
	}
	l, err := local.Listen(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(dir, "left")
	if err := os.Link(filepath.Join(dir, local.SocketName), left); err != nil { // as a kill -9 leaves it
		t.Fatal(err)
	}
	_ = l.Close()
	if err := os.Rename(left, filepath.Join(dir, local.SocketName)); err != nil {
		t.Fatal(err)
	}
	if _, err := local.NewClient(dir).Status(t.Context()); !errors.Is(err, local.ErrNotRunning) {
		t.Errorf("error %v with a dead socket; want ErrNotRunning", err)
	}
	if s, err := dial(t, daemon(nil, nil), dir).Status(t.Context()); err != nil || s.Version != "1.2.3" {
		t.Errorf("the dead socket was not replaced: %v", err)
	}
}

func TestSocketInADeepDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("deep/", 40))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if s, err := dial(t, daemon(nil, nil), dir).Status(t.Context()); err != nil || s.Version != "1.2.3" {
		t.Errorf("status %+v, %v", s, err)
	}
}
