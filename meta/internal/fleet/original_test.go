package fleet_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/fleet"
)

// original is a report of one of the first sidecars, which speaks none of our
// additions.
func original(host string, agents ...meta.RealAgent) *meta.HeartbeatRequest {
	r := report(host, agents...)
	r.Protocol, r.Arch, r.RunUser = 0, "", "admin"
	return r
}

func at(version, user, dir string) meta.RealAgent {
	a := running("falcon", version)
	a.RunUser, a.WorkDir = user, dir
	return a
}

// An original sidecar takes an empty run user or directory for a change, stops
// the agent and deletes it. It is told what it reports.
func TestAnOriginalSidecarIsToldWhereItsAgentsAre(t *testing.T) {
	cases := []struct {
		name   string
		says   []meta.RealAgent
		change func(*api.Wanted)
		want   meta.DesiredAgent // version, cmd, run user, directory; without a name: nothing is told
	}{
		{"a new version", []meta.RealAgent{at("1.0", "falcon", "/home/falcon")}, nil, meta.DesiredAgent{Name: "falcon", Version: "2.0", Cmd: "start", RunUser: "falcon", WorkDir: "/home/falcon"}},
		{"as itself", []meta.RealAgent{at("1.0", "", "/home/falcon")}, nil, meta.DesiredAgent{Name: "falcon", Version: "2.0", Cmd: "start", RunUser: "admin", WorkDir: "/home/falcon"}},
		{"held", []meta.RealAgent{at("1.0", "falcon", "/home/falcon")}, func(w *api.Wanted) { w.Holds = []api.Hold{{Scope: everyone}} }, meta.DesiredAgent{Name: "falcon", Version: "1.0", Cmd: "start", RunUser: "falcon", WorkDir: "/home/falcon"}},
		{"held at what is not known", []meta.RealAgent{at("0.1", "falcon", "/home/falcon")}, func(w *api.Wanted) { w.Holds = []api.Hold{{Scope: everyone}} }, meta.DesiredAgent{Name: "falcon", RunUser: "falcon", WorkDir: "/home/falcon"}},
		{"not published", []meta.RealAgent{at("1.0", "falcon", "/home/falcon")}, func(w *api.Wanted) { w.Assignments[0].Version = "9.9" }, meta.DesiredAgent{Name: "falcon", Version: "1.0", Cmd: "start", RunUser: "falcon", WorkDir: "/home/falcon"}},
		{"what an operator says counts", []meta.RealAgent{at("1.0", "falcon", "/home/falcon")}, func(w *api.Wanted) { w.Agents[0].WorkDir = "/opt" }, meta.DesiredAgent{Name: "falcon", Version: "2.0", Cmd: "start", RunUser: "falcon", WorkDir: "/opt"}},
		{"not there, and nobody knows where", []meta.RealAgent{{Name: "other", Version: "1", Status: "started", WorkDir: "/opt"}}, nil, meta.DesiredAgent{}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := wanted()
			w.Agents, w.Assignments = []api.Agent{{Name: "falcon"}}, []api.Assignment{assign("falcon", everyone, "2.0")}
			if c.change != nil {
				c.change(&w)
			}
			f := newFleet(t, fleet.Options{}, w)
			got := told(t, beat(t, f, meta.DialectV1, original("web-01", c.says...)))["falcon"]
			got = meta.DesiredAgent{Name: got.Name, Version: got.Version, Cmd: got.Cmd, RunUser: got.RunUser, WorkDir: got.WorkDir}
			if got != c.want {
				t.Fatalf("told %+v, want %+v", got, c.want)
			}
			problem := f.Explain("web-01").Agents[0].Problem
			if told := c.want.Name != ""; !told && problem == "" {
				t.Error("nobody says why it is not told")
			}
			modern := report("web-02", c.says...)
			modern.Protocol = meta.Protocol
			if ours := told(t, beat(t, f, meta.DialectV1, modern))["falcon"]; c.name == "a new version" && (ours.RunUser != "" || ours.WorkDir != "") {
				t.Errorf("a host that knows what an empty place means is told %+v", ours)
			}
		})
	}
}

// An agent that shall run and is not reported at all is not as wanted.
func TestAnAgentThatIsNotThereIsNotAsWanted(t *testing.T) {
	w := wanted()
	w.Assignments = []api.Assignment{assign("falcon", everyone, "1.0")}
	f := newFleet(t, fleet.Options{}, w)
	beat(t, f, meta.DialectV1, report("without"))
	beat(t, f, meta.DialectV1, report("with", running("falcon", "1.0")))
	for _, q := range []api.HostQuery{{Drifted: true}, {Drifted: true, Agent: "falcon"}} {
		page, err := f.List(q)
		if err != nil || page.Total != 1 || page.Items[0].Name != "without" || !slices.Equal(page.Items[0].Missing, []string{"falcon"}) {
			t.Errorf("%+v: %+v, %v", q, page, err)
		}
	}
	if page, _ := f.List(api.HostQuery{Drifted: true, Agent: "other"}); page.Total != 0 {
		t.Errorf("%d hosts lack another agent", page.Total)
	}
	if o := f.Overview(); o.Drifted != 1 || len(o.Agents) != 1 || o.Agents[0].Drifted != 1 || o.Agents[0].Hosts != 1 {
		t.Errorf("overview is %+v", o)
	}
}

// A sidecar that keeps a pace of its own is silent by that pace, also after a
// restart of the server that knows nothing of it.
func TestSilenceGoesByAHostsOwnPace(t *testing.T) {
	steered := report("steered")
	steered.Protocol = 1
	for name, req := range map[string]*meta.HeartbeatRequest{"cannot be steered": original("h"), "does not follow": steered} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j := &journal{}
				options := fleet.Options{Journal: j, Interval: 5 * time.Second, SweepEvery: time.Second}
				f := newFleet(t, options, wanted())
				stop := start(t, f)
				for range 10 {
					beat(t, f, meta.DialectV1, req)
					<-time.After(time.Minute)
				}
				h, _ := f.Host(req.Hostname)
				if err := stop(); err != nil {
					t.Fatal(err)
				}
				want := 1 // first seen
				if req.Protocol > 0 {
					want = 3 // until it is clear that it does not follow, it is silent once
				}
				if got := j.kinds(); len(got) != want {
					t.Errorf("its timeline is %q", got)
				}
				for _, known := range []int{h.Pace, 0} {
					if known == 0 && req.Protocol > 0 {
						continue // it is taken at its word again
					}
					j = &journal{}
					options.Journal = j
					f = newFleet(t, options, wanted())
					h.Pace = known
					f.Restore(h)
					stop = start(t, f)
					for range 3 {
						<-time.After(time.Minute)
						beat(t, f, meta.DialectV1, req)
					}
					if got := j.kinds(); len(got) > 0 {
						t.Errorf("after a restart its timeline is %q", got)
					}
					<-time.After(4 * time.Minute)
					if got := j.kinds(); len(got) != 1 {
						t.Errorf("when it is gone its timeline is %q", got)
					}
					if err := stop(); err != nil {
						t.Fatal(err)
					}
				}
			})
		})
	}
}
