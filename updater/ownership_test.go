package updater_test

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/internal/agenttest"
	"github.com/ops-updater/ops-updater/updater/plan"
)

// secondOn is another sidecar, with a var directory and a server of its own,
// on the work directory of first.
func secondOn(t *testing.T, first *sidecar) *sidecar {
	t.Helper()
	s := newSidecar(t)
	s.origin = first.origin
	s.configure(map[string]any{"work_dir": filepath.Join(first.dir, "work")})
	return s
}

// configure sets keys of the configuration.
func (s *sidecar) configure(keys map[string]any) {
	s.t.Helper()
	path := filepath.Join(s.dir, "cfg.json")
	data, err := os.ReadFile(path)
	must(s.t, err)
	var cfg map[string]any
	must(s.t, json.Unmarshal(data, &cfg))
	maps.Copy(cfg, keys)
	data, err = json.Marshal(cfg)
	must(s.t, err)
	agenttest.Write(s.t, path, string(data), 0o644)
}

// verb runs the program beside, or without, the daemon.
func (s *sidecar) verb(args ...string) (string, error) {
	s.t.Helper()
	binary, err := faultyBinary()
	must(s.t, err)
	cmd := exec.Command(binary, append(args, "-c", filepath.Join(s.dir, "cfg.json"))...)
	cmd.Dir = s.dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestI3ASecondSidecarOnOneWorkDirectoryStepsBackUntilTheFirstIsGone(t *testing.T) {
	t.Parallel()
	first := newSidecar(t)
	second := secondOn(t, first)
	v1 := first.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{})
	v2 := first.origin.publish(t, "falcon", "1.0.1", agenttest.Habits{})
	first.server.want(v1)
	first.start("")
	first.awaitReport("1.0.0", meta.PhaseIdle)
	second.server.want(v2)
	second.start("")
	second.await("it steps back", func() bool { return second.server.last("falcon").Reason == plan.CodeOwned })
	var owner struct {
		Process struct{ Pid int }
		VarDir  string
	}
	data, err := os.ReadFile(filepath.Join(first.dir, "work/falcon/.owner"))
	must(t, err)
	must(t, json.Unmarshal(data, &owner))
	a := second.server.last("falcon")
	if owner.Process.Pid != first.cmd.Process.Pid || !strings.Contains(a.Error, owner.VarDir) || !a.Held || a.Version != "1.0.0" || a.Status != meta.StatusStarted {
		t.Errorf("owner %+v; the second reports %+v", owner, a)
	}
	if out, err := second.verb("plan"); err != nil || !strings.Contains(out, "looked after by the ops-updater with pid") {
		t.Errorf("plan of the second: %v, %s", err, out)
	}
	beats := second.server.count()
	second.await("it has looked again", func() bool { return second.server.count() > beats+2 })
	if events := noted(t, filepath.Join(first.dir, "work/falcon"), 1); len(events) != 1 {
		t.Errorf("the second one touched the agent: %+v", events)
	}
	must(t, first.cmd.Process.Kill())
	<-first.ended
	first.cmd = nil
	second.awaitReport("1.0.1", meta.PhaseIdle)
	// The first one, started again, is the second now.
	first.start("")
	first.await("it steps back", func() bool { return first.server.last("falcon").Reason == plan.CodeOwned })
	for _, s := range []*sidecar{first, second} {
		s.server.mu.Lock()
		for _, e := range s.server.errors {
			if strings.Contains(e, "quarantine") {
				t.Errorf("a good release was blamed: %s", e)
			}
		}
		s.server.mu.Unlock()
	}
	for _, e := range agenttest.Events(t, filepath.Join(first.dir, "work/falcon")) {
		if e.What == "two-at-once" {
			t.Errorf("I3: %+v", e)
		}
	}
}

func TestASidecarThatNoLongerHasAnAgentLeavesItToAnother(t *testing.T) {
	t.Parallel()
	first := newSidecar(t)
	second := secondOn(t, first)
	a := first.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{})
	first.server.want(a)
	second.server.want(a)
	first.start("")
	first.awaitReport("1.0.0", meta.PhaseIdle)
	second.start("")
	second.await("it steps back", func() bool { return second.server.last("falcon").Reason == plan.CodeOwned })
	if a := second.server.last("falcon"); a.Phase != meta.PhaseIdle || a.Held {
		t.Errorf("it is as wanted, and yet reported as %+v", a)
	}
	first.server.want()
	second.await("it takes over", func() bool { a := second.server.last("falcon"); return a.Version == "1.0.0" && a.Reason == "" })
}

func (s *server) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.beats
}

// TestQueriesLeaveEveryByteAlone: beside a daemon and without one, also where
// the state holds what a daemon would set aside, and a hold that it would end.
func TestQueriesLeaveEveryByteAlone(t *testing.T) {
	t.Parallel()
	s := newSidecar(t)
	s.server.want(s.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{}))
	s.start("")
	s.awaitReport("1.0.0", meta.PhaseIdle)
	work, vars := filepath.Join(s.dir, "work"), filepath.Join(s.dir, "var")
	ask := func(when string) {
		t.Helper()
		before := agenttest.Snapshot(t, work, vars)
		for _, args := range [][]string{{"plan"}, {"plan", "--json"}, {"status"}, {"status", "--json"}, {"check"}} {
			_, _ = s.verb(args...)
		}
		if after := agenttest.Snapshot(t, work, vars); after != before {
			t.Errorf("%s, asking changed\n%s\nto\n%s", when, before, after)
		}
	}
	beats := s.server.count()
	s.await("it is at rest", func() bool { return s.server.count() > beats+2 })
	ask("beside a daemon")
	s.end()
	agenttest.Write(t, filepath.Join(vars, "journal/other.json"), "{", 0o600)
	holds := `{"falcon":{"reason":"x","since":"2026-01-01T00:00:00Z","version":"0.9.0","against":"0.8.0"}}`
	agenttest.Write(t, filepath.Join(vars, "holds.json"), holds, 0o600)
	ask("without a daemon")
	if out, err := s.verb("plan"); err != nil || !strings.Contains(out, "falcon") {
		t.Errorf("plan: %v, %s", err, out)
	}
}

func TestAPlanWhileAReleaseStartsSlowlyEndsNothing(t *testing.T) {
	t.Parallel()
	s := newSidecar(t)
	stranger := secondOn(t, s)
	s.configure(map[string]any{"start_timeout": "10m"}) // it starts when the test says so
	s.server.want(s.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{}))
	s.start("")
	s.awaitReport("1.0.0", meta.PhaseIdle)
	gate := filepath.Join(s.dir, "open")
	slow := s.origin.publish(t, "falcon", "1.0.1", agenttest.Habits{BeforeStart: "touch " + gate + ".waits; until [ -e " + gate + " ]; do sleep 0.02; done"})
	s.server.want(slow)
	last, err := json.Marshal(plan.Desired{Agents: []meta.DesiredAgent{slow}, Dialect: meta.DialectV1})
	must(t, err)
	agenttest.Write(t, filepath.Join(stranger.dir, "var/desired.json"), string(last), 0o600)
	s.await("the start is under way", func() bool { _, err := os.Stat(gate + ".waits"); return err == nil })
	if out, err := s.verb("plan"); err != nil || !strings.Contains(out, "under way: starting") {
		t.Errorf("plan beside the daemon: %v, %s", err, out)
	}
	asked := make(chan struct{})
	go func() { defer close(asked); _, _ = stranger.verb("plan") }() // with another var directory: it must ask the script
	time.Sleep(300 * time.Millisecond)                               // let it come to the queue
	agenttest.Write(t, gate, "", 0o644)
	<-asked
	s.awaitReport("1.0.1", meta.PhaseIdle)
	if err := s.server.last("falcon").Error; err != "" {
		t.Errorf("the start was disturbed: %s", err)
	}
	must(t, os.Remove(gate))
	must(t, os.Remove(gate+".waits"))
}

func TestAnAgentThatCannotBeLookedAtIsNotGivenUp(t *testing.T) {
	u := agenttest.NeedUser(t)
	h := underRoot(t)
	h.boot()
	a := h.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{})
	a.RunUser = u.Username
	h.apply(a)
	h.runs("falcon", "1.0.0")
	version, owner := filepath.Join(h.agentDir("falcon"), "1.0.0"), filepath.Join(h.agentDir("falcon"), ".owner")
	before, err := os.ReadFile(owner)
	must(t, err)
	must(t, os.Chmod(version, 0))
	h.await("falcon", "could not be looked at", func(a meta.RealAgent) bool { return strings.Contains(a.Error, "may not enter") })
	if after, err := os.ReadFile(owner); err != nil || string(after) != string(before) {
		t.Errorf("it belongs to %q, %v; before to %q", after, err, before)
	}
	must(t, os.Chmod(version, 0o755))
	h.runs("falcon", "1.0.0")
}
