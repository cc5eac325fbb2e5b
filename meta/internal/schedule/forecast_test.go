package schedule_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/rollout"
	"github.com/ops-updater/ops-updater/meta/internal/schedule"
)

const quick = 10 * time.Minute

// forecast runs a rollout of n hosts ahead of time; set changes each of them.
func forecast(st api.Strategy, n int, set func(int, *schedule.Host)) (schedule.Outcome, []schedule.Times) {
	r, _ := rollout.Create(api.Rollout{ID: "r", Agent: "web", Version: "1.1", Previous: "1.0", Salt: "salt", Strategy: st}, false, noon)
	f := schedule.NewForecast(r, quick, noon)
	crowds := make([]int, n)
	for i := range n {
		h := schedule.Host{Host: rollout.Host{Name: fmt.Sprintf("h%04d", i)}}
		if set != nil {
			set(i, &h)
		}
		crowds[i] = f.Add(h)
	}
	out := f.Run(context.Background(), noon.Add(api.PlanHorizon))
	times := make([]schedule.Times, n)
	for i, c := range crowds {
		times[i] = f.TimesOf(c)
	}
	return out, times
}

// What does not come to its end by itself says why, and where.
func TestWhatAForecastCannotSeeTheEndOf(t *testing.T) {
	all := api.Stage{Name: "all", Percent: 100}
	for _, c := range []struct {
		name  string
		st    api.Strategy
		hosts int
		set   func(int, *schedule.Host)
		want  string // reason
		says  string
	}{
		{"a window that never opens", api.Strategy{Stages: []api.Stage{{Percent: 100, Name: "all", Window: &api.Window{From: "10:00", To: "10:00", Days: []string{"xyz"}}}}}, 3, nil, "never", "stage all never comes to an end"},
		{"a rate that takes years", api.Strategy{Rate: &api.RateLimit{Hosts: 1, Period: 86400}, Stages: []api.Stage{all}}, 500, nil, "too-far", "not whole by 2027-05-01"},
		{"hosts that refuse it", api.Strategy{Stages: []api.Stage{all}}, 3, func(i int, h *schedule.Host) { h.Refuses = i == 1 }, "too-many-failures", "would be paused in stage all on 2026-03-27 12:10 UTC: 1 failed, at most 0 may"},
		{"hosts that refuse it, and all go back", api.Strategy{OnFailure: "rollback", Stages: []api.Stage{all}}, 3, func(i int, h *schedule.Host) { h.Refuses = i == 1 }, "too-many-failures", "would be rollingBack"},
		{"nobody but silent hosts", api.Strategy{Stages: []api.Stage{all}}, 3, func(_ int, h *schedule.Host) { h.Silent = true }, "no-evidence", "would be inconclusive"},
		{"nobody who can have it", api.Strategy{Stages: []api.Stage{all}}, 3, func(_ int, h *schedule.Host) { h.NoArtifact = true }, "no-artifact", "has no artifact for their arch"},
		{"refusals that are borne", api.Strategy{MaxFailed: 1, Stages: []api.Stage{all}}, 3, func(i int, h *schedule.Host) { h.Refuses = i == 1 }, "", ""},
		{"nobody at all", api.Strategy{Stages: []api.Stage{all}}, 0, nil, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, times := forecast(c.st, c.hosts, c.set)
			if out.Reason != c.want || !strings.Contains(out.Message, c.says) || (out.Ends == nil) != (c.want != "") {
				t.Errorf("ends %v for %q: %s", out.Ends, out.Reason, out.Message)
			}
			for i, h := range times {
				if h.State == "" || h.State == api.PlanHostNotReached && h.By != nil {
					t.Errorf("host %d: %+v", i, h)
				}
			}
		})
	}
}

// Fifty thousand hosts at one a minute, a few in flight, are forecast in moments.
func TestAForecastGoesByWhatHappensNotByHosts(t *testing.T) {
	start := time.Now()
	out, _ := forecast(api.Strategy{Rate: &api.RateLimit{Hosts: 1, Period: 60}, MaxInFlight: 20, Stages: []api.Stage{{Percent: 10}, {Percent: 100}}}, 50_000, nil)
	if out.Ends == nil || out.Ends.Sub(noon) < 49_999*time.Minute || out.Stages[0].Hosts+out.Stages[1].Hosts != 50_000 {
		t.Errorf("%+v", out)
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("it took %s", took)
	}
}

// A rollout under way is forecast from where it stands: what was granted is waited for.
func TestARolloutUnderWayIsForecastFromWhereItStands(t *testing.T) {
	st := api.Strategy{Stages: []api.Stage{{Name: "first", Percent: 50}, {Name: "all", Percent: 100}}}
	r, _ := rollout.Create(api.Rollout{ID: "r", Agent: "web", Version: "1.1", Salt: "salt", Strategy: st}, false, noon.Add(-time.Hour))
	r.Progress[0].Granted, r.Progress[0].Succeeded = 3, 1 // one of them is no longer known
	f := schedule.NewForecast(r, quick, noon)
	f.AddGranted(schedule.Host{Host: rollout.Host{Name: "a"}}, api.Grant{Rollout: "r", Host: "a", Granted: noon.Add(-4 * time.Minute)})
	rest := f.Add(schedule.Host{Host: rollout.Host{Name: lateHost("salt")}})
	out := f.Run(context.Background(), noon.Add(api.PlanHorizon))
	if begins := out.Stages[1].Begins; begins == nil || !begins.Equal(noon.Add(quick)) { // of whom nothing is known needs its whole time
		t.Errorf("the second stage begins %v", begins)
	}
	if h := f.TimesOf(rest); h.From == nil || !h.From.Equal(noon.Add(quick)) || !out.Ends.Equal(noon.Add(2*quick)) {
		t.Errorf("the rest: %+v, the end: %v", h, out.Ends)
	}
}

// lateHost is a host of the second half.
func lateHost(salt string) string {
	for i := 0; ; i++ {
		if name := fmt.Sprint("late", i); rollout.Share(salt, name) >= 50 {
			return name
		}
	}
}

func TestAForecastEndsWithWhoAskedForIt(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	r, _ := rollout.Create(api.Rollout{
		ID: "r", Agent: "web", Version: "1.1", Previous: "1.0", Salt: "salt", Strategy: api.Strategy{Stages: []api.Stage{{Percent: 100}}},
	}, false, noon)
	f := schedule.NewForecast(r, time.Minute, noon)
	f.Add(schedule.Host{Host: rollout.Host{Name: "h"}})
	cancel()
	if out := f.Run(ctx, noon.Add(api.PlanHorizon)); out.Ends != nil || out.Message != "who asked has gone" {
		t.Errorf("it went on: %+v", out)
	}
}
