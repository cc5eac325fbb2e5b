package cli

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater"
	"github.com/ops-updater/ops-updater/updater/local"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestStatusForPeople(t *testing.T) {
	s := local.Status{
		Version: "1.2", Hostname: "web-1", Pid: 42, Started: now.Add(-90 * time.Minute), ConfigError: "server is missing",
		Damaged:   []string{"journal of probe"},
		Heartbeat: local.Heartbeat{Server: "http://meta", Dialect: meta.DialectV1, LastOK: now.Add(-5 * time.Second), Next: now.Add(55 * time.Second), Refused: []meta.Rejected{{Name: "probe", Reason: "in its line"}, {Reason: "no name"}}},
		Agents: []meta.RealAgent{
			{Name: "probe", Version: "1.0", DesiredVersion: "2.0", Status: meta.StatusStarted, Phase: meta.PhaseDownloading, Progress: 0.42},
			{Name: "disk", Status: "unknown: no control script\x1b[1A", Version: "3.0", Held: true, HoldReason: "debugging", Error: "it failed"},
		},
	}
	want := "ops-updater 1.2 on web-1, pid 42, up 1h30m\n" +
		"heartbeat ok: http://meta, v1 dialect, 5s ago, next in 55s\n" +
		"configuration not reloaded, the old one stays: server is missing\n" +
		"damaged: journal of probe\n" +
		"refused of the last reply: -: no name\n" +
		"\n" +
		"AGENT  VERSION  WANTED  STATUS   PHASE            NOTE\n" +
		"probe  1.0      2.0     started  downloading 42%  \n" +
		"disk   3.0      -       unknown  -                held: debugging; it failed; status is unknown: no control script [1A\n"
	var out bytes.Buffer
	if err := writeStatus(&out, s, now); err != nil || out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
	out.Reset()
	if _ = writeStatus(&out, local.Status{}, now); !strings.Contains(out.String(), "no agent is wanted or known on this host") {
		t.Errorf("got %s", out.String())
	}
}

func TestStatusOfARunningSidecar(t *testing.T) {
	s := runSidecar(t)
	s.status = local.Status{Version: "1.2", Hostname: "web-1", Started: time.Now(), Agents: []meta.RealAgent{{Name: "probe", Version: "1.0", Error: "\u202egnp"}}}
	for _, verb := range []string{"status", "ps", "ls"} {
		if r := s.ask(t, verb); r.code != 0 || !strings.Contains(r.out, "probe  1.0") || strings.Contains(r.out, "\u202e") {
			t.Errorf("%s: %+v", verb, r)
		}
	}
	r := s.ask(t, "status", "--json")
	var told local.Status
	if err := json.Unmarshal([]byte(r.out), &told); err != nil || told.Agents[0].Error != "\u202egnp" || strings.Contains(r.out, "\u202e") {
		t.Errorf("%v %+v", err, r)
	}
}

func TestTheHeartbeatInWords(t *testing.T) {
	for name, tc := range map[string]struct {
		beat local.Heartbeat
		want string
	}{
		"at the start":   {local.Heartbeat{Next: now.Add(3 * time.Second)}, "heartbeat: the first one is due, next in 3s"},
		"under way":      {local.Heartbeat{Next: now}, "heartbeat: the first one is due, one is under way"},
		"answered":       {local.Heartbeat{Server: "s", Dialect: meta.DialectLegacy, LastOK: now.Add(-time.Hour), Next: now.Add(time.Minute)}, "heartbeat ok: s, legacy dialect, 1h ago, next in 1m"},
		"never answered": {local.Heartbeat{Failures: 3, Error: "refused", Next: now.Add(time.Minute)}, "heartbeat failing (3 in a row, never answered yet, next in 1m): refused"},
		"not any more":   {local.Heartbeat{Failures: 1, Error: "refused", LastOK: now.Add(-72 * time.Hour), Next: now}, "heartbeat failing (1 in a row, last answered 3d ago, one is under way): refused"},
	} {
		if got := heartbeatInWords(tc.beat, now); got != tc.want {
			t.Errorf("%s: %s, want %s", name, got, tc.want)
		}
	}
}

func TestTheNoteOfAnAgent(t *testing.T) {
	for name, tc := range map[string]struct {
		agent meta.RealAgent
		want  string
	}{
		"nothing":                   {meta.RealAgent{Version: "1", Status: meta.StatusStarted}, ""},
		"orphaned":                  {meta.RealAgent{Orphaned: true}, "orphaned: the server no longer lists it"},
		"unknown and said already":  {meta.RealAgent{Version: "1", Status: "unknown: no script", Error: "no script, see docs"}, "no script, see docs"},
		"unknown and not installed": {meta.RealAgent{Status: "unknown: nothing there"}, ""},
	} {
		if got := noteInWords(tc.agent); got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}

func TestProgressOfAPhase(t *testing.T) {
	for progress, want := range map[float64]string{0: "staging", 0.005: "staging 0%", 0.999: "staging 100%", 1: "staging"} {
		if got := phaseInWords(meta.RealAgent{Phase: meta.PhaseStaging, Progress: progress}); got != want {
			t.Errorf("%g: %q, want %q", progress, got, want)
		}
	}
}

// Where there is no terminal, only what is new is written.
func TestNewLinesOfAStatus(t *testing.T) {
	const head = "ops-updater 1 on h, pid 1, up 1s\nheartbeat ok\n\nAGENT  VERSION\n"
	for name, tc := range map[string]struct{ before, now, want string }{
		"at first":         {"", head + "a  1\n", head + "a  1\n"},
		"nothing new":      {head + "a  1\n", strings.Replace(head, "1s", "2s", 1) + "a  1\n", ""},
		"one line changed": {head + "a  1\nb  1\n", head + "a  1\nb  2\n", "b  2\n"},
		"one line came":    {head, head + "a  1\n", "a  1\n"},
	} {
		if got := newLines(tc.before, tc.now); got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}

func TestWhoIsBusy(t *testing.T) {
	for phase, want := range map[meta.Phase]bool{
		"": false, meta.PhaseIdle: false, meta.PhaseFailed: false, meta.PhaseRolledBack: false, meta.PhaseHeld: false,
		meta.PhaseDownloading: true, meta.PhaseStaging: true, meta.PhaseStopping: true, meta.PhaseStarting: true, meta.PhaseProbation: true, meta.PhaseRollingBack: true,
	} {
		if got := isBusy(local.Status{Agents: []meta.RealAgent{{}, {Phase: phase}}}); got != want {
			t.Errorf("%s: %v", phase, got)
		}
	}
}

func TestFindingsOfCheck(t *testing.T) {
	found := []updater.Finding{
		{Name: "config", Verdict: updater.VerdictOK, Detail: "cfg.json"},
		{Name: "clock", Verdict: updater.VerdictWarn, Detail: "an hour off", Mend: "set it"},
		{Name: "shell", Verdict: updater.VerdictFail, Detail: "none\x1b[m"},
	}
	var out bytes.Buffer
	want := "ok       config: cfg.json\nwarning  clock: an hour off\n         hint: set it\nerror    shell: none [m\n"
	if err := writeFindings(&out, found); err != nil || out.String() != want {
		t.Errorf("got\n%s, want\n%s", out.String(), want)
	}
	if r := reportOf(found); r.Ready || r.Errors != 1 || r.Warnings != 1 || len(r.Items) != 3 {
		t.Errorf("report %+v", r)
	}
	if r := reportOf(found[:2]); !r.Ready || r.Errors != 0 {
		t.Errorf("with a warning alone: %+v", r)
	}
}
