package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/goccy/go-yaml"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
)

// overview is a fleet with something of everything in it.
var overview = api.Overview{
	Hosts: 3, Failing: 1, Drifted: 2, Agents: []api.AgentOverview{
		{Name: "probe", Hosts: 3, Failing: 1, Drifted: 2, Versions: map[string]int{"1.0": 1, "2.0": 2}, Statuses: map[string]int{"started": 3}},
		{Name: "länger-als-andere", Hosts: 1, Versions: map[string]int{"": 1}},
	},
}

func TestTheFormatsOfOneAnswer(t *testing.T) {
	atHome(t)
	f := serveRoutes(t, map[string]any{"GET /overview": overview})
	table := "3 hosts: 1 failing, 2 not yet as wanted, 0 silent, 0 with problems\n" +
		"\n" +
		"AGENT              HOSTS  FAILING  NOT AS WANTED  STATUS      VERSIONS\n" +
		"probe              3      1        2              started: 3  2.0: 2, 1.0: 1\n" +
		"länger-als-andere  1      0        0                          none: 1\n"
	if r := ops(t, f.at("status")...); r.code != 0 || r.out != table || r.err != "" {
		t.Errorf("got\n%s%s, want\n%s", r.out, r.err, table)
	}
	for format, decode := range map[string]func([]byte, any) error{
		"json": json.Unmarshal, "yaml": func(b []byte, v any) error { return yaml.UnmarshalWithOptions(b, v, yaml.UseJSONUnmarshaler()) },
	} {
		r := ops(t, f.at("status", "-o", format)...)
		var got api.Overview
		if err := decode([]byte(r.out), &got); err != nil || r.code != 0 || r.err != "" {
			t.Fatalf("%s: %v %+v", format, err, r)
		}
		if got.Hosts != 3 || len(got.Agents) != 2 || got.Agents[0].Versions["2.0"] != 2 || strings.Contains(r.out, "null") {
			t.Errorf("%s: %s", format, r.out)
		}
	}
}

// A program walks every list without looking for null first.
func TestListsOfNothing(t *testing.T) {
	atHome(t)
	f := serveRoutes(t, map[string]any{
		"GET /agents": pageOf[api.Agent](), "GET /groups": pageOf[api.Group](), "GET /strategies": pageOf[api.Strategy](), "GET /holds": pageOf[api.Hold](),
		"GET /tokens": pageOf[api.Token](), "GET /assignments": pageOf[api.Assignment](), "GET /hosts": pageOf[api.Host](), "GET /overview": api.Overview{},
		"GET /rollouts": pageOf[api.Rollout](), "GET /releases": pageOf[api.Release](), "GET /notifications/targets": pageOf[api.NotifyTarget](),
		"GET /audit": pageOf[api.AuditEntry](), "GET /channels": pageOf[api.Channel](), "GET /schedules": pageOf[api.Schedule](),
	})
	for _, line := range []string{"hosts", "group list", "strategy list", "hold list", "token list", "assign list", "rollout list", "notify list", "releases list", "audit", "agents list", "context list", "channel list", "schedule list"} {
		r := ops(t, f.at(append(strings.Fields(line), "-o", "json")...)...)
		var list struct{ Items []any }
		if err := json.Unmarshal([]byte(r.out), &list); err != nil || list.Items == nil || len(list.Items) > 0 || r.code != 0 {
			t.Errorf("%s: %+v", line, r)
		}
	}
}

// hostile is a host that writes to the terminals of others.
var hostile = api.Host{
	Name: "web-1", IP: "10.0.0.1\x1b]0;owned\a", Arch: "linux_amd64", Agents: []api.HostAgent{
		{Name: "probe", Version: "1.0", Wanted: "2.0", Status: "unknown: \x1b[2J\rall is well", Error: "line one\nweb-2  fine", Reason: "broken"},
	},
}

func TestWhatHostsWriteReachesNoTerminal(t *testing.T) {
	atHome(t)
	f := serveRoutes(t, map[string]any{"GET /hosts": pageOf(hostile), "GET /hosts/web-1": hostile, "GET /hosts/web-1/events": pageOf(api.Event{Kind: "error", Message: "\x1b[31mred\x1b[0m\b\b"})})
	for _, line := range []string{"hosts", "host web-1"} {
		for _, format := range []string{"table", "json", "yaml"} {
			r := ops(t, f.at(append(strings.Fields(line), "-o", format)...)...)
			if r.code != 0 || strings.ContainsAny(r.out, "\x1b\a\b\r") {
				t.Errorf("%s -o %s: %q", line, format, r.out)
			}
			if format == "table" && strings.Contains(r.out, "\nweb-2") {
				t.Errorf("%s: a host made a line of its own: %s", line, r.out)
			}
		}
	}
}

// onTTY runs a command on a terminal, and returns what was drawn.
func onTTY(t *testing.T, args ...string) string {
	t.Helper()
	outer, inner, err := pty.Open()
	if err != nil {
		t.Skip("NOT TESTED: there are no terminals here: ", err)
	}
	defer outer.Close()
	drawn := make(chan string)
	go func() {
		var all bytes.Buffer
		_, _ = all.ReadFrom(outer) // until the inner end is closed
		drawn <- all.String()
	}()
	code := run(t.Context(), args, streams{os.Stdin, inner, inner})
	_ = inner.Close()
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
	return strings.ReplaceAll(<-drawn, "\r\n", "\n")
}

func TestColoursAreForTerminals(t *testing.T) {
	atHome(t)
	f := serveRoutes(t, map[string]any{"GET /overview": overview, "GET /hosts": pageOf(hostile)})
	piped := ops(t, f.at("status")...).out
	for name, tc := range map[string]struct {
		noColor string
		args    []string
		want    bool
	}{
		"on a terminal":      {"", f.at("status"), true},
		"not wished by flag": {"", f.at("status", "--no-color"), false},
		"not wished at all":  {"1", f.at("status"), false},
		"for programs":       {"", f.at("status", "-o", "json"), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("NO_COLOR", tc.noColor)
			got := onTTY(t, tc.args...)
			if strings.Contains(got, "\x1b[") != tc.want {
				t.Errorf("drawn is %q", got)
			}
			if tc.want && !strings.Contains(got, string(red)+"1 failing"+string(normal)) {
				t.Errorf("what fails is not red: %q", got)
			}
			bare := got
			for _, s := range []style{red, green, yellow, bold, dim, normal} {
				bare = strings.ReplaceAll(bare, string(s), "")
			}
			if len(tc.args) < 5 && bare != piped {
				t.Errorf("but for its colours it differs from what is piped:\n%s\n%s", bare, piped)
			}
		})
	}
	t.Setenv("NO_COLOR", "")
	drawn := onTTY(t, f.at("hosts")...)
	for _, s := range []style{red, green, yellow, bold, dim, normal} {
		drawn = strings.ReplaceAll(drawn, string(s), "")
	}
	if strings.ContainsAny(drawn, "\x1b\a\r") {
		t.Errorf("a host reaches the terminal: %q", drawn)
	}
}

// Whatever forgets to make a text fit for a terminal is caught at the end.
func TestAScreenHasOnlyOurStyles(t *testing.T) {
	screen := string(red) + "no" + string(normal) + "\x1b[2J\x1b\x1b[1;31mx\u202e\t\r\n"
	if got, want := string(onlyStyles([]byte(screen), true)), string(red)+"no"+string(normal)+" [2J  [1;31mx\ufffd\t\n"; got != want {
		t.Errorf("on a terminal %q, want %q", got, want)
	}
	if got, want := string(onlyStyles([]byte(screen), false)), " [31mno [0m [2J  [1;31mx\ufffd\t\n"; got != want {
		t.Errorf("in a pipe %q, want %q", got, want)
	}
}

func TestCellsOfHosts(t *testing.T) {
	old := time.Now().Add(-3 * time.Hour)
	for name, tc := range map[string]struct {
		agent api.HostAgent
		want  []cell // version, wanted, status, phase, error
	}{
		"as wanted":   {api.HostAgent{Version: "1", Wanted: "1", Status: meta.StatusStarted}, []cell{{"1", ""}, {"1", ""}, {"started", green}, {"-", ""}, {"", red}}},
		"not wanted":  {api.HostAgent{Version: "1", Status: meta.StatusStopped}, []cell{{"1", ""}, {"-", ""}, {"stoped", ""}, {"-", ""}, {"", red}}},
		"drifted":     {api.HostAgent{Version: "1", Wanted: "2", Status: meta.StatusStarted}, []cell{{"1", yellow}, {"2", ""}, {"started", green}, {"-", ""}, {"", red}}},
		"not there":   {api.HostAgent{Wanted: "2"}, []cell{{"-", yellow}, {"2", ""}, {"", ""}, {"-", ""}, {"", red}}},
		"unknown":     {api.HostAgent{Version: "1", Status: "unknown: no script"}, []cell{{"1", ""}, {"-", ""}, {"unknown: no script", red}, {"-", ""}, {"", red}}},
		"held":        {api.HostAgent{Version: "1", Phase: meta.PhaseIdle, Held: true}, []cell{{"1", ""}, {"-", ""}, {"", ""}, {"held", ""}, {"", red}}},
		"with a code": {api.HostAgent{Version: "1", Phase: meta.PhaseFailed, Error: "no", Reason: "no-space"}, []cell{{"1", ""}, {"-", ""}, {"", ""}, {"failed", ""}, {"no (no-space)", red}}},
	} {
		if got := fmt.Sprintf("%q", agentCells(tc.agent)[1:]); got != fmt.Sprintf("%q", tc.want) {
			t.Errorf("%s: %s, want %q", name, got, tc.want)
		}
	}
	if got := seenCell(api.Host{LastSeen: old, Silent: true}); got != (cell{"3h ago", red}) {
		t.Errorf("a silent host: %q", got)
	}
}

func TestWordsForNoTimeAndCounts(t *testing.T) {
	if got := ago(time.Time{}); got != "never" {
		t.Errorf("no time at all is %s", got)
	}
	if got := countsText(map[string]int{"a": 1, "b": 3, "": 3, "c": 2}); got != "none: 3, b: 3, c: 2, a: 1" {
		t.Errorf("counted %s", got)
	}
}

func TestWordsForImpactAndStages(t *testing.T) {
	i := api.Impact{Hosts: 5, Changed: 2, From: map[string]int{"1.0": 2}, NoArtifact: map[string]int{"linux_arm64": 1}, Overruled: 1, Held: 1}
	if got, want := impactText(i), "5 hosts, 2 to be changed (from 1.0: 2), no artifact for linux_arm64: 1, 1 left as a narrower rule says, 1 held"; got != want {
		t.Errorf("got %s", got)
	}
	s := api.Strategy{Stages: []api.Stage{{Name: "canary", Count: 1, Soak: 90}, {Percent: 12.5, Group: "web"}, {Percent: 100}}}
	if got, want := stagesText(s), "canary (1, healthy for 1m30s) → 12.5 % of web → 100 %"; got != want {
		t.Errorf("got %s", got)
	}
}

func TestFileNamesAsAShellTakesThem(t *testing.T) {
	for name, want := range map[string]string{
		"a-1.0.tar.gz": "a-1.0.tar.gz", "dir/a b.tgz": "'dir/a b.tgz'", "it's": `'it'\''s'`, "$(x)": "'$(x)'", "käse": "käse",
	} {
		if got := shellWord(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}
