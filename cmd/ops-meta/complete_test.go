package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/ops-updater/ops-updater/meta/api"
)

// completed is what the shell is offered for a command line that ends with the
// word to complete.
func completed(t *testing.T, args ...string) []string {
	t.Helper()
	r := ops(t, append([]string{"__complete"}, args...)...)
	var words []string
	for line := range strings.Lines(r.out) {
		if line = strings.TrimSuffix(line, "\n"); !strings.HasPrefix(line, ":") {
			words = append(words, line)
		}
	}
	slices.Sort(words)
	return words
}

func TestTheShellCompletes(t *testing.T) {
	home := atHome(t)
	f := serveRoutes(t, map[string]any{
		"GET /agents":                pageOf(api.Agent{Name: "probe"}, api.Agent{Name: "proxy"}, api.Agent{Name: "disk"}),
		"GET /groups":                pageOf(api.Group{Name: "web"}),
		"GET /hosts":                 pageOf(api.Host{Name: "web-1"}, api.Host{Name: "web-2"}),
		"GET /releases":              pageOf(api.Release{Agent: "probe", Version: "1.0"}, api.Release{Agent: "probe", Version: "2.0"}),
		"GET /rollouts":              pageOf(api.Rollout{ID: "r1", Agent: "probe", Version: "2.0", State: api.RolloutPaused}),
		"GET /holds":                 pageOf(api.Hold{ID: "h1", Scope: api.Scope{Kind: api.ScopeHost, Name: "web-1"}, Reason: "debugging"}),
		"GET /tokens":                pageOf(api.Token{ID: "t1", Name: "ci"}),
		"GET /schedules":             pageOf(api.Schedule{Name: "prod"}),
		"GET /channels":              pageOf(api.Channel{Agent: "probe", Name: "stable"}),
		"GET /strategies":            pageOf(api.Strategy{Name: "slow"}),
		"GET /overview":              api.Overview{Arches: map[string]int{"linux_arm64": 1}},
		"GET /notifications/targets": pageOf(api.NotifyTarget{Name: "chat"}),
	})
	keep(t, home, `{"current":"prod","contexts":{"prod":{"server":"`+f.URL+`"},"staging":{"server":"x"}}}`)
	for line, want := range map[string]string{
		"deploy ":                     "disk probe proxy",
		"deploy pr":                   "probe proxy",
		"deploy probe ":               "1.0 2.0",
		"deploy probe 2.0 --group ":   "web",
		"deploy probe 2.0 --host web": "web-1 web-2",
		"deploy probe 2.0 --cmd ":     "start stop",
		"host ":                       "web-1 web-2",
		"explain web-2":               "web-2",
		"rollout show ":               "r1\tprobe 2.0 paused",
		"rollout hosts r1 --state ":   "already failed held inFlight noArtifact silent succeeded waiting",
		"hold remove ":                "h1\thost:web-1 debugging",
		"token remove ":               "ci",
		"strategy show ":              "slow",
		"schedule show ":              "prod",
		"schedule plan ":              "prod",
		"channel show probe ":         "stable",
		"notify test ":                "chat",
		"hosts --arch ":               "linux_arm64",
		"hosts --status ":             "started stoped unknown",
		"hosts -o ":                   "json table yaml",
		"token create x --role ":      "admin enroll operator viewer",
		"context use ":                "prod staging",
		"rollout ro":                  "rollback\tTake every host it reached back to the release before",
	} {
		words := strings.Split(line, " ")
		if got := strings.Join(completed(t, words...), " "); got != want {
			t.Errorf("%q: offered %q, want %q", line, got, want)
		}
	}
	if asked := f.requests; !slices.Contains(asked, "GET /releases?agent=probe&limit=1000") {
		t.Errorf("versions are not those of the agent: %q", asked)
	}
}

// A server that is away makes no prompt hang, and leaves no words on it.
func TestNothingIsCompletedWithoutAServer(t *testing.T) {
	atHome(t)
	f := serveRoutes(t, map[string]any{"GET /agents": api.Problem{Title: "No", Status: 401}})
	t.Setenv("OPS_META_SERVER", f.URL)
	r := ops(t, "__complete", "deploy", "")
	if r.code != 0 || r.out != ":4\n" || strings.Contains(r.err, "error") {
		t.Errorf("%+v", r)
	}
}

// What the usage of a command calls an argument is what is completed there.
func TestEveryArgumentIsKnownToCompletion(t *testing.T) {
	free := []string{"FILE", "URL", "SEARCH", "DIR", "ADDRESS", "COMMAND", "ARCHIVE"} // nobody can list these
	var all func(path []string)
	root := (&app{}).rootCommand()
	all = func(path []string) {
		c, _, _ := root.Find(path)
		for _, kind := range argKinds(c) {
			if listers[kind] == nil && !slices.Contains(free, kind) && c.ValidArgsFunction == nil && kind == strings.ToUpper(kind) && kind != "" {
				t.Errorf("%s: nothing completes %s", c.CommandPath(), kind)
			}
		}
		for _, sub := range c.Commands() {
			if sub.Name() != "completion" && sub.Name() != "help" {
				all(append(path, sub.Name()))
			}
		}
	}
	all(nil)
}
