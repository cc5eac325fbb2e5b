package server_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
)

// What a deployment is said to change leaves out the hosts that a narrower
// rule keeps as they are.
func TestImpactKnowsNarrowerRules(t *testing.T) {
	r := start(t, newConfig(t))
	r.publish(t, "demo", "1.0")
	r.publish(t, "demo", "2.0")
	for _, name := range []string{"web-1", "web-2", "db-1", "db-2"} {
		r.heartbeat(t, "", meta.HeartbeatRequest{Hostname: name, RealAgents: []meta.RealAgent{{Name: "demo", Version: "1.0", Status: meta.StatusStarted}}})
	}
	for name, priority := range map[string]int{"web": 10, "all": 1} {
		g := api.Group{Name: name, Priority: priority, Selector: api.Selector{Globs: []string{strings.TrimPrefix(name, "all") + "*"}}}
		if _, err := r.admin.PutGroup(t.Context(), g); err != nil {
			t.Fatal(err)
		}
	}
	r.deploy(t, "demo", "1.0")
	group := func(name string) api.Scope { return api.Scope{Kind: api.ScopeGroup, Name: name} }
	host := api.Scope{Kind: api.ScopeHost, Name: "db-1"}
	for _, a := range []api.Assignment{{Agent: "demo", Version: "1.0", Scope: group("web")}, {Agent: "demo", Version: "1.0", Scope: host}} {
		if _, err := r.admin.PutAssignment(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	cases := []struct {
		name  string
		scope api.Scope
		want  api.Impact // of which only the numbers count
	}{
		{"everyone", api.Scope{Kind: api.ScopeEveryone}, api.Impact{Hosts: 4, Changed: 1, Overruled: 3}},
		{"a group of less priority", group("all"), api.Impact{Hosts: 4, Changed: 1, Overruled: 3}},
		{"a group of more", group("web"), api.Impact{Hosts: 2, Changed: 2}},
		{"a host", host, api.Impact{Hosts: 1, Changed: 1}},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			got, err := r.admin.AssignmentImpact(t.Context(), api.Assignment{Agent: "demo", Version: "2.0", Scope: tc.scope})
			if err != nil || got.Hosts != tc.want.Hosts || got.Changed != tc.want.Changed || got.Overruled != tc.want.Overruled || got.From["1.0"] != tc.want.Changed {
				t.Errorf("got %+v, %v; want %+v", got, err, tc.want)
			}
		})
	}
}

// A hold whose time is over is no hold: it is not listed, not exported, and a
// fleet file that still has it changes nothing.
func TestHoldsThatEndedAreGone(t *testing.T) {
	r := start(t, newConfig(t))
	until := time.Now().Add(10 * time.Second) // in which it is made and exported
	brief := api.Hold{Scope: api.Scope{Kind: api.ScopeHost, Name: "web-1"}, Reason: "brief", Until: &until}
	for _, h := range []api.Hold{brief, {Scope: brief.Scope, Reason: "for good"}} {
		if _, err := r.admin.CreateHold(t.Context(), h); err != nil {
			t.Fatal(err)
		}
	}
	before, err := r.admin.ExportFleet(t.Context())
	if err != nil || !strings.Contains(string(before), "brief") {
		t.Fatalf("exported %s, %v", before, err)
	}
	within(t, func() bool {
		holds, err := r.admin.Holds(t.Context(), api.ListOptions{})
		return err == nil && len(holds.Items) == 1 && holds.Items[0].Reason == "for good"
	})
	for what, file := range map[string][]byte{"of before": before, "of now": slices.Clone(export(t, r))} {
		if plan, err := r.admin.ApplyFleet(t.Context(), file, api.ApplyOptions{}); err != nil || len(plan.Changes) > 0 {
			t.Errorf("the file %s changes %+v, %v", what, plan.Changes, err)
		}
	}
	if now := export(t, r); strings.Contains(string(now), "brief") {
		t.Errorf("it is exported still:\n%s", now)
	}
}

func export(t *testing.T, r *running) []byte {
	t.Helper()
	file, err := r.admin.ExportFleet(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return file
}
