package fleetfile_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/fleetfile"
)

var changeSigns = map[string]string{api.ChangeCreate: "+", api.ChangeUpdate: "~", api.ChangeDelete: "-"}

// show writes changes down, one line for each change and field.
func show(changes []api.FleetChange) string {
	if len(changes) == 0 {
		return "Nothing to change.\n"
	}
	var b strings.Builder
	count := map[string]int{}
	for _, c := range changes {
		count[c.Action]++
		fmt.Fprintf(&b, "%s %s %s\n", changeSigns[c.Action], c.Kind, c.Name)
		if c.Action == api.ChangeDelete {
			continue
		}
		for _, f := range c.Fields {
			switch {
			case f.Before == "":
				fmt.Fprintf(&b, "    %s: %s\n", f.Field, f.After)
			case f.After == "":
				fmt.Fprintf(&b, "    %s: %s → (not set)\n", f.Field, f.Before)
			default:
				fmt.Fprintf(&b, "    %s: %s → %s\n", f.Field, f.Before, f.After)
			}
		}
	}
	fmt.Fprintf(&b, "\n%d to create, %d to update, %d to delete.\n", count[api.ChangeCreate], count[api.ChangeUpdate], count[api.ChangeDelete])
	return b.String()
}

func TestDiffNamesEachField(t *testing.T) {
	f, problems := fleetfile.Parse([]byte(example))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	wanted := f.Fleet
	current := api.Fleet{
		Agents: []api.Agent{{Name: "falcon-agent", RunUser: "root", Keep: 3, Strategy: "careful", WorkDir: "/home/falcon/open-falcon", Revision: 7}, {Name: "old"}},
		Groups: []api.Group{{Name: "canary", Priority: 10, Selector: api.Selector{Prefixes: []string{"web-0"}, Labels: map[string]string{"role": "web", "zone": "a"}}}},
		Assignments: []api.Assignment{
			{Agent: "falcon-agent", Scope: api.Scope{Kind: api.ScopeEveryone}, Version: "1.9"},
			{Agent: "falcon-agent", Scope: api.Scope{Kind: api.ScopeGroup, Name: "canary"}, Version: "2.0", Cmd: "stop"},
			{Agent: "old", Scope: api.Scope{Kind: api.ScopeEveryone}, Version: "1"},
		},
		Strategies: wanted.Strategies, Holds: wanted.Holds,
	}
	changes := fleetfile.Diff(current, wanted, fleetfile.Options{})
	want := `~ group canary
    selector.prefixes: [web-0] → [web-0, 10]
    selector.labels.tier: "1"
    selector.labels.zone: "a" → (not set)
~ agent falcon-agent
    runUser: root → falcon
    keep: 3 → (not set)
~ assignment falcon-agent on everyone
    version: 1.9 → 1.10
- assignment old on everyone
- agent old

0 to create, 3 to update, 2 to delete.
`
	if diff := cmp.Diff(want, show(changes)); diff != "" {
		t.Fatal(diff)
	}
	if got := changes[1].After.Agent.Revision; got != 7 {
		t.Errorf("the change of an agent has revision %d; want that of the one it replaces, 7", got)
	}
	for _, c := range fleetfile.Diff(current, wanted, fleetfile.Options{Keep: true}) {
		if c.Action == api.ChangeDelete {
			t.Errorf("asked to keep what is there, but: %s %s", c.Action, c.Name)
		}
	}
	wanted.Agents, wanted.Assignments = nil, nil
	if got := fleetfile.Diff(current, wanted, fleetfile.Options{}); len(got) != 1 || got[0].Kind != "group" {
		t.Errorf("sections that are not in the file were changed: %v", got)
	}
}

func TestExportForPeople(t *testing.T) {
	f, _ := fleetfile.Parse([]byte(example))
	out := fleetfile.Export(f.Fleet)
	want := `agents:
  - name: falcon-agent
    runUser: falcon
    workDir: /home/falcon/open-falcon
    strategy: careful
strategies:
  - name: careful
    stages:
      - count: 1
        soak: 60
      - percent: 12.5
        group: canary
        window:
          from: "22:00"
          to: "06:00"
          zone: Europe/Berlin
      - percent: 100
        window:
          from: "22:00"
          to: "06:00"
          zone: Europe/Berlin
    onFailure: rollback
groups:
  - name: canary
    priority: 10
    selector:
      prefixes: [web-0, "10"]
      labels:
        role: web
        tier: "1"
assignments:
  - agent: falcon-agent
    scope: {kind: everyone}
    version: "1.10"
  - agent: falcon-agent
    scope: {kind: group, name: canary}
    version: "2.0"
    cmd: stop
holds:
  - scope: {kind: host, name: db-1}
    reason: replacing its disk
    until: 2026-12-31T17:00:00Z
`
	if diff := cmp.Diff(want, string(out)); diff != "" {
		t.Fatal(diff)
	}
}

var (
	anyName = rapid.StringMatching(`[A-Za-z0-9][A-Za-z0-9._+-]{0,8}`)
	anyText = rapid.OneOf(
		rapid.String(),
		rapid.SampledFrom([]string{"true", "Null", "~", "1.10", "0x1f", "1e3", "012", "1_0", "2026-01-01", " lead", "trail ", "a: b", "a #b", "- x", "? y", "*a", "&b", "!c", "|", ">", "'", `"`, "\\", "line\nline\n", "\ttab", "{", "[", "%d", "@x", "`", "\u0085", "\u2028", "\ufeff", "\x00", "\x7f", "日本", "😀", "<<", "...", "---", "a:", ":a", ".inf", ".nan", "=", "", "{a: b}", "a,b", "#"}),
	)
	anyTexts = rapid.SliceOfN(anyText.Filter(func(s string) bool { return s != "" }), 0, 3)
)

func subset[T any](t *rapid.T, from []T) *T {
	if len(from) == 0 || rapid.Bool().Draw(t, "none") {
		return nil
	}
	x := rapid.SampledFrom(from).Draw(t, "one")
	return &x
}

func nilIfEmpty[T any](s []T) []T {
	if len(s) == 0 {
		return nil
	}
	return s
}

// drawFleet is any fleet whose references hold together.
func drawFleet(t *rapid.T) api.Fleet {
	f := api.Fleet{Agents: []api.Agent{}, Strategies: []api.Strategy{}, Groups: []api.Group{}, Assignments: []api.Assignment{}, Holds: []api.Hold{}}
	names := func(label string) []string {
		return rapid.SliceOfNDistinct(anyName, 0, 4, rapid.ID).Draw(t, label)
	}
	groups, strategies, agents := names("groups"), names("strategies"), names("agents")
	for _, n := range groups {
		labels := rapid.MapOfN(anyText, anyText, 0, 2).Draw(t, "labels")
		if len(labels) == 0 {
			labels = nil
		}
		f.Groups = append(f.Groups, api.Group{
			Name: n, Description: anyText.Draw(t, "description"), Priority: rapid.IntRange(-5, 5).Draw(t, "priority"),
			Selector: api.Selector{Hosts: nilIfEmpty(anyTexts.Draw(t, "hosts")), Regexps: nilIfEmpty(anyTexts.Draw(t, "regexps")), Labels: labels},
		})
	}
	for _, n := range strategies {
		s := api.Strategy{Name: n, MaxFailedPct: rapid.Float64Range(0, 100).Draw(t, "pct"), OnFailure: rapid.SampledFrom([]string{"", "pause", "abort"}).Draw(t, "onFailure")}
		for range rapid.IntRange(1, 3).Draw(t, "stages") {
			stage := api.Stage{Name: anyText.Draw(t, "stage"), Percent: rapid.Float64Range(0.001, 100).Draw(t, "percent"), Approval: rapid.Bool().Draw(t, "approval")}
			if g := subset(t, groups); g != nil {
				stage.Group, stage.Window = *g, &api.Window{Days: []string{"mon"}, From: "01:00", To: "02:00"}
			}
			s.Stages = append(s.Stages, stage)
		}
		f.Strategies = append(f.Strategies, s)
	}
	for _, n := range agents {
		a := api.Agent{Name: n, Description: anyText.Draw(t, "description"), Keep: rapid.IntRange(0, 9).Draw(t, "keep")}
		if s := subset(t, strategies); s != nil {
			a.Strategy = *s
		}
		f.Agents = append(f.Agents, a)
		for _, scope := range drawScopes(t, groups) {
			f.Assignments = append(f.Assignments, api.Assignment{Agent: n, Scope: scope, Version: anyName.Draw(t, "version"), Cmd: rapid.SampledFrom([]string{"", "start", "stop"}).Draw(t, "cmd")})
		}
	}
	for range rapid.IntRange(0, 3).Draw(t, "holds") {
		h := api.Hold{Scope: api.Scope{Kind: api.ScopeHost, Name: anyName.Draw(t, "host")}, Reason: anyText.Draw(t, "reason") + "x"}
		if rapid.Bool().Draw(t, "until") {
			until := time.Unix(rapid.Int64Range(0, 1<<33).Draw(t, "time"), 0).UTC()
			h.Until = &until
		}
		f.Holds = append(f.Holds, h)
	}
	return f
}

func drawScopes(t *rapid.T, groups []string) []api.Scope {
	var scopes []api.Scope
	if rapid.Bool().Draw(t, "everyone") {
		scopes = append(scopes, api.Scope{Kind: api.ScopeEveryone})
	}
	if g := subset(t, groups); g != nil {
		scopes = append(scopes, api.Scope{Kind: api.ScopeGroup, Name: *g})
	}
	if rapid.Bool().Draw(t, "host") {
		scopes = append(scopes, api.Scope{Kind: api.ScopeHost, Name: anyName.Draw(t, "name")})
	}
	return scopes
}

func TestEveryFleetSurvivesExportAndParse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fleet := drawFleet(t)
		out := fleetfile.Export(fleet)
		f, problems := fleetfile.Parse(out)
		if len(problems) > 0 {
			t.Fatalf("%v\n%s", problems, out)
		}
		if diff := cmp.Diff(fleetfile.Sorted(fleet), f.Fleet); diff != "" {
			t.Fatalf("%s\n%s", diff, out)
		}
		if again := fleetfile.Export(f.Fleet); string(again) != string(out) {
			t.Fatalf("not stable:\n%s\n%s", out, again)
		}
		if changes := fleetfile.Diff(fleet, f.Fleet, fleetfile.Options{}); len(changes) != 0 {
			t.Fatalf("a fleet differs from itself:\n%s", show(changes))
		}
	})
}

// Applying a diff, change by change, makes one fleet the other, and nothing
// on the way refers to what is not there.
func TestDiffAppliedMakesOneFleetTheOther(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		current, wanted := drawFleet(t), drawFleet(t)
		m := newModel(current)
		for _, c := range fleetfile.Diff(current, wanted, fleetfile.Options{}) {
			if len(c.Fields) == 0 {
				t.Fatalf("a change of nothing: %+v", c)
			}
			m.apply(c)
			if err := m.dangling(); err != nil {
				t.Fatalf("after %s %s %s: %v", c.Action, c.Kind, c.Name, err)
			}
		}
		if diff := cmp.Diff(newModel(wanted), m, cmpopts.EquateEmpty(), cmp.AllowUnexported(model{})); diff != "" {
			t.Fatal(diff)
		}
	})
}

// model is a fleet as a database has it.
type model struct {
	agents      map[string]api.Agent
	strategies  map[string]api.Strategy
	groups      map[string]api.Group
	assignments map[string]api.Assignment
	holds       map[string]int // holds have no name: count the equal ones
}

func newModel(f api.Fleet) *model {
	m := &model{map[string]api.Agent{}, map[string]api.Strategy{}, map[string]api.Group{}, map[string]api.Assignment{}, map[string]int{}}
	for i := range f.Agents {
		m.set(&api.FleetObject{Agent: &f.Agents[i]}, 1)
	}
	for i := range f.Strategies {
		m.set(&api.FleetObject{Strategy: &f.Strategies[i]}, 1)
	}
	for i := range f.Groups {
		m.set(&api.FleetObject{Group: &f.Groups[i]}, 1)
	}
	for i := range f.Assignments {
		m.set(&api.FleetObject{Assignment: &f.Assignments[i]}, 1)
	}
	for i := range f.Holds {
		m.set(&api.FleetObject{Hold: &f.Holds[i]}, 1)
	}
	return m
}

func put1[T any](m map[string]T, key string, x T, n int) {
	if n < 0 {
		delete(m, key)
		return
	}
	m[key] = x
}

// set adds (1) or removes (-1) an object.
func (m *model) set(o *api.FleetObject, n int) {
	switch {
	case o == nil:
	case o.Agent != nil:
		put1(m.agents, o.Agent.Name, *o.Agent, n)
	case o.Strategy != nil:
		put1(m.strategies, o.Strategy.Name, *o.Strategy, n)
	case o.Group != nil:
		put1(m.groups, o.Group.Name, *o.Group, n)
	case o.Assignment != nil:
		put1(m.assignments, fmt.Sprint(o.Assignment.Agent, o.Assignment.Scope), *o.Assignment, n)
	case o.Hold != nil:
		key := fmt.Sprint(o.Hold.Scope, o.Hold.Reason, o.Hold.Until)
		if m.holds[key] += n; m.holds[key] == 0 {
			delete(m.holds, key)
		}
	}
}

func (m *model) apply(c api.FleetChange) {
	m.set(c.Before, -1)
	m.set(c.After, 1)
}

func (m *model) dangling() error {
	for _, a := range m.agents {
		if _, ok := m.strategies[a.Strategy]; a.Strategy != "" && !ok {
			return fmt.Errorf("agent %s has no strategy %s", a.Name, a.Strategy)
		}
	}
	for _, s := range m.strategies {
		for _, stage := range s.Stages {
			if _, ok := m.groups[stage.Group]; stage.Group != "" && !ok {
				return fmt.Errorf("strategy %s has no group %s", s.Name, stage.Group)
			}
		}
	}
	for _, a := range m.assignments {
		if _, ok := m.agents[a.Agent]; !ok {
			return fmt.Errorf("there is no agent %s to assign", a.Agent)
		}
		if _, ok := m.groups[a.Scope.Name]; a.Scope.Kind == api.ScopeGroup && !ok {
			return fmt.Errorf("there is no group %s to assign to", a.Scope.Name)
		}
	}
	return nil
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(example))
	f.Add([]byte("agents: &a [{<<: *a}]\n"))
	f.Add([]byte("? [a]\n: {b: !!str c}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, problems := fleetfile.Parse(data)
		if len(problems) > 0 {
			return
		}
		_ = file.Check(fleetfile.Known{})
		out := fleetfile.Export(file.Fleet)
		again, problems := fleetfile.Parse(out)
		if len(problems) > 0 {
			t.Fatalf("cannot read the export: %v\n%s", problems, out)
		}
		if changes := fleetfile.Diff(file.Fleet, again.Fleet, fleetfile.Options{}); len(changes) > 0 {
			t.Fatalf("the export differs:\n%s\n%s", show(changes), out)
		}
	})
}
