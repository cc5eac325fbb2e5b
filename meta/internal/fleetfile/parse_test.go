package fleetfile_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/fleetfile"
)

const example = `# The whole fleet.
agents:
  - name: falcon-agent
    runUser: falcon
    workDir: /home/falcon/open-falcon
    strategy: careful
strategies:
  - name: careful
    stages:
      - {count: 1, soak: 60}
      - percent: 12.5
        group: canary
        window: &night {from: "22:00", to: "06:00", zone: Europe/Berlin}
      - {percent: 100, window: *night}
    onFailure: rollback
groups:
  - name: canary
    priority: 10
    selector:
      prefixes: [web-0, 10]
      labels: {role: web, tier: 1}
assignments:
  - agent: falcon-agent
    scope: {kind: everyone}
    version: 1.10
  - agent: falcon-agent
    scope: {kind: group, name: canary}
    version: "2.0"
    cmd: stop
holds:
  - scope: {kind: host, name: db-1}
    reason: replacing its disk
    until: 2026-12-31T18:00:00+01:00
`

func TestParseReadsWhatPeopleWrite(t *testing.T) {
	f, problems := fleetfile.Parse([]byte(example))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	night := &api.Window{From: "22:00", To: "06:00", Zone: "Europe/Berlin"}
	until := time.Date(2026, 12, 31, 17, 0, 0, 0, time.UTC)
	want := api.Fleet{
		Agents: []api.Agent{{Name: "falcon-agent", RunUser: "falcon", WorkDir: "/home/falcon/open-falcon", Strategy: "careful"}},
		Strategies: []api.Strategy{{Name: "careful", OnFailure: "rollback", Stages: []api.Stage{
			{Count: 1, Soak: 60}, {Percent: 12.5, Group: "canary", Window: night}, {Percent: 100, Window: night},
		}}},
		Groups: []api.Group{{Name: "canary", Priority: 10, Selector: api.Selector{
			Prefixes: []string{"web-0", "10"}, Labels: map[string]string{"role": "web", "tier": "1"},
		}}},
		Assignments: []api.Assignment{
			{Agent: "falcon-agent", Scope: api.Scope{Kind: api.ScopeEveryone}, Version: "1.10"},
			{Agent: "falcon-agent", Scope: api.Scope{Kind: api.ScopeGroup, Name: "canary"}, Version: "2.0", Cmd: "stop"},
		},
		Holds: []api.Hold{{Scope: api.Scope{Kind: api.ScopeHost, Name: "db-1"}, Reason: "replacing its disk", Until: &until}},
	}
	if diff := cmp.Diff(want, f.Fleet); diff != "" {
		t.Fatal(diff)
	}
	if problems := f.Check(fleetfile.Known{Versions: map[string][]string{"falcon-agent": {"1.10", "2.0"}}}); len(problems) > 0 {
		t.Fatal(problems)
	}
}

func TestTheDocumentedExampleIsGood(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "FLEETFILE.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(doc), "```yaml\n")
	file, _, _ := strings.Cut(rest, "```")
	f, problems := fleetfile.Parse([]byte(file))
	if len(problems) == 0 {
		problems = f.Check(fleetfile.Known{})
	}
	if len(problems) > 0 || len(f.Fleet.Assignments) != 2 {
		t.Fatalf("%v\n%s", problems, file)
	}
}

func TestMergedFieldsAreOverridden(t *testing.T) {
	f, problems := fleetfile.Parse([]byte(`groups:
  - &base
    name: a
    priority: 5
    selector: {prefixes: [a], arches: [linux_amd64]}
  - <<: *base
    name: b
    selector: {prefixes: [b]}
`))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	want := []api.Group{
		{Name: "a", Priority: 5, Selector: api.Selector{Prefixes: []string{"a"}, Arches: []string{"linux_amd64"}}},
		{Name: "b", Priority: 5, Selector: api.Selector{Prefixes: []string{"b"}}},
	}
	if diff := cmp.Diff(want, f.Fleet.Groups); diff != "" {
		t.Fatal(diff)
	}
}

func TestLengthsOfTimeTakeUnits(t *testing.T) {
	f, problems := fleetfile.Parse([]byte(`agents:
  - {name: a, probation: 1m30s}
strategies:
  - name: s
    deadline: 15m
    rate: {hosts: 5, period: "1h"}
    stages: [{count: 1, soak: &soak 2d}, {percent: 50, soak: *soak}, {percent: 100, soak: 90}]
assignments:
  - {agent: a, scope: {kind: everyone}, version: 1, probation: 0}
`))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	const day = 24 * 60 * 60
	want := api.Fleet{
		Agents: []api.Agent{{Name: "a", Probation: 90}},
		Strategies: []api.Strategy{{
			Name: "s", Deadline: 900, Rate: &api.RateLimit{Hosts: 5, Period: 3600},
			Stages: []api.Stage{{Count: 1, Soak: 2 * day}, {Percent: 50, Soak: 2 * day}, {Percent: 100, Soak: 90}},
		}},
		Assignments: []api.Assignment{{Agent: "a", Scope: api.Scope{Kind: api.ScopeEveryone}, Version: "1"}},
	}
	if diff := cmp.Diff(want, f.Fleet); diff != "" {
		t.Fatal(diff)
	}
}

func TestProblemsSayWhereAndWhat(t *testing.T) {
	known := fleetfile.Known{
		Fleet: api.Fleet{
			Agents:      []api.Agent{{Name: "falcon-agent"}, {Name: "other"}},
			Strategies:  []api.Strategy{{Name: "careful", Stages: []api.Stage{{Percent: 100}}}},
			Groups:      []api.Group{{Name: "canary", Selector: api.Selector{Prefixes: []string{"x"}}}},
			Assignments: []api.Assignment{{Agent: "other", Scope: api.Scope{Kind: api.ScopeEveryone}, Version: "1"}},
		},
		Versions: map[string][]string{"falcon-agent": {"5.1.2", "5.1.3"}},
	}
	cases := []struct {
		name, file string
		want       []string
	}{
		{"a typo in a section", "agents: []\nasignments: []\n", []string{`2:1: unknown field "asignments": did you mean "assignments"?`}},
		{
			"a typo in a field, and everything else that is wrong",
			"groups:\n  - name: g\n    selector:\n      prefxes: [a]\n  - nam: h\n    priority: high\n",
			[]string{
				`4:7: unknown field "prefxes" in groups[0].selector: did you mean "prefixes"?`,
				`5:5: unknown field "nam" in groups[1]: did you mean "name"?`,
				`6:15: priority must be a whole number, not "high"`,
			},
		},
		{"a name in other case", "agents:\n  - Name: a\n", []string{`2:5: unknown field "Name" in agents[0]: did you mean "name"?`}},
		{"nothing like it", "zzzzzzzzz: 1\n", []string{`1:1: unknown field "zzzzzzzzz": known are agents, assignments, channels, groups, holds, schedules, strategies`}},
		{"a column after characters of several bytes", "agents: [{name: äöü, runuser: x}]\n", []string{`1:22: unknown field "runuser" in agents[0]: did you mean "runUser"?`}},
		{"a list that is none", "agents: falcon\n", []string{`1:9: agents must be a list, not "falcon": begin each entry with a dash, or write [a, b]`}},
		{"a mapping that is none", "groups:\n  - name: g\n    selector: [a]\n", []string{`3:15: selector must be a mapping, not a list: write fields as name: value`}},
		{"an entry that is none", "agents:\n  - falcon\n", []string{`2:5: each entry of agents must be a mapping, not "falcon": write fields as name: value`}},
		{"a fraction where whole numbers belong", "agents: [{name: a, keep: 1.5}]\n", []string{`1:26: keep must be a whole number, not "1.5"`}},
		{"a length of time that is none", "agents: [{name: a, probation: soon}]\n", []string{`1:31: probation must be a length of time, not "soon": write it as 90s, 5m, 1h30m or 2d, or as a whole number of seconds`}},
		{"a length of time in part of a second", "strategies: [{name: s, deadline: 1500ms}]\n", []string{`1:34: deadline must be a length of time, not "1500ms": write it as 90s, 5m, 1h30m or 2d, or as a whole number of seconds`}},
		{"a length of time below none", "strategies: [{name: s, stages: [{percent: 100, soak: -5}]}]\n", []string{`1:48: stages[0].soak: must not be negative: got -5`}},
		{"a unit where a number belongs", "agents: [{name: a, keep: 5m}]\n", []string{`1:26: keep must be a whole number, not "5m"`}},
		{"true that is quoted", "strategies:\n  - name: s\n    stages: [{percent: 1, approval: \"true\"}]\n", []string{`3:37: approval must be true or false, not the quoted text "true"`}},
		{"no number", "strategies: [{name: s, stages: [{percent: .nan}]}]\n", []string{`1:43: percent must be a number, not ".nan"`}},
		{"a time that is none", "holds: [{scope: {kind: host, name: h}, reason: r, until: tomorrow}]\n", []string{`1:58: until must be a time, not "tomorrow": write it as 2026-01-31T18:00:00Z`}},
		{"text that is a list", "agents: [{name: [a]}]\n", []string{`1:17: name must be text, not a list`}},
		{"a section without a value", "agents:\n", []string{`1:1: agents has no value: write agents: [] to say that there are none, or remove the line to leave them alone`}},
		{"an entry without a value", "agents:\n  -\n", []string{`2:5: the entry is empty`}},
		{"not YAML", "agents: [\n", []string{`1:9: sequence end token ']' not found`}},
		{"a tab", "\tagents: []", []string{`1:7: tab character cannot use as a map key directly`}},
		{"a key twice", "agents: []\nagents: []\n", []string{`2:1: mapping key "agents" already defined at [1:1]`}},
		{"two documents", "agents: []\n---\ngroups: []\n", []string{`3:1: a fleet file is one document, but a second one begins here: remove the line --- and what is a document of its own`}},
		{"an alias to nothing", "agents: *all\n", []string{`1:9: there is no anchor &all before this`}},
		{"an alias in itself", "agents: [&a {<<: *a, name: other}]\n", []string{`1:18: the alias *a contains itself`}},
		{"a tag", "agents: !!binary x\n", []string{`1:9: tags such as !!binary are not used here`}},

		{"rules of an object", "agents: [{name: other, workDir: opt}]\n", []string{`1:24: workDir: "opt" is not allowed: want an absolute, clean path such as /opt/agents`}},
		{"a regexp that does not compile", "groups:\n  - name: g\n    selector:\n      regexps: [ok, '(']\n", []string{"4:21: selector.regexps[1]: \"(\": error parsing regexp: missing closing ): `(`"}},
		{"a required field that is missing", "strategies:\n  - stages: [{percent: 1}]\n", []string{`2:5: name: is missing`}},
		{"a window in no zone", "strategies:\n  - name: s\n    stages: [{percent: 100}]\n    window: {from: '01:00', to: '02:00', zone: Europe/Berln}\n", []string{`4:42: window.zone: "Europe/Berln" is not a time zone: want a name such as Europe/Berlin, or UTC`}},
		{"the same name twice", "groups:\n  - {name: g, selector: {hosts: [a]}}\n  - {name: g, selector: {hosts: [b]}}\n", []string{`3:5: group g is there twice: the first one is on line 2`}},
		{
			"the same assignment twice",
			"assignments:\n  - {agent: falcon-agent, scope: {kind: everyone}, version: 5.1.3}\n  - {agent: falcon-agent, scope: {kind: everyone}, version: 5.1.2}\n",
			[]string{`3:5: assignment of falcon-agent on everyone is there twice: the first one is on line 2`},
		},
		{
			"an unknown agent, group and version",
			"assignments:\n  - {agent: falcon-agnet, scope: {kind: everyone}, version: 5.1.3}\n  - {agent: falcon-agent, scope: {kind: group, name: canry}, version: 5.1.4}\n",
			[]string{
				`2:6: there is no agent "falcon-agnet": did you mean "falcon-agent"?`,
				`3:48: there is no group "canry": did you mean "canary"?`,
				`3:62: falcon-agent has no release "5.1.4": did you mean "5.1.2"?`,
			},
		},
		{"a version of an agent without releases", "assignments: [{agent: other, scope: {kind: everyone}, version: 1}]\n", []string{`1:55: other has no release "1": publish it first: ops-meta publish`}},
		{"an unknown strategy", "agents: [{name: other, strategy: carful}]\n", []string{`1:24: there is no strategy "carful": did you mean "careful"?`}},
		{"an unknown group of a stage", "strategies: [{name: careful, stages: [{percent: 10, group: canari}, {percent: 100}]}]\n", []string{`1:53: there is no group "canari": did you mean "canary"?`}},
		{"an unknown group of a hold", "holds: [{scope: {kind: group, name: x-x-x-x}, reason: r}]\n", []string{`1:31: there is no group "x-x-x-x": known are canary`}},
		{"something removed that is still used", "agents: [{name: falcon-agent}]\n", []string{`1:1: agent "other" is still used by assignments[0].agent, which this file does not change: keep it, or give assignments without it too`}},
		{"an empty file says nothing", "# nothing\n", nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			f, problems := fleetfile.Parse([]byte(c.file))
			if len(problems) == 0 {
				problems = f.Check(known)
			}
			var got []string
			for _, p := range problems {
				got = append(got, p.String())
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Fatal(diff)
			}
		})
	}
}

func TestParseIsBounded(t *testing.T) {
	var bomb strings.Builder
	bomb.WriteString("holds:\n  - labels0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	cases := map[string]string{
		"open brackets":    strings.Repeat("[", 1_000_000),
		"nested dashes":    strings.Repeat("- ", 1_000_000),
		"nested questions": strings.Repeat("? ", 1_000_000),
		"too large":        strings.Repeat("#", fleetfile.MaxSize+1),
		"billion laughs":   "agents: [&a {name: x}]\n" + laughs(),
	}
	for name, file := range cases {
		t.Run(name, func(t *testing.T) {
			done := make(chan []api.FileProblem, 1)
			go func() {
				_, problems := fleetfile.Parse([]byte(file))
				done <- problems
			}()
			select {
			case problems := <-done:
				if len(problems) == 0 {
					t.Fatal("was accepted")
				}
			case <-time.After(time.Minute):
				t.Fatal("took more than a minute")
			}
		})
	}
}

// laughs is a file whose aliases multiply to 10⁹ strings.
func laughs() string {
	var b strings.Builder
	b.WriteString("groups:\n  - name: g\n    selector:\n      hosts: &l0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := range 9 {
		b.WriteString("      globs: &l" + string(rune('1'+i)) + " [")
		b.WriteString(strings.Repeat("*l"+string(rune('0'+i))+", ", 10))
		b.WriteString("]\n")
	}
	return b.String()
}
