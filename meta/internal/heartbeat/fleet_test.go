package heartbeat_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/fleet"
	"github.com/ops-updater/ops-updater/meta/internal/heartbeat"
	"github.com/ops-updater/ops-updater/scripts/fleetsim/sim"
)

// budget grants a rollout to so many hosts, and counts who was granted twice.
type budget struct {
	mu      sync.Mutex
	left    int
	granted map[string]int
}

func (b *budget) Grant(_ context.Context, r api.GrantRequest) (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.left == 0 {
		return false, nil
	}
	b.left--
	b.granted[r.Host]++
	return true, nil
}

// A simulated fleet of both dialects under a rollout with a limit: only what
// was granted changes, failures go back, and the fleet knows it.
func TestASimulatedFleetUnderARollout(t *testing.T) {
	const hosts, limit = 2000, 500
	w := api.Wanted{
		Agents:      []api.Agent{{Name: "falcon"}},
		Assignments: []api.Assignment{{Agent: "falcon", Version: "1.0", Scope: api.Scope{Kind: api.ScopeEveryone}}},
		Rollouts:    []api.Rollout{{ID: "r1", Agent: "falcon", Version: "2.0", Scope: api.Scope{Kind: api.ScopeEveryone}, State: api.RolloutRunning}},
	}
	for _, v := range []string{"1.0", "2.0"} {
		w.Releases = append(w.Releases, api.Release{Agent: "falcon", Version: v, Artifacts: []api.Artifact{{Arch: "linux_amd64"}}})
	}
	f := fleet.New(fleet.Options{})
	f.UseSnapshot(fleet.Compile(fleet.Config{Wanted: w, PublicURL: "http://meta.example"}, time.Now()))
	b := &budget{left: limit, granted: make(map[string]int)}
	f.AttachRollouts(b, nil)
	h := heartbeat.New(heartbeat.Options{Fleet: f})
	s := newHandlerServer(t, h)
	simulated, err := sim.New(sim.Config{
		Server: s.URL, Hosts: hosts, Seed: 3, Workers: 16, Legacy: 0.2, Conditional: true, Count: 6 * hosts,
		Agents: []sim.Agent{{Name: "falcon", Version: "1.0"}}, Failures: []sim.Failure{{Agent: "falcon", Version: "2.0", Share: 0.1}},
	})
	if err != nil {
		t.Fatal(err)
	}
	r := simulated.Run(context.Background())
	if r.Errors > 0 || r.Refused > 0 {
		t.Fatalf("%d errors, %d refused, first: %s", r.Errors, r.Refused, r.FirstError)
	}
	failed := r.Phases[string(meta.PhaseRolledBack)]
	if len(b.granted) != limit || failed == 0 || r.Versions["falcon@2.0"] != limit-failed {
		t.Errorf("%d granted, %d failed, %v; want %d granted and all others of them on 2.0", len(b.granted), failed, r.Versions, limit)
	}
	o := f.Overview()
	if o.Hosts != hosts || o.Agents[0].Versions["2.0"] != limit-failed || o.Dialects["legacy"] == 0 {
		t.Errorf("the fleet counts %+v", o)
	}
	// An older client has no word for a failure: the fleet can only see that
	// it does not run what it was granted.
	if o.Failing == 0 || o.Failing > failed || o.Drifted != failed {
		t.Errorf("the fleet counts %d failing and %d drifted; want %d drifted", o.Failing, o.Drifted, failed)
	}
	if c := h.Counts(); c.Steady < 2*hosts || c.Unchanged < hosts || c.All != 6*hosts {
		t.Errorf("counts %+v; want most heartbeats to take the short way", c)
	}
}
