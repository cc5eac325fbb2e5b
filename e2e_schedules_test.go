package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
)

// scheduleFile has three waves: the lab, half of all, all.
const scheduleFile = `groups:
  - name: lab
    selector: {hosts: [host01]}
strategies:
  - name: waves
    stages: [{name: lab, percent: 100, group: lab}, {name: half, percent: 50}, {name: all, percent: 100}]
channels:
  - {agent: demo, name: stable, version: 1.0.0}
schedules:
  - {name: production, channel: stable, strategy: waves}
`

// TestSchedules is releases that are published to a channel and go out by themselves,
// on real sidecars, while the server is killed about when they begin: each
// begins once, and goes the way that its plan has told before.
func TestSchedules(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("SKIPPED schedules of real sidecars: -short")
	}
	const hosts = 5
	f := newRealFleetOf(t, hosts, 1)
	f.publish("1.0.0", goodControl)
	f.meta(0, "deploy", "demo", "1.0.0", "--now")
	f.awaitVersions(map[string]int{"1.0.0": hosts})
	file := filepath.Join(f.dir, "schedules.yaml")
	f.must(os.WriteFile(file, []byte(scheduleFile), 0o644))
	f.meta(0, "apply", "-f", file)

	for i, after := range []time.Duration{-1, 0, 100 * time.Millisecond, 400 * time.Millisecond} {
		version := fmt.Sprintf("1.%d.0", i+1)
		t.Run(fmt.Sprintf("%s, and the server is killed after %s", version, after), func(t *testing.T) {
			f.t = t
			f.publish(version, goodControl)
			planned := f.planned(version, hosts)
			if got := f.rolloutsOf(version); len(got) != 0 {
				t.Fatalf("a plan began %+v", got)
			}
			f.meta(0, "channel", "set", "demo", "stable", version)
			if after >= 0 {
				time.Sleep(after)
				f.killServer()
				f.startServer()
				f.wantBothOrNeither(version)
			}
			f.awaitVersions(map[string]int{version: hosts})
			f.await("the end of its rollout", func() bool { return f.state().Reason == "up-to-date" })
			all := f.rolloutsOf(version)
			if len(all) != 1 || all[0].State != api.RolloutCompleted || all[0].Schedule != "production" {
				t.Fatalf("rollouts: %+v", all)
			}
			for _, g := range f.grants(all[0].ID) {
				if want := planned[g.Host]; want != all[0].Strategy.StageName(g.Stage) {
					t.Errorf("%s had it in wave %s, the plan had said %q", g.Host, all[0].Strategy.StageName(g.Stage), want)
				}
			}
		})
	}
}

// planned is which wave each host is in, before anything begins.
func (f *realFleet) planned(version string, hosts int) map[string]string {
	f.t.Helper()
	plan := read[struct {
		api.SchedulePlan
		Items []api.PlanHost `json:"items"`
	}](f, "schedule", "plan", "production", "--agent", "demo", "--version", version, "--hosts")
	waves := map[string]string{}
	for _, h := range plan.Items {
		if h.State != api.PlanHostChanges || h.From == nil || h.By == nil {
			f.t.Errorf("%+v would not change", h)
		}
		waves[h.Host] = h.Stage
	}
	if len(waves) != hosts || plan.Ends == nil || waves["host01"] != "lab" {
		f.t.Fatalf("the plan is %+v", plan)
	}
	return waves
}

func (f *realFleet) rolloutsOf(version string) []api.Rollout {
	f.t.Helper()
	all, err := f.client().Rollouts(f.t.Context(), api.ListOptions{Limit: api.MaxPage})
	f.must(err)
	return slices.DeleteFunc(all.Items, func(r api.Rollout) bool { return r.Version != version })
}

func (f *realFleet) state() api.ScheduleState {
	f.t.Helper()
	states, err := f.client().ScheduleStates(f.t.Context(), "production")
	f.must(err)
	if len(states.Items) != 1 {
		f.t.Fatalf("states: %+v", states)
	}
	return states.Items[0]
}

// wantBothOrNeither: what a killed server leaves is a rollout that the schedule knows it
// began, or none.
func (f *realFleet) wantBothOrNeither(version string) {
	f.t.Helper()
	begun := f.rolloutsOf(version) // before the state: it may begin in between
	st := f.state()
	took := st.Taken != nil && st.Taken.Version == version
	if len(begun) > 1 || len(begun) == 1 && (!took || st.Taken.Rollout != begun[0].ID) {
		f.t.Errorf("rollouts are %+v, and the schedule took %+v up", begun, st.Taken)
	}
	if begun = f.rolloutsOf(version); took && (len(begun) != 1 || begun[0].ID != st.Taken.Rollout) {
		f.t.Errorf("the schedule took %+v up, and rollouts are %+v", st.Taken, begun)
	}
}
