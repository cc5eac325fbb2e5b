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

const (
	md5a = "490ac172dabecc867289079d48e84a66"
	shaA = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
	base = "http://ops-meta.example:2002"
)

var (
	everyone = api.Scope{Kind: api.ScopeEveryone}
	canary   = api.Scope{Kind: api.ScopeGroup, Name: "canary"}
	web      = api.Scope{Kind: api.ScopeGroup, Name: "web"}
	host1    = api.Scope{Kind: api.ScopeHost, Name: "web-01"}
)

func release(agent, version string, arches ...string) api.Release {
	r := api.Release{Agent: agent, Version: version}
	for _, a := range arches {
		r.Artifacts = append(r.Artifacts, api.Artifact{Agent: agent, Version: version, Arch: a, MD5: md5a, SHA256: shaA, Size: 42})
	}
	return r
}

func assign(agent string, s api.Scope, version string) api.Assignment {
	return api.Assignment{Agent: agent, Scope: s, Version: version}
}

// wanted is a small configuration: one agent with three releases, two groups
// that both match web-01.
func wanted() api.Wanted {
	return api.Wanted{
		Serial: 7,
		Agents: []api.Agent{{Name: "falcon", RunUser: "falcon", WorkDir: "/home/falcon", ConfigFileName: "cfg.json", ConfigRemoteURL: "http://conf.example/cfg.json", Keep: 3}},
		Releases: []api.Release{
			release("falcon", "1.0", "linux_amd64", "linux_arm64"),
			release("falcon", "2.0", "linux_amd64"),
			release("falcon", "3.0", "linux_amd64"),
		},
		Groups: []api.Group{
			{Name: "web", Priority: 1, Selector: api.Selector{Prefixes: []string{"web-"}}},
			{Name: "canary", Priority: 5, Selector: api.Selector{Hosts: []string{"web-01"}}},
		},
	}
}

func newFleet(t *testing.T, opts fleet.Options, w api.Wanted) *fleet.Fleet {
	t.Helper()
	f := fleet.New(opts)
	f.UseSnapshot(fleet.Compile(fleet.Config{Wanted: w, PublicURL: base + "/"}, time.Now()))
	return f
}

func report(host string, agents ...meta.RealAgent) *meta.HeartbeatRequest {
	return &meta.HeartbeatRequest{Hostname: host, IP: "10.0.0.1", Arch: "linux_amd64", RealAgents: agents}
}

func running(name, version string) meta.RealAgent {
	return meta.RealAgent{Name: name, Version: version, Status: meta.StatusStarted, Phase: meta.PhaseIdle}
}

// beat sends a report the ordinary way.
func beat(t *testing.T, f *fleet.Fleet, d meta.Dialect, req *meta.HeartbeatRequest) *fleet.Reply {
	t.Helper()
	body, err := json.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	r, err := f.Report(context.Background(), fleet.Report{Beat: fleet.Beat{Dialect: d, Remote: "10.9.9.9", Body: body}, Request: req})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func told(t *testing.T, r *fleet.Reply) map[string]meta.DesiredAgent {
	t.Helper()
	var resp meta.HeartbeatResponse
	if err := json.Unmarshal(r.Body, &resp); err != nil {
		t.Fatalf("reply %s: %v", r.Body, err)
	}
	agents := make(map[string]meta.DesiredAgent)
	for _, a := range resp.DesiredAgents {
		if err := a.Validate(); err != nil {
			t.Errorf("a host would refuse %+v: %v", a, err)
		}
		agents[a.Name] = a
	}
	return agents
}

func TestTheNarrowestRuleWins(t *testing.T) {
	cases := []struct {
		name        string
		assignments []api.Assignment
		want        string // version; empty: not told
	}{
		{"nothing matches", []api.Assignment{assign("falcon", api.Scope{Kind: api.ScopeHost, Name: "other"}, "1.0")}, ""},
		{"everyone", []api.Assignment{assign("falcon", everyone, "1.0")}, "1.0"},
		{"group beats everyone", []api.Assignment{assign("falcon", everyone, "1.0"), assign("falcon", web, "2.0")}, "2.0"},
		{"higher priority beats lower", []api.Assignment{assign("falcon", web, "2.0"), assign("falcon", canary, "3.0")}, "3.0"},
		{"host beats groups", []api.Assignment{assign("falcon", host1, "1.0"), assign("falcon", canary, "3.0"), assign("falcon", everyone, "2.0")}, "1.0"},
		{"an assignment without version falls through", []api.Assignment{assign("falcon", host1, ""), assign("falcon", everyone, "2.0")}, "2.0"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := wanted()
			w.Assignments = c.assignments
			f := newFleet(t, fleet.Options{}, w)
			got := told(t, beat(t, f, meta.DialectV1, report("web-01")))["falcon"].Version
			if got != c.want {
				t.Fatalf("told %q; want %q", got, c.want)
			}
			e := f.Explain("web-01")
			if c.want == "" {
				if len(e.Agents) != 0 {
					t.Fatalf("explained %+v; want nothing", e.Agents)
				}
				return
			}
			if e.Agents[0].Version != c.want || len(e.Agents[0].Rules) != len(c.assignments) {
				t.Fatalf("explained %+v; want %s of %d rules", e.Agents[0], c.want, len(c.assignments))
			}
		})
	}
}

func TestGroupsOfOnePriorityGoByName(t *testing.T) {
	w := wanted()
	w.Groups[0].Priority, w.Groups[1].Priority = 3, 3
	w.Assignments = []api.Assignment{assign("falcon", web, "2.0"), assign("falcon", canary, "3.0")}
	f := newFleet(t, fleet.Options{}, w)
	if got := told(t, beat(t, f, meta.DialectV1, report("web-01")))["falcon"].Version; got != "3.0" {
		t.Fatalf("told %s; want canary's, which sorts first", got)
	}
}

func TestWhatAnAgentIsTold(t *testing.T) {
	full := api.Assignment{Agent: "falcon", Scope: everyone, Version: "1.0", RunUser: "nobody", Probation: 9}
	external := release("falcon", "1.0", "linux_amd64")
	external.Artifacts[0].External = "https://mirror.example/f/"
	signedHere, signedThere := release("falcon", "1.0", "linux_amd64"), release("falcon", "1.0", "linux_amd64")
	for _, r := range []api.Release{signedHere, signedThere} {
		r.Artifacts[0].External, r.Artifacts[0].Signature = "http://mirror.example/f", "untrusted comment: …"
	}
	signedThere.Artifacts[0].SignedElsewhere = true
	mixed := release("falcon", "1.0", "linux_amd64", "linux_arm64")
	mixed.Artifacts[0].External = external.Artifacts[0].External
	cases := []struct {
		name    string
		dialect meta.Dialect
		arch    string
		change  func(*api.Wanted)
		want    meta.DesiredAgent
	}{
		{
			"defaults and overrides", meta.DialectV1, "linux_amd64", nil,
			meta.DesiredAgent{
				Name: "falcon", Version: "1.0", Tarball: base + "/releases/falcon", MD5: md5a, SHA256: shaA, Size: 42, Cmd: "start",
				RunUser: "nobody", WorkDir: "/home/falcon", ConfigFileName: "cfg.json", ConfigRemoteURL: "http://conf.example/cfg.json", Probation: 9, Keep: 3,
			},
		},
		{
			"a host that does not tell its arch finds the digest beside the tarball", meta.DialectV1, "", nil,
			meta.DesiredAgent{
				Name: "falcon", Version: "1.0", Tarball: base + "/releases/falcon", MD5: base + "/releases/falcon", Cmd: "start",
				RunUser: "nobody", WorkDir: "/home/falcon", ConfigFileName: "cfg.json", ConfigRemoteURL: "http://conf.example/cfg.json", Probation: 9, Keep: 3,
			},
		},
		{
			"older dialect", meta.DialectLegacy, "", nil,
			meta.DesiredAgent{Name: "falcon", Version: "1.0", Tarball: base + "/releases/falcon/linux_amd64", MD5: base + "/releases/falcon/linux_amd64", Cmd: "start"},
		},
		{
			"older dialect, known arch", meta.DialectLegacy, "linux_arm64", nil,
			meta.DesiredAgent{Name: "falcon", Version: "1.0", Tarball: base + "/releases/falcon/linux_arm64", MD5: base + "/releases/falcon/linux_arm64", Cmd: "start"},
		},
		{
			"older dialect, hosted elsewhere", meta.DialectLegacy, "", func(w *api.Wanted) { w.Releases = []api.Release{external} },
			meta.DesiredAgent{Name: "falcon", Version: "1.0", Tarball: "https://mirror.example/f/linux_amd64", MD5: base + "/releases/falcon/linux_amd64", Cmd: "start"},
		},
		{
			"hosted elsewhere, arch not told: the .md5 that the oldest look for beside it is here", meta.DialectV1, "", func(w *api.Wanted) { w.Releases, w.Agents = []api.Release{external}, []api.Agent{{Name: "falcon"}} },
			meta.DesiredAgent{Name: "falcon", Version: "1.0", Tarball: base + "/releases/falcon", MD5: base + "/releases/falcon", Cmd: "start", RunUser: "nobody", Probation: 9},
		},
		{
			"the agent's mirrors", meta.DialectV1, "linux_amd64", func(w *api.Wanted) {
				w.Agents = []api.Agent{{Name: "falcon", Mirrors: []string{"http://m1.example/f", "https://bob:pw@m2.example/f"}}}
			},
			meta.DesiredAgent{
				Name: "falcon", Version: "1.0", Tarball: base + "/releases/falcon", MD5: md5a, SHA256: shaA, Size: 42, Cmd: "start", RunUser: "nobody", Probation: 9,
				Mirrors: meta.AddressesOf("http://m1.example/f", "https://bob:pw@m2.example/f"),
			},
		},
		{
			"the assignment's mirrors instead", meta.DialectV1, "linux_amd64", func(w *api.Wanted) {
				w.Agents = []api.Agent{{Name: "falcon", Mirrors: []string{"http://m1.example/f"}}}
				w.Assignments[0].Mirrors = []string{"http://site.example/f"}
			},
			meta.DesiredAgent{
				Name: "falcon", Version: "1.0", Tarball: base + "/releases/falcon", MD5: md5a, SHA256: shaA, Size: 42, Cmd: "start", RunUser: "nobody", Probation: 9,
				Mirrors: meta.AddressesOf("http://site.example/f"),
			},
		},
		{
			"older dialect knows no mirrors", meta.DialectLegacy, "", func(w *api.Wanted) {
				w.Agents = []api.Agent{{Name: "falcon", Mirrors: []string{"http://m1.example/f"}}}
			},
			meta.DesiredAgent{Name: "falcon", Version: "1.0", Tarball: base + "/releases/falcon/linux_amd64", MD5: base + "/releases/falcon/linux_amd64", Cmd: "start"},
		},
		{
			"hosted elsewhere, signed here", meta.DialectV1, "linux_amd64", func(w *api.Wanted) { w.Releases, w.Agents = []api.Release{signedHere}, []api.Agent{{Name: "falcon"}} },
			meta.DesiredAgent{Name: "falcon", Version: "1.0", Tarball: base + "/releases/falcon", MD5: md5a, SHA256: shaA, Size: 42, Cmd: "start", RunUser: "nobody", Probation: 9},
		},
		{
			"hosted and signed elsewhere", meta.DialectV1, "linux_amd64", func(w *api.Wanted) { w.Releases, w.Agents = []api.Release{signedThere}, []api.Agent{{Name: "falcon"}} },
			meta.DesiredAgent{Name: "falcon", Version: "1.0", Tarball: "http://mirror.example/f", MD5: md5a, SHA256: shaA, Size: 42, Cmd: "start", RunUser: "nobody", Probation: 9},
		},
		{
			"partly elsewhere, arch not told: all lead from here", meta.DialectV1, "", func(w *api.Wanted) { w.Releases, w.Agents = []api.Release{mixed}, []api.Agent{{Name: "falcon"}} },
			meta.DesiredAgent{Name: "falcon", Version: "1.0", Tarball: base + "/releases/falcon", MD5: base + "/releases/falcon", Cmd: "start", RunUser: "nobody", Probation: 9},
		},
		{
			"no artifact for the arch only reports", meta.DialectLegacy, "linux_386", nil,
			meta.DesiredAgent{Name: "falcon", Version: "1.0"},
		},
		{
			"an unknown release only reports", meta.DialectLegacy, "", func(w *api.Wanted) { w.Assignments[0].Version = "9.9" },
			meta.DesiredAgent{Name: "falcon", Version: "9.9"},
		},
		{
			"a stop needs no artifact", meta.DialectLegacy, "linux_386", func(w *api.Wanted) { w.Assignments[0].Cmd = "stop" },
			meta.DesiredAgent{Name: "falcon", Version: "1.0", Cmd: "stop"},
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := wanted()
			w.Assignments = []api.Assignment{full}
			if c.change != nil {
				c.change(&w)
			}
			f := newFleet(t, fleet.Options{}, w)
			req := report("web-01")
			req.Arch = c.arch
			got := told(t, beat(t, f, c.dialect, req))["falcon"]
			if got != c.want {
				t.Fatalf("told\n%+v; want\n%+v", got, c.want)
			}
			if reportsOnly := c.want.Cmd == ""; reportsOnly != (f.Explain("web-01").Agents[0].Problem != "") {
				t.Fatalf("explained as problem %q", f.Explain("web-01").Agents[0].Problem)
			}
		})
	}
}

func TestAHoldKeepsWhatIsThere(t *testing.T) {
	hold := api.Hold{ID: "h", Scope: host1, Reason: "black friday"}
	cases := []struct {
		name     string
		reported string
		cmd      string
		version  string // told
		told     string // cmd
	}{
		{"a known release goes on running", "1.0", "", "1.0", "start"},
		{"an unknown version is left alone", "0.1", "", "", ""},
		{"nothing installed stays so", "", "", "", ""},
		{"a stop is not carried out", "1.0", "stop", "", ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := wanted()
			w.Holds = []api.Hold{hold}
			w.Assignments = []api.Assignment{{Agent: "falcon", Scope: everyone, Version: "2.0", Cmd: c.cmd}}
			f := newFleet(t, fleet.Options{}, w)
			got := told(t, beat(t, f, meta.DialectV1, report("web-01", running("falcon", c.reported))))["falcon"]
			if got.Version != c.version || got.Cmd != c.told || got.ConfigRemoteURL != "" {
				t.Fatalf("told %+v; want %q %q without configuration", got, c.told, c.version)
			}
			if e := f.Explain("web-01").Agents[0]; e.Hold == nil || e.Hold.Reason != hold.Reason {
				t.Fatalf("explained %+v; want the hold", e)
			}
			if other := told(t, beat(t, f, meta.DialectV1, report("web-02", running("falcon", "1.0"))))["falcon"]; other.Version != "2.0" {
				t.Fatalf("a host that is not held was told %s", other.Version)
			}
		})
	}
}

func TestAHeldHostFollowsItsOwnVersion(t *testing.T) {
	w := wanted()
	w.Holds = []api.Hold{{Scope: api.Scope{Kind: api.ScopeAgent, Name: "falcon"}}}
	w.Assignments = []api.Assignment{assign("falcon", everyone, "3.0")}
	f := newFleet(t, fleet.Options{}, w)
	for _, v := range []string{"1.0", "2.0", "1.0"} {
		if got := told(t, beat(t, f, meta.DialectV1, report("web-01", running("falcon", v))))["falcon"].Version; got != v {
			t.Fatalf("told %s; want %s, which it runs", got, v)
		}
	}
}

func TestHoldsEnd(t *testing.T) {
	now := time.Now()
	end := now.Add(time.Hour)
	w := wanted()
	w.Holds = []api.Hold{{Scope: web, Until: &end}}
	w.Assignments = []api.Assignment{assign("falcon", everyone, "2.0")}
	f := fleet.New(fleet.Options{})
	for _, c := range []struct {
		at   time.Time
		want string
	}{{now, "1.0"}, {end, "2.0"}} {
		s := fleet.Compile(fleet.Config{Wanted: w, PublicURL: base}, c.at)
		f.UseSnapshot(s)
		if got := told(t, beat(t, f, meta.DialectV1, report("web-01", running("falcon", "1.0"))))["falcon"].Version; got != c.want {
			t.Fatalf("told %s; want %s", got, c.want)
		}
		if ends := c.want == "1.0"; ends != s.ValidUntil().Equal(end) {
			t.Fatalf("valid until %v", s.ValidUntil())
		}
	}
}

func TestABrokenStoredSelectorMatchesNothing(t *testing.T) {
	w := wanted()
	w.Groups[0].Selector = api.Selector{Regexps: []string{"("}}
	w.Assignments = []api.Assignment{assign("falcon", web, "1.0")}
	f := newFleet(t, fleet.Options{}, w)
	if got := told(t, beat(t, f, meta.DialectV1, report("web-01"))); len(got) != 0 {
		t.Fatalf("told %+v", got)
	}
	if p := f.Snapshot().Problems(); len(p) != 1 {
		t.Fatalf("problems %q; want the group", p)
	}
}

func TestETagIgnoresTheSerial(t *testing.T) {
	w := wanted()
	w.Assignments = []api.Assignment{assign("falcon", everyone, "1.0")}
	f := newFleet(t, fleet.Options{}, w)
	first := beat(t, f, meta.DialectV1, report("web-01"))
	w.Serial++
	f.UseSnapshot(fleet.Compile(fleet.Config{Wanted: w, PublicURL: base}, time.Now()))
	second := beat(t, f, meta.DialectV1, report("web-01"))
	if first.ETag != second.ETag || string(first.Body) == string(second.Body) {
		t.Fatalf("etags %s %s; want one, with the serial in the body", first.ETag, second.ETag)
	}
	w.Assignments[0].Version = "2.0"
	f.UseSnapshot(fleet.Compile(fleet.Config{Wanted: w, PublicURL: base}, time.Now()))
	if third := beat(t, f, meta.DialectV1, report("web-01")); third.ETag == first.ETag {
		t.Fatal("another version has the same etag")
	}
}

func TestWaitingHostsAreAskedToComeSooner(t *testing.T) {
	w := wanted()
	w.Assignments = []api.Assignment{assign("falcon", everyone, "1.0")}
	w.Rollouts = []api.Rollout{rollout("r1", "2.0", web, api.RolloutRunning, 0)}
	f := fleet.New(fleet.Options{})
	f.UseSnapshot(fleet.Compile(fleet.Config{Wanted: w, PublicURL: base, Interval: 300, WaitInterval: 20}, time.Now()))
	for host, want := range map[string]int{"web-01": 20, "db-01": 300} {
		var resp meta.HeartbeatResponse
		if err := json.Unmarshal(beat(t, f, meta.DialectV1, report(host)).Body, &resp); err != nil || resp.Interval != want {
			t.Errorf("%s: interval %d, %v; want %d", host, resp.Interval, err, want)
		}
	}
}
