package fleetfile_test

import (
	"encoding/json"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/fleetfile"
)

func TestAFileTakesBackOnlyWhatWasThereBefore(t *testing.T) {
	doc := func(v any) json.RawMessage {
		if v == nil {
			return nil
		}
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	agent := func(user string) api.Agent { return api.Agent{Name: "demo", RunUser: user, WorkDir: "/opt"} }
	hold := func(id string) api.Hold {
		return api.Hold{ID: id, Scope: api.Scope{Kind: api.ScopeHost, Name: "db-1"}, Reason: "disk"}
	}
	plan := func(before, after []api.Agent) []api.FleetChange {
		return fleetfile.Diff(api.Fleet{Agents: before}, api.Fleet{Agents: after}, fleetfile.Options{})
	}
	for name, c := range map[string]struct {
		plan          []api.FleetChange
		kind          string
		before, after any
		undone        bool
	}{
		"a field as it was":            {plan([]api.Agent{agent("b")}, []api.Agent{agent("a")}), "agent", agent("a"), agent("b"), true},
		"a field as it never was":      {plan([]api.Agent{agent("b")}, []api.Agent{agent("c")}), "agent", agent("a"), agent("b"), false},
		"a field that was empty":       {plan([]api.Agent{agent("b")}, []api.Agent{agent("")}), "agent", agent(""), agent("b"), true},
		"a field that did not change":  {plan([]api.Agent{agent("b")}, []api.Agent{agent("a")}), "agent", agent("a"), agent("a"), false},
		"another thing of the kind":    {plan([]api.Agent{agent("b")}, []api.Agent{agent("a")}), "agent", api.Agent{Name: "x", RunUser: "a"}, api.Agent{Name: "x"}, false},
		"another kind":                 {plan([]api.Agent{agent("b")}, []api.Agent{agent("a")}), "group", agent("a"), agent("b"), false},
		"what was made since":          {plan([]api.Agent{agent("b")}, []api.Agent{}), "agent", nil, agent("b"), true},
		"what was only changed since":  {plan([]api.Agent{agent("b")}, []api.Agent{}), "agent", agent("a"), agent("b"), false},
		"what was removed since":       {plan(nil, []api.Agent{agent("a")}), "agent", agent("a"), nil, true},
		"what was made again since":    {plan([]api.Agent{agent("b")}, []api.Agent{agent("a")}), "agent", agent("a"), nil, true},
		"a hold that was set since":    {fleetfile.Diff(api.Fleet{Holds: []api.Hold{hold("h1")}}, api.Fleet{Holds: []api.Hold{}}, fleetfile.Options{}), "hold", nil, hold("h1"), true},
		"a hold that was lifted since": {fleetfile.Diff(api.Fleet{}, api.Fleet{Holds: []api.Hold{hold("")}}, fleetfile.Options{}), "hold", hold("h1"), nil, true},
		"nothing to change":            {nil, "agent", agent("a"), agent("b"), false},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, undone := fleetfile.FindUndone(c.plan, []api.AuditEntry{{Kind: c.kind, Before: doc(c.before), After: doc(c.after)}})
			if undone != c.undone {
				t.Errorf("taken back: %v, want %v", undone, c.undone)
			}
		})
	}
}

// The mark stays with a file, whatever it is written as.
func TestAFileBeginsWithItsMark(t *testing.T) {
	file := fleetfile.WithMark("era.7.sig", []byte("agents: []\n"))
	doc, err := yaml.YAMLToJSON(file)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		string(file):                          "era.7.sig",
		string(doc):                           "era.7.sig",
		`{"agents": [], "serial": "era.8.s"}`: "era.8.s",
		"":                                    "",
		"agents: []":                          "",
		"serial: era.9.s":                     "era.9.s",
		"# serial: era.9.s\nagents: []":       "",
	} {
		f, problems := fleetfile.Parse([]byte(text))
		if len(problems) > 0 || f.Mark != want {
			t.Errorf("%q: mark %+v, %v; want %q", text, f, problems, want)
		}
	}
	for _, text := range []string{"serial: [a]", "serial: 7", "serial: a\nserial: b", "agents: [{name: a, serial: x}]"} {
		if f, problems := fleetfile.Parse([]byte(text)); len(problems) == 0 {
			t.Errorf("%q is taken: %+v", text, f)
		}
	}
}
