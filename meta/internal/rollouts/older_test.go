package rollouts_test

import (
	"slices"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/rollout"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

var halfThenAll = &api.Strategy{Stages: []api.Stage{{Count: 1}, {Percent: 100}}, Deadline: 3600}

// An older sidecar does not go back by itself. Two reports that its agent is
// stopped on the target end the rollout long before the deadline, and the host
// is told the release before again: by every server, and after a restart.
func TestAnOlderSidecarIsTakenBack(t *testing.T) {
	onBoth(t, func(t *testing.T, c store.Config) {
		s := serve(t, c)
		s.prepare(t, "falcon")
		hosts := newHosts(6, "web")
		for _, h := range hosts {
			h.legacy, h.bad["2.0"] = true, "stopped"
		}
		beatAll(t, s, hosts)
		r := s.rollout(t, api.NewRollout{Agent: "falcon", Version: "2.0", Inline: halfThenAll})
		r = s.await(t, r.ID, api.RolloutPaused, hosts...)
		grants, err := s.engine.Grants(t.Context(), api.GrantFilter{Rollout: r.ID}, api.Cursor{})
		if err != nil || len(grants.Items) != 1 || grants.Items[0].Reason != string(rollout.ReasonStopped) {
			t.Fatalf("grants are %+v (%v), want the canary's, failed for %s", grants.Items, err, rollout.ReasonStopped)
		}
		back := func(s *server) func() bool {
			return func() bool {
				beatAll(t, s, hosts)
				for _, h := range hosts {
					if h.runs("falcon") != "1.0" || h.told["falcon"].Version != "1.0" {
						return false
					}
				}
				return true
			}
		}
		eventually(t, "every host to be back on 1.0", back(s), func() string { return hosts[0].told["falcon"].Version })
		s.stop()
		s = serve(t, c)
		s.act(t, r.ID, api.ActionResume) // another canary may try, not this one
		canary := grants.Items[0].Host
		for range 5 {
			for _, h := range hosts {
				if h.name != canary {
					continue
				}
				if h.beat(t, s); h.told["falcon"].Version != "1.0" {
					t.Fatalf("after a restart %s is told %s again", canary, h.told["falcon"].Version)
				}
			}
		}
	})
}

// A host that says which version it works towards need not echo the rollout.
func TestAHostIsJudgedByTheVersionItWorksTowards(t *testing.T) {
	s := serve(t, store.Config{Dir: t.TempDir()})
	s.prepare(t, "falcon")
	hosts := newHosts(6, "web")
	for _, h := range hosts {
		h.bad["2.0"], h.silentOfRollouts = string(meta.PhaseRolledBack), true
	}
	beatAll(t, s, hosts)
	r := s.rollout(t, api.NewRollout{Agent: "falcon", Version: "2.0", Inline: halfThenAll})
	r = s.await(t, r.ID, api.RolloutPaused, hosts...)
	if r.Reason != string(rollout.ReasonTooManyFailures) || r.Progress[0].Granted != 1 {
		t.Errorf("it is paused for %s: %+v", r.Reason, r.Progress)
	}
}

// A host that is away when a rollback begins is taken back when it returns.
func TestAHostThatWasAwayIsTakenBackWhenItReturns(t *testing.T) {
	onBoth(t, func(t *testing.T, c store.Config) {
		s := serve(t, c)
		s.prepare(t, "falcon")
		hosts := newHosts(1, "web")
		beatAll(t, s, hosts)
		r := s.rollout(t, api.NewRollout{Agent: "falcon", Version: "2.0", Inline: halfThenAll})
		s.await(t, r.ID, api.RolloutCompleted, hosts...)
		h := hosts[0]
		if h.runs("falcon") != "2.0" {
			t.Fatalf("it runs %s", h.runs("falcon"))
		}
		if _, err := s.store.Write(t.Context(), operator, func(tx *store.Tx) error { return tx.DeleteHost(t.Context(), h.name) }); err != nil {
			t.Fatal(err)
		}
		s.fleet.ForgetHost(h.name) // as if it had been silent for long
		gone := time.Now().Add(-time.Hour)
		s.fleet.Restore(api.Host{Name: h.name, Dialect: "v1", Arch: "linux_amd64", FirstSeen: gone, LastSeen: gone, Silent: true, Agents: []api.HostAgent{{Name: "falcon", Version: "2.0", Status: "started", Phase: "idle"}}})
		back := s.act(t, r.ID, api.ActionRollback)
		for range 5 {
			if err := s.engine.Tick(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if got := s.read(t, back.ID); got.State != api.RolloutRunning || got.Progress[0].Silent != 1 {
			t.Fatalf("with nobody there the way back is %s (%s): %+v", got.State, got.Reason, got.Progress)
		}
		s.await(t, back.ID, api.RolloutCompleted, hosts...)
		if h.runs("falcon") != "1.0" {
			t.Errorf("it runs %s", h.runs("falcon"))
		}
	})
}

// Anyone who removes a host on purpose does not make its rollout fail: its place
// goes to another one.
func TestAForgottenHostIsNoFailure(t *testing.T) {
	onBoth(t, func(t *testing.T, c store.Config) {
		s := serve(t, c)
		s.prepare(t, "falcon")
		hosts := newHosts(3, "web")
		beatAll(t, s, hosts)
		for _, h := range hosts {
			h.bad["2.0"] = "hangs"
		}
		r := s.rollout(t, api.NewRollout{Agent: "falcon", Version: "2.0", Inline: &api.Strategy{Stages: []api.Stage{{Count: 1}, {Percent: 100}}, Deadline: 2}})
		canary := func() *host {
			for _, h := range hosts {
				if h.beat(t, s); h.told["falcon"].Version == "2.0" {
					return h
				}
			}
			return nil
		}
		first := canary()
		if first == nil {
			t.Fatal("nobody was granted")
		}
		if _, err := s.store.Write(t.Context(), operator, func(tx *store.Tx) error { return tx.DeleteHost(t.Context(), first.name) }); err != nil {
			t.Fatal(err)
		}
		s.fleet.ForgetHost(first.name)
		s.engine.Forget(first.name)
		hosts = slices.DeleteFunc(hosts, func(h *host) bool { return h == first })
		for _, h := range hosts {
			delete(h.bad, "2.0")
		}
		r = s.await(t, r.ID, api.RolloutCompleted, hosts...)
		if p := r.Progress; p[0].Granted != 1 || p[0].Failed+p[1].Failed != 0 {
			t.Errorf("progress is %+v", p)
		}
	})
}
