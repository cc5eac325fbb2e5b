package api_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/ops-updater/ops-updater/meta/api"
)

func TestWhatIsRefusedNamesItsField(t *testing.T) {
	stage := func(s api.Stage) api.Strategy { return api.Strategy{Name: "s", Stages: []api.Stage{s}} }
	selector := func(s api.Selector) api.Group { return api.Group{Name: "g", Selector: s} }
	window := func(w api.Window) api.Strategy { return stage(api.Stage{Percent: 100, Window: &w}) }
	assign := func(change func(*api.Assignment)) api.Assignment {
		a := api.Assignment{Agent: "a", Version: "1", Scope: api.Scope{Kind: api.ScopeEveryone}}
		change(&a)
		return a
	}
	cases := []struct {
		name   string
		object interface{ Validate() error }
		field  string // empty: valid
		reason string
	}{
		{"an agent", api.Agent{Name: "falcon-agent", RunUser: "falcon", WorkDir: "/home/falcon", ConfigRemoteURL: "http://x/y"}, "", ""},
		{"agent without a name", api.Agent{}, "name", "missing"},
		{"agent named like a path", api.Agent{Name: "../x"}, "name", "not allowed"},
		{"agent with a relative directory", api.Agent{Name: "a", WorkDir: "opt"}, "workDir", "absolute"},
		{"agent with a strange user", api.Agent{Name: "a", RunUser: "a b"}, "runUser", "not a user name"},
		{"agent whose config is its control script", api.Agent{Name: "a", ConfigFileName: "control"}, "configFileName", "control script"},
		{"agent with a config from a file", api.Agent{Name: "a", ConfigRemoteURL: "file:///etc/passwd"}, "configRemoteUrl", "http"},
		{"agent with a negative probation", api.Agent{Name: "a", Probation: -1}, "probation", "negative"},

		{"empty selector", selector(api.Selector{}), "selector.hosts", "match nothing"},
		{"regexp that does not compile", selector(api.Selector{Regexps: []string{"a", "("}}), "selector.regexps[1]", "missing closing"},
		{"glob that does not compile", selector(api.Selector{Globs: []string{"[a"}}), "selector.globs[0]", "syntax error"},
		{"network that is none", selector(api.Selector{CIDRs: []string{"10.0.0.0/99"}}), "selector.cidrs[0]", "network"},
		{"address and network", selector(api.Selector{CIDRs: []string{"10.0.0.1", "fe80::/10"}}), "", ""},
		{"empty prefix", selector(api.Selector{Prefixes: []string{""}}), "selector.prefixes[0]", "empty"},
		{"arch that is none", selector(api.Selector{Arches: []string{"amd64"}}), "selector.arches[0]", "linux_amd64"},
		{"endless regexp", selector(api.Selector{Regexps: []string{strings.Repeat("a", 2000)}}), "selector.regexps[0]", "longer"},

		{"assignment", assign(func(*api.Assignment) {}), "", ""},
		{"assignment without a version", assign(func(a *api.Assignment) { a.Version = "" }), "version", "missing"},
		{"assignment to an agent", assign(func(a *api.Assignment) { a.Scope = api.Scope{Kind: api.ScopeAgent, Name: "x"} }), "scope.kind", "holds only"},
		{"assignment to everyone by name", assign(func(a *api.Assignment) { a.Scope.Name = "x" }), "scope.name", "must be empty"},
		{"assignment to a group without a name", assign(func(a *api.Assignment) { a.Scope.Kind = api.ScopeGroup }), "scope.name", "missing"},
		{"assignment to nobody", assign(func(a *api.Assignment) { a.Scope.Kind = "" }), "scope.kind", "missing"},
		{"assignment with a strange cmd", assign(func(a *api.Assignment) { a.Cmd = "restart" }), "cmd", "not known"},

		{"hold", api.Hold{Scope: api.Scope{Kind: api.ScopeHost, Name: "h"}, Reason: "disk"}, "", ""},
		{"hold without a reason", api.Hold{Scope: api.Scope{Kind: api.ScopeHost, Name: "h"}, Reason: " "}, "reason", "missing"},
		{"hold of everyone", api.Hold{Scope: api.Scope{Kind: api.ScopeEveryone}, Reason: "x"}, "scope.kind", "not for holds"},

		{"strategy without stages", api.Strategy{Name: "s"}, "stages", "empty"},
		{"stage without a size", stage(api.Stage{}), "stages[0].percent", "exactly one"},
		{"stage with two sizes", stage(api.Stage{Count: 1, Percent: 1}), "stages[0].percent", "exactly one"},
		{"stage of more than all", stage(api.Stage{Percent: 101}), "stages[0].percent", "up to 100"},
		{"stage of no number", stage(api.Stage{Percent: math.NaN()}), "stages[0].percent", "up to 100"},
		{"window", window(api.Window{Days: []string{"mon"}, From: "22:00", To: "06:00", Zone: "Europe/Berlin"}), "", ""},
		{"window on no day", window(api.Window{Days: []string{"monday"}, From: "22:00", To: "06:00"}), "stages[0].window.days[0]", "mon, tue"},
		{"window in no zone", window(api.Window{From: "22:00", To: "06:00", Zone: "Mars/Base"}), "stages[0].window.zone", "Europe/Berlin"},
		{"window that never opens", window(api.Window{From: "22:00", To: "22:00"}), "stages[0].window.to", "never opens"},
		{"window with a bad time", window(api.Window{From: "25:00", To: "22:00"}), "stages[0].window.from", "09:00"},

		{"webhook", api.NotifyTarget{Name: "n", Kind: api.NotifyWebhook, URL: "https://x/hook"}, "", ""},
		{"webhook to a file", api.NotifyTarget{Name: "n", Kind: api.NotifyWebhook, URL: "file:///x"}, "url", "http"},
		{"mail to nobody", api.NotifyTarget{Name: "n", Kind: api.NotifyMail}, "addresses", "empty"},
		{"mail to a strange address", api.NotifyTarget{Name: "n", Kind: api.NotifyMail, Addresses: []string{"a@b.c\nBcc: x"}}, "addresses[0]", "not a mail address"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			err := c.object.Validate()
			if c.field == "" {
				if err != nil {
					t.Fatalf("refused: %v", err)
				}
				return
			}
			var e *api.Error
			if !errors.As(err, &e) || e.Kind != api.KindInvalid || e.Field != c.field || !strings.Contains(e.Message, c.reason) {
				t.Fatalf("got %#v; want field %s, message with %q", err, c.field, c.reason)
			}
		})
	}
}
