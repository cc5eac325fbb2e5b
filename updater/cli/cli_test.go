package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/local"
)

// result is how a command ended.
type result struct {
	code     int
	out, err string
}

// call runs a command line.
func call(t *testing.T, args ...string) result {
	t.Helper()
	var out, err bytes.Buffer
	code := Main(t.Context(), args, Stdio{In: strings.NewReader(""), Out: &out, Err: &err})
	return result{code, out.String(), err.String()}
}

// configured is a configuration that works, and its directory.
func configured(t *testing.T) (path, dir string) {
	t.Helper()
	dir = t.TempDir()
	path = filepath.Join(dir, "cfg.json")
	write(t, path, `{"server": "127.0.0.1:1", "hostname": "web-1"}`)
	return path, dir
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// sidecar is a running one behind its socket, which says what a test wants.
type sidecar struct {
	config string // path

	mu       sync.Mutex
	status   local.Status
	plan     local.Plan
	orders   []local.Order
	refuse   error
	beat     local.Heartbeat
	reloaded local.Reloaded
	output   string
}

func runSidecar(t *testing.T) *sidecar {
	t.Helper()
	path, dir := configured(t)
	varDir := filepath.Join(dir, "var")
	if err := os.Mkdir(varDir, 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := local.Listen(t.Context(), varDir)
	if err != nil {
		t.Fatal(err)
	}
	s := &sidecar{config: path}
	server := &http.Server{Handler: local.Socket(local.Daemon{
		Status: func(context.Context) local.Status { return s.status },
		Plan:   func(context.Context) (local.Plan, error) { return s.plan, s.refuse },
		Do: func(_ context.Context, o local.Order) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.orders = append(s.orders, o)
			return s.refuse
		},
		Reload: func(context.Context) (local.Reloaded, error) { return s.reloaded, s.refuse },
		Output: func(context.Context, string) (local.Output, error) { return local.Output{Text: s.output}, s.refuse },
		Beat:   func(context.Context) (local.Heartbeat, error) { return s.beat, s.refuse },
		Settle: func(context.Context) error { return nil },
	}), ReadHeaderTimeout: time.Minute}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() { _ = server.Close(); <-done })
	return s
}

// ask runs a command line of whoever means this sidecar.
func (s *sidecar) ask(t *testing.T, args ...string) result {
	t.Helper()
	return call(t, append(args, "-c", s.config)...)
}

func TestCommandLinesThatMakeNoSense(t *testing.T) {
	path, dir := configured(t)
	broken := filepath.Join(dir, "broken.json")
	write(t, broken, `{"server": "h:1", "intervall": 5}`)
	for line, want := range map[string]struct {
		code int
		err  string // parts, with … between them
	}{
		"statsu":               {2, `"statsu" is not a verb; did you mean status?…--help lists verbs and flags`},
		"zzzzzz":               {2, `"zzzzzz" is not a verb…--help lists verbs and flags`},
		"restart":              {2, `"restart" is not a verb…./control restart restarts the sidecar`},
		"UPGRADE":              {2, `"UPGRADE" is not a verb…ops-meta deploy`},
		"help statsu":          {2, `"statsu" is not a verb`},
		"statsu --json":        {2, `"statsu" is not a verb`},
		"status --jsno":        {2, "unknown flag: --jsno…--help lists"},
		"status now":           {2, `status takes no arguments, got "now"`},
		"hold":                 {2, "want the name of one agent, got 0 arguments"},
		"hold a b":             {2, "got 2 arguments"},
		"hold a --for 0":       {2, "it wants a time above 0"},
		"hold a --for soon":    {2, `"soon" is not a time such as 90s, 5m, 1h30m or 2d`},
		"hold ../x -c CFG":     {2, `"../x" is not an agent's name`},
		"logs a/b":             {2, "the name of one agent"},
		"new-agent a/b":        {2, `"a/b" is not a name for an agent…letters, digits`},
		"man":                  {2, "want the directory"},
		"status -c NONE":       {2, "NONE…copy cfg.example.json to NONE and set server, or name another file with -c"},
		"check -c BROKEN":      {1, `intervall…docs/CONFIG.md explains every key`},
		"status -c CFG":        {3, "nobody answers on…./control start, or name its configuration with -c"},
		"beat -c CFG":          {3, "nobody answers on"},
		"reload -c CFG":        {3, "nobody answers on"},
		"logs probe -c CFG":    {3, "nobody answers on"},
		"logs -c CFG":          {1, "cannot read the log"},
		"status -c BROKEN":     {1, "intervall"},
		"hold probe -c BROKEN": {1, "intervall"},
	} {
		t.Run(line, func(t *testing.T) {
			places := strings.NewReplacer("CFG", path, "NONE", filepath.Join(dir, "none.json"), "BROKEN", broken)
			r := call(t, strings.Fields(places.Replace(line))...)
			rest := r.err
			for part := range strings.SplitSeq(places.Replace(want.err), "…") {
				_, after, found := strings.Cut(rest, part)
				if !found {
					t.Fatalf("said %q, want %q", r.err, want.err)
				}
				rest = after
			}
			if r.code != want.code || r.out != "" {
				t.Errorf("got %+v, want exit code %d", r, want.code)
			}
		})
	}
}

func TestOtherWordsAreNoVerbs(t *testing.T) {
	seen := map[string]string{}
	for _, c := range newRoot(Stdio{}).Commands() {
		for _, name := range append([]string{c.Name()}, c.Aliases...) {
			if seen[name] != "" {
				t.Errorf("%s is both %s and %s", name, seen[name], c.Name())
			}
			seen[name] = c.Name()
			if otherWords[name] != "" {
				t.Errorf("%s is a verb, its hint is never shown", name)
			}
		}
	}
	for verb := range aliases {
		if seen[verb] != verb {
			t.Errorf("aliases are given for %s, which is no verb", verb)
		}
	}
}

func TestOrdersReachTheSidecar(t *testing.T) {
	t.Setenv("SUDO_USER", "ann")
	s := runSidecar(t)
	s.status.Agents = []meta.RealAgent{{Name: "probe"}}
	for line, want := range map[string]struct {
		order local.Order
		lasts time.Duration
		says  string
	}{
		"hold probe --reason debugging": {local.Order{Verb: local.VerbHold, Agent: "probe", Reason: "debugging", By: "ann"}, 0, "probe: held at the version it has\n"},
		"hold probe --for 2h":           {local.Order{Verb: local.VerbHold, Agent: "probe", By: "ann"}, 2 * time.Hour, "probe: held at the version it has\n"},
		"hold probe --for 90":           {local.Order{Verb: local.VerbHold, Agent: "probe", By: "ann"}, 90 * time.Second, "probe: held at the version it has\n"},
		"pin probe --for 3d":            {local.Order{Verb: local.VerbHold, Agent: "probe", By: "ann"}, 72 * time.Hour, "probe: held at the version it has\n"},
		"unhold probe":                  {local.Order{Verb: local.VerbUnhold, Agent: "probe", By: "ann"}, 0, "probe: follows the server again\n"},
		"undo probe --reason bad":       {local.Order{Verb: local.VerbRollback, Agent: "probe", Reason: "bad", By: "ann"}, 0, "probe: goes back to its previous version; ops-updater status shows how far it is\n"},
		"clear probe":                   {local.Order{Verb: local.VerbClear, Agent: "probe", By: "ann"}, 0, "probe: failures forgotten\n"},
	} {
		t.Run(line, func(t *testing.T) {
			s.orders = nil
			began := time.Now()
			if r := s.ask(t, strings.Fields(line)...); r.code != 0 || r.out != want.says || r.err != "" {
				t.Fatalf("%+v", r)
			}
			got := s.orders[0]
			if want.lasts > 0 && (got.Until.Before(began.Add(want.lasts-time.Second)) || got.Until.After(time.Now().Add(want.lasts))) || want.lasts == 0 && !got.Until.IsZero() {
				t.Errorf("it lasts until %s, want %s from now", got.Until, want.lasts)
			}
			if got.Until = (time.Time{}); got != want.order {
				t.Errorf("the sidecar got %+v", got)
			}
		})
	}
	if r := s.ask(t, "hold", "prboe"); r.code != 0 || !strings.Contains(r.err, "hint: this host has no agent prboe yet") {
		t.Errorf("a name that nobody knows: %+v", r)
	}
	s.refuse = errors.New("there is no previous version of probe")
	if r := s.ask(t, "rollback", "probe"); r.code != 1 || r.err != "ops-updater: there is no previous version of probe\n" || r.out != "" {
		t.Errorf("refused: %+v", r)
	}
}

func TestReload(t *testing.T) {
	s := runSidecar(t)
	if r := s.ask(t, "reload"); r.code != 0 || r.out != "configuration reloaded\n" || r.err != "" {
		t.Errorf("%+v", r)
	}
	s.reloaded.Restart = []string{"var_dir", "http"}
	if r := s.ask(t, "reload"); !strings.Contains(r.err, "hint: var_dir and http changed, which only counts after ./control restart") {
		t.Errorf("%+v", r)
	}
}

// Who broke the file can still ask the sidecar that runs on with the old one.
func TestASidecarWithABrokenConfiguration(t *testing.T) {
	s := runSidecar(t)
	write(t, s.config, `{"server": 3}`)
	if r := s.ask(t, "status"); r.code != 0 || !strings.HasPrefix(r.err, "warning: ") || !strings.Contains(r.err, "the sidecar runs on with what it read before") {
		t.Errorf("%+v", r)
	}
}

func TestBeatSaysWhatCameOfIt(t *testing.T) {
	s := runSidecar(t)
	s.beat = local.Heartbeat{Server: "http://meta", Dialect: meta.DialectV1, LastOK: time.Now(), Next: time.Now().Add(time.Hour)}
	if r := s.ask(t, "beat"); r.code != 0 || !strings.HasPrefix(r.out, "heartbeat ok: http://meta, v1 dialect, 0s ago, next in ") {
		t.Errorf("%+v", r)
	}
	s.beat.Failures, s.beat.Error = 2, "http://meta: connection refused"
	if r := s.ask(t, "beat"); r.code != 1 || !strings.Contains(r.out, "heartbeat failing (2 in a row, last answered 0s ago") || !strings.Contains(r.err, "no server answered the heartbeat, see above") {
		t.Errorf("%+v", r)
	}
	var told local.Heartbeat
	if r := s.ask(t, "beat", "--json"); json.Unmarshal([]byte(r.out), &told) != nil || told.Failures != 2 || r.code != 1 {
		t.Errorf("%+v", r)
	}
}

func TestPlan(t *testing.T) {
	s := runSidecar(t)
	if r := s.ask(t, "plan"); r.code != 0 || r.out != "no agent is wanted or known on this host\n" {
		t.Errorf("%+v", r)
	}
	s.plan.Steps = []local.Step{
		{Agent: "probe", Act: "upgrade", From: "1.0", To: "2.0", Reason: "2.0 is wanted"},
		{Agent: "disk", Act: "wait", Reason: "back-off\x1b[2J", Until: time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local)},
	}
	want := "AGENT  ACT      FROM  TO   WHY\n" +
		"probe  upgrade  1.0   2.0  2.0 is wanted\n" +
		"disk   wait     -     -    back-off [2J, until 2026-01-02 03:04:05\n"
	if r := s.ask(t, "plan"); r.out != want {
		t.Errorf("got\n%s, want\n%s", r.out, want)
	}
	if r := s.ask(t, "diff", "--json"); !strings.Contains(r.out, `"act": "upgrade"`) || strings.Contains(r.out, "\x1b") {
		t.Errorf("%+v", r)
	}
}

func TestExplain(t *testing.T) {
	s := runSidecar(t)
	if r := s.ask(t, "explain"); r.code != 0 || r.out != "no agent is wanted or known on this host\n" {
		t.Errorf("%+v", r)
	}
	until := time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local)
	s.status.Trust = &local.Trust{TrustReport: meta.TrustReport{Releases: meta.TrustRequire, Configs: meta.TrustOff, Desired: meta.TrustOff, Keys: []string{"K1"}}}
	s.plan.Steps = []local.Step{
		{
			Agent: "disk", Act: "wait", From: "1.0", To: "2.0", Reason: "2.0 is backed off: no signature\x1b[2J", Until: until,
			Wanted:   &local.Stand{Version: "2.0", State: "start", WorkDir: "/srv", RunUser: "ops", From: "http://x/disk"},
			There:    &local.Stand{Version: "1.0", State: "unknown: it hangs", WorkDir: "/opt", RunUser: "root", Key: "K0"},
			Refusals: []local.Refusal{{Code: "unsigned", Why: "no signature\x1b[2J", Next: "sign it"}, {Why: "held: x"}},
		},
		{Agent: "old", Act: "none", Reason: "orphaned", There: &local.Stand{Version: "1.0", State: "started", WorkDir: "/srv", RunUser: "ops", Key: "K1"}},
		{Agent: "probe", Act: "install", To: "2.0", Reason: "2.0 is wanted", Wanted: &local.Stand{Version: "2.0", State: "stop", WorkDir: "/srv", RunUser: "ops", From: "http://x/probe"}},
	}
	head := "trust: releases require, configs off (key K1); replies off (no key)\n\n"
	disk := "disk: wait until 2026-01-02 03:04:05, for what is refused below\n" +
		"  wanted: 2.0, start from http://x/disk in /srv as ops\n" +
		"  there: 1.0, unknown in /opt as root; verified by key K0, which does not count any more\n" +
		"  refused: no signature [2J [unsigned]\n" +
		"    next: sign it\n" +
		"  refused: held: x\n"
	rest := "\nold: none, orphaned\n  wanted: nothing: the server does not list it\n  there: 1.0, started in /srv as ops; verified by key K1\n" +
		"\nprobe: install, 2.0 is wanted\n  wanted: 2.0, stop in /srv as ops\n  there: nothing\n"
	if r := s.ask(t, "explain"); r.out != head+disk+rest {
		t.Errorf("got\n%s, want\n%s", r.out, head+disk+rest)
	}
	if r := s.ask(t, "why", "disk"); r.out != head+disk {
		t.Errorf("got\n%s, want\n%s", r.out, head+disk)
	}
	var told local.Plan
	if r := s.ask(t, "explain", "disk", "--json"); json.Unmarshal([]byte(r.out), &told) != nil || len(told.Steps) != 1 || len(told.Steps[0].Refusals) != 2 {
		t.Errorf("%+v", r)
	}
	if r := s.ask(t, "explain", "dsik"); r.code != 1 || !strings.Contains(r.err, "no agent dsik is wanted or known") || !strings.Contains(r.err, "hint: ops-updater explain, without a name") {
		t.Errorf("%+v", r)
	}
	if r := s.ask(t, "explain", "disk", "old"); r.code != 2 {
		t.Errorf("%+v", r)
	}
	s.plan.Steps = []local.Step{{Agent: "disk", Act: "wait", Reason: "as an older sidecar says it"}}
	if r := s.ask(t, "explain"); r.out != head+"disk: wait, as an older sidecar says it\n" {
		t.Errorf("%+v", r)
	}
}

func TestTheShellCompletes(t *testing.T) {
	words := strings.Split(call(t, "__complete", "").out, "\n")
	for _, verb := range []string{"status\t", "hold\t", "rollback\t", "logs\t", "new-agent\t"} {
		if !slices.ContainsFunc(words, func(w string) bool { return strings.HasPrefix(w, verb) }) {
			t.Errorf("%q is not offered: %q", verb, words)
		}
	}
	for _, word := range words {
		if strings.HasPrefix(word, "child") || strings.HasPrefix(word, "man\t") {
			t.Errorf("%q is offered, which is not for people", word)
		}
	}
	if r := call(t, "completion", "bash"); r.code != 0 || !strings.Contains(r.out, "__start_ops-updater") {
		t.Errorf("exit code %d: %.100s", r.code, r.out)
	}
}
