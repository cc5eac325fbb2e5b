package fleet_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/fleet"
)

func rollout(id, version string, s api.Scope, state api.RolloutState, age time.Duration) api.Rollout {
	return api.Rollout{ID: id, Agent: "falcon", Scope: s, Version: version, State: state, CreatedAt: time.Unix(1e9, 0).Add(-age)}
}

func TestRolloutsLieOverAssignments(t *testing.T) {
	old := rollout("r1", "2.0", everyone, api.RolloutAborted, time.Hour)
	back := rollout("r2", "1.0", everyone, api.RolloutRunning, 0)
	inCanary := rollout("r3", "3.0", canary, api.RolloutRunning, 0)
	base := []api.Assignment{assign("falcon", everyone, "1.0")}
	cases := []struct {
		name        string
		assignments []api.Assignment
		rollouts    []api.Rollout
		granted     []string
		want, by    string
		waits       bool
	}{
		{"without a grant the base stays", base, []api.Rollout{back}, nil, "1.0", "", true},
		{"a grant gets the target", base, []api.Rollout{rollout("r1", "2.0", everyone, api.RolloutRunning, 0)}, []string{"r1"}, "2.0", "r1", false},
		{"paused: granted hosts keep it", base, []api.Rollout{rollout("r1", "2.0", everyone, api.RolloutPaused, 0)}, []string{"r1"}, "2.0", "r1", false},
		{"paused: nobody waits", base, []api.Rollout{rollout("r1", "2.0", everyone, api.RolloutPaused, 0)}, nil, "1.0", "", false},
		{"an aborted one still holds what it granted", base, []api.Rollout{old}, []string{"r1"}, "2.0", "r1", false},
		{"the way back waits for its own grant", base, []api.Rollout{old, back}, []string{"r1"}, "2.0", "r1", true},
		{"the way back", base, []api.Rollout{old, back}, []string{"r1", "r2"}, "1.0", "r2", false},
		{"a first version: nothing until granted", nil, []api.Rollout{inCanary}, nil, "", "", true},
		{"a narrower scope falls through until granted", base, []api.Rollout{inCanary}, nil, "1.0", "", true},
		{"a narrower scope's grant wins", base, []api.Rollout{inCanary}, []string{"r3"}, "3.0", "r3", false},
		{"a narrower assignment hides a wider rollout", []api.Assignment{base[0], assign("falcon", host1, "3.0")}, []api.Rollout{back}, nil, "3.0", "", false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := wanted()
			w.Assignments, w.Rollouts = c.assignments, c.rollouts
			f := newFleet(t, fleet.Options{}, w)
			g := &granter{}
			f.AttachRollouts(g, nil)
			for _, id := range c.granted {
				f.AddGrants(id, "web-01")
			}
			got := told(t, beat(t, f, meta.DialectV1, report("web-01", running("falcon", "1.0"))))["falcon"]
			if got.Version != c.want || got.Rollout != c.by {
				t.Fatalf("told %s by %q; want %s by %q", got.Version, got.Rollout, c.want, c.by)
			}
			if waits := len(g.asked) > 0; waits != c.waits {
				t.Fatalf("asked %+v; want waiting %v", g.asked, c.waits)
			}
		})
	}
}

// granter grants what it is told to, and remembers who asked.
type granter struct {
	asked []api.GrantRequest
	grant bool
	err   error
}

func (g *granter) Grant(_ context.Context, r api.GrantRequest) (bool, error) {
	g.asked = append(g.asked, r)
	return g.grant, g.err
}

func TestAGrantIsInTheReplyItWasMadeFor(t *testing.T) {
	w := wanted()
	w.Assignments = []api.Assignment{assign("falcon", everyone, "1.0")}
	ro := rollout("r1", "2.0", everyone, api.RolloutRunning, 0)
	ro.Strategy.Stages = []api.Stage{{Count: 1, Group: "canary"}}
	w.Rollouts = []api.Rollout{ro}
	g := &granter{}
	f := newFleet(t, fleet.Options{}, w)
	f.AttachRollouts(g, nil)
	req := report("web-01", running("falcon", "1.0"))
	if got := told(t, beat(t, f, meta.DialectV1, req))["falcon"].Version; got != "1.0" {
		t.Fatalf("told %s before the grant", got)
	}
	g.grant = true
	body, _ := json.Marshal(req)
	r, steady := f.Steady(context.Background(), fleet.Beat{Dialect: meta.DialectV1, Remote: "10.9.9.9", Body: body})
	if !steady {
		t.Fatal("an unchanged report is not steady")
	}
	if got := told(t, r)["falcon"]; got.Version != "2.0" || got.Rollout != "r1" {
		t.Fatalf("told %+v; want 2.0 by r1", got)
	}
	last := g.asked[len(g.asked)-1]
	if last.Host != "web-01" || last.Reported != "1.0" || len(last.Groups) != 1 || last.Groups[0] != "canary" {
		t.Fatalf("asked %+v", last)
	}
	if _, steady := f.Steady(context.Background(), fleet.Beat{Dialect: meta.DialectV1, Remote: "10.9.9.9", Body: body}); !steady || len(g.asked) != 2 {
		t.Fatalf("asked %d times; want no more once granted", len(g.asked))
	}
	f.DropGrants("r1")
	if got := f.Explain("web-01").Agents[0].Version; got != "1.0" {
		t.Fatalf("told %s after the grants were dropped", got)
	}
}
