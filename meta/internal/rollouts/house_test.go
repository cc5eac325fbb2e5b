package rollouts_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/rs/zerolog"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/fleet"
	"github.com/ops-updater/ops-updater/meta/internal/pgtest"
	"github.com/ops-updater/ops-updater/meta/internal/rollouts"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

var (
	operator = api.Actor{Name: "alice", From: "192.0.2.7"}
	everyone = api.Scope{Kind: api.ScopeEveryone}
)

// server is one ops-meta without its network side.
type server struct {
	store  *store.Store
	fleet  *fleet.Fleet
	engine *rollouts.Engine
	mu     sync.Mutex // one reload at a time
	stop   func()

	beforeUse func() // called between the engine's and the fleet's taking over
}

// serve opens a server on a database. It takes over what is wanted at once
// when it writes, and within moments when another server does.
func serve(t testing.TB, c store.Config) *server {
	if testing.Short() {
		t.Skip("SKIPPED with -short: replicas with their databases")
	}
	t.Helper()
	s, err := store.Open(t.Context(), c)
	if err != nil {
		t.Fatalf("open store: %v", err)
	}
	srv := &server{store: s, fleet: fleet.New(fleet.Options{Journal: s, Log: zerolog.Nop(), FlushEvery: 100 * time.Millisecond})}
	srv.engine = rollouts.New(rollouts.Options{
		Store: s, Fleet: srv.fleet, Log: zerolog.New(zerolog.NewTestWriter(t)), Tick: 20 * time.Millisecond, Lease: time.Second,
		Grace: time.Minute, Reload: func(ctx context.Context, _ int64) error { return srv.reload(ctx) },
	})
	srv.engine.Attach()
	if err := fleet.Load(t.Context(), srv.fleet, 0, func(visit func(store.StoredHost) error) error { return s.LoadHosts(t.Context(), visit) }); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	changes := s.Watch(ctx)
	if err := srv.reload(ctx); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for range changes {
			if err := srv.reload(ctx); err != nil && ctx.Err() == nil {
				t.Errorf("reload: %v", err)
			}
		}
	})
	if c.DSN != "" {
		wg.Go(func() { srv.follow(ctx) })
	}
	wg.Go(func() { srv.engine.Run(ctx) })
	wg.Go(func() { _ = srv.fleet.Run(ctx) })
	var once sync.Once
	srv.stop = func() {
		once.Do(func() {
			cancel()
			wg.Wait()
			if err := s.Close(); err != nil {
				t.Errorf("close store: %v", err)
			}
		})
	}
	t.Cleanup(srv.stop)
	return srv
}

// follow learns of the hosts that other servers hear.
func (s *server) follow(ctx context.Context) {
	mark, err := s.store.HostsSince(ctx, 0, nil)
	for ; err == nil; mark, err = s.store.HostsSince(ctx, mark, func(h api.Host) error { s.fleet.Restore(h); return nil }) {
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return
		}
	}
}

func (s *server) reload(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	w, err := s.store.Wanted(ctx)
	if err != nil {
		return err
	}
	return s.engine.Reload(ctx, w, func() {
		if s.beforeUse != nil {
			s.beforeUse()
		}
		s.fleet.UseSnapshot(fleet.Compile(fleet.Config{Wanted: w, PublicURL: "http://meta.example"}, time.Now()))
	})
}

// prepare makes agents with releases 1.0 to 3.0, and assigns 1.0 to everyone.
func (s *server) prepare(t testing.TB, agents ...string) {
	t.Helper()
	ctx := t.Context()
	_, err := s.store.Write(ctx, operator, func(tx *store.Tx) error {
		if _, err := tx.PutGroup(ctx, api.Group{Name: "lab", Selector: api.Selector{Prefixes: []string{"lab"}}}); err != nil {
			return err
		}
		for _, agent := range agents {
			if _, err := tx.PutAgent(ctx, api.Agent{Name: agent}); err != nil {
				return err
			}
			for _, v := range []string{"1.0", "2.0", "3.0"} {
				if _, err := tx.PutRelease(ctx, api.Release{Agent: agent, Version: v}); err != nil {
					return err
				}
				sum := strings.Repeat("ab", 32)
				if _, err := tx.PutArtifact(ctx, api.Artifact{Agent: agent, Version: v, Arch: "linux_amd64", MD5: sum[:32], SHA256: sum, Size: 1}); err != nil {
					return err
				}
			}
			if _, err := tx.PutAssignment(ctx, api.Assignment{Agent: agent, Scope: everyone, Version: "1.0"}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.reload(ctx); err != nil {
		t.Fatal(err)
	}
}

func (s *server) rollout(t testing.TB, n api.NewRollout) api.Rollout {
	t.Helper()
	if n.Scope.Kind == "" {
		n.Scope = everyone
	}
	r, err := s.engine.CreateRollout(t.Context(), operator, n)
	if err != nil {
		t.Fatalf("create rollout: %v", err)
	}
	return r
}

func (s *server) act(t testing.TB, id, action string) api.Rollout {
	t.Helper()
	r, err := s.engine.ActOnRollout(t.Context(), operator, id, action, api.RolloutAction{Reason: "because"})
	if err != nil {
		t.Fatalf("%s: %v", action, err)
	}
	return r
}

func (s *server) read(t testing.TB, id string) api.Rollout {
	t.Helper()
	r, err := s.engine.Rollout(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// await waits until a rollout is in a state, while hosts heartbeat.
func (s *server) await(t testing.TB, id string, state api.RolloutState, hosts ...*host) api.Rollout {
	t.Helper()
	var r api.Rollout
	eventually(t, fmt.Sprintf("rollout %s to be %s", id, state), func() bool {
		for _, h := range hosts {
			h.beat(t, s)
		}
		r = s.read(t, id)
		return r.State == state
	}, func() string {
		return fmt.Sprintf("it is %s (%s) in stage %d: %+v", r.State, r.Reason, r.Stage, r.Progress)
	})
	return r
}

func eventually(t testing.TB, what string, done func() bool, state func() string) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s: %s", what, state())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// host is a sidecar as a server sees it: it does what it is told with its
// next heartbeat.
type host struct {
	name   string
	bad    map[string]string // version → the phase in which it ends on this host
	held   bool
	legacy bool // knows no phases

	silentOfRollouts bool // says which version it works towards, and by which rollout not

	mu     sync.Mutex
	agents map[string]*meta.RealAgent
	tried  int64 // the server's last word to try again
	told   map[string]meta.DesiredAgent
	ran    []string // every version that was ever running, of any agent
}

func newHosts(n int, prefix string) []*host {
	hosts := make([]*host, n)
	for i := range hosts {
		hosts[i] = &host{name: fmt.Sprintf("%s%03d", prefix, i), bad: map[string]string{}, agents: map[string]*meta.RealAgent{}, told: map[string]meta.DesiredAgent{}}
	}
	return hosts
}

// beat reports, and acts on the answer.
func (h *host) beat(t testing.TB, s *server) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	req := &meta.HeartbeatRequest{Hostname: h.name, IP: "192.0.2.1", Arch: "linux_amd64", RealAgents: []meta.RealAgent{}}
	for _, name := range []string{"falcon", "probe"} {
		if a := h.agents[name]; a != nil {
			req.RealAgents = append(req.RealAgents, *a)
		}
	}
	body, err := json.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	b := fleet.Beat{Dialect: meta.DialectV1, Remote: "192.0.2.1", Body: body}
	reply, steady := s.fleet.Steady(t.Context(), b)
	if !steady {
		if reply, err = s.fleet.Report(t.Context(), fleet.Report{Beat: b, Request: req}); err != nil {
			t.Fatalf("heartbeat of %s: %v", h.name, err)
		}
	}
	var resp meta.HeartbeatResponse
	if err := json.Unmarshal(reply.Body, &resp); err != nil {
		t.Fatal(err)
	}
	for _, d := range resp.DesiredAgents {
		h.told[d.Name] = d
		h.obey(d)
	}
}

// obey ends in one step what a sidecar needs several for.
func (h *host) obey(d meta.DesiredAgent) {
	a := h.agents[d.Name]
	if a == nil {
		a = &meta.RealAgent{Name: d.Name, RunUser: "root", WorkDir: "/opt"}
		h.agents[d.Name] = a
	}
	a.Held = h.held
	if d.Retry > h.tried {
		h.tried, a.Phase, a.Error, a.Rollout = d.Retry, meta.PhaseIdle, "", ""
	}
	if h.held || d.Cmd != meta.CmdStart || a.Version == d.Version && a.Rollout == d.Rollout {
		return
	}
	if phase := h.bad[d.Version]; phase != "" {
		if phase == "hangs" {
			return
		}
		if phase == "stopped" {
			*a = meta.RealAgent{Name: d.Name, Version: d.Version, Status: "stoped", RunUser: "root", WorkDir: "/opt"}
			return
		}
		a.Phase, a.Error, a.Rollout = meta.Phase(phase), "control start: exit 1", d.Rollout
		a.Since = time.Now().Unix()
		if h.silentOfRollouts {
			a.DesiredVersion, a.Rollout = d.Version, ""
		}
		return
	}
	*a = meta.RealAgent{Name: d.Name, Version: d.Version, Status: "started", RunUser: "root", WorkDir: "/opt", Phase: meta.PhaseIdle, Rollout: d.Rollout}
	if h.legacy {
		a.Phase, a.Rollout = "", ""
	}
	h.ran = append(h.ran, d.Version)
}

func (h *host) runs(agent string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if a := h.agents[agent]; a != nil {
		return a.Version
	}
	return ""
}

// touched are the hosts that ever ran a version.
func touched(hosts []*host, version string) []string {
	var names []string
	for _, h := range hosts {
		h.mu.Lock()
		if slices.Contains(h.ran, version) {
			names = append(names, h.name)
		}
		h.mu.Unlock()
	}
	return names
}

func onBoth(t *testing.T, test func(t *testing.T, c store.Config)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { test(t, store.Config{Dir: t.TempDir()}) })
	t.Run("postgres", func(t *testing.T) { test(t, store.Config{DSN: pgtest.NewSchema(t)}) })
}
