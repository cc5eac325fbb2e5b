package agent_test

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/internal/host/status"
	"github.com/ops-updater/ops-updater/updater/agent"
	"github.com/ops-updater/ops-updater/updater/internal/agenttest"
	"github.com/ops-updater/ops-updater/updater/job"
)

// gated is an agent whose verb waits until open is called, and says when it has
// come to the gate.
type gated struct {
	agent.Runner
	t *testing.T
}

const gate = "touch $agent/at-the-gate; until [ -e $agent/open ]; do sleep 0.02; done"

func newGated(t *testing.T, h agenttest.Habits) gated { return gated{newRunner(t, h), t} }

func (g gated) awaitGate() {
	g.t.Helper()
	awaitFile(g.t, filepath.Join(g.Dir.Path, "at-the-gate"))
}

func (g gated) open() { agenttest.Write(g.t, filepath.Join(g.Dir.Path, "open"), "", 0o644) }

func awaitFile(t *testing.T, path string) {
	t.Helper()
	eventually(t, path+" is there", func() bool { _, err := os.Stat(path); return err == nil })
}

func TestAQuestionDuringAStartWaitsSaysWhoActsAndEndsNothing(t *testing.T) {
	g := newGated(t, agenttest.Habits{BeforeStart: gate})
	started := make(chan error, 1)
	go func() { started <- g.Start(t.Context(), "1.0.0") }()
	g.awaitGate()
	for _, guest := range []bool{false, true} {
		asker := g.Runner
		asker.Guest, asker.Timeouts.Status = guest, 200*time.Millisecond
		want := regexp.MustCompile(`^unknown: .*control start of 1\.0\.0 is being run by pid ` + strconv.Itoa(os.Getpid()) + ` since \d`)
		if s := asker.Status(t.Context(), "1.0.0").String(); !want.MatchString(s) {
			t.Errorf("status of guest %v during the start: %q; want %v", guest, s, want)
		}
		if p := asker.Probe(t.Context(), "1.0.0"); p.Unasked == "" {
			t.Errorf("a probe that could not ask is evidence: %+v", p)
		}
	}
	patient := make(chan status.Status, 1)
	go func() { patient <- g.Status(t.Context(), "1.0.0") }()
	g.open()
	if err := <-started; err != nil {
		t.Fatalf("the start was disturbed: %v", err)
	}
	if s := <-patient; !s.Started() {
		t.Errorf("who waited for its turn was told %v", s)
	}
}

func TestASlowStatusIsNotEndedByAnotherAsker(t *testing.T) {
	g := newGated(t, agenttest.Habits{BeforeStatus: gate})
	slow := make(chan status.Status, 1)
	go func() { slow <- g.Status(t.Context(), "1.0.0") }()
	g.awaitGate()
	other := g.Runner
	other.Timeouts.Status = 200 * time.Millisecond
	if s := other.Status(t.Context(), "1.0.0").String(); !strings.Contains(s, "control status of 1.0.0 is being run by pid "+strconv.Itoa(os.Getpid())) {
		t.Errorf("the second asker was told %q", s)
	}
	g.open()
	if s := <-slow; !s.Stopped() {
		t.Errorf("the first asker was told %v", s)
	}
}

func TestQuestionsWriteNothing(t *testing.T) {
	r := newRunner(t, agenttest.Habits{Health: "exit 0"})
	if err := r.Start(t.Context(), "1.0.0"); err != nil {
		t.Fatal(err)
	}
	if err := r.Dir.Activate("1.0.0"); err != nil {
		t.Fatal(err)
	}
	before := agenttest.Snapshot(t, r.Dir.Path)
	for _, guest := range []bool{false, true} {
		r.Guest = guest
		if o, err := r.Observe(t.Context()); err != nil || !o.Status.Started() {
			t.Fatalf("observed %+v, %v", o, err)
		}
		r.Probe(t.Context(), "1.0.0")
	}
	if after := agenttest.Snapshot(t, r.Dir.Path); after != before {
		t.Errorf("asking changed the directory from\n%s\nto\n%s", before, after)
	}
}

// note writes .control.run for a script that process owner waits for.
func note(t *testing.T, dir, script string, owner int, boot string) {
	t.Helper()
	pid, _ := strconv.Atoi(script)
	space, _ := os.Readlink("/proc/self/ns/pid")
	process := func(pid int) map[string]any {
		return map[string]any{"pid": pid, "start": startOf(t, pid), "boot": boot, "space": space}
	}
	text, err := json.Marshal(map[string]any{
		"verb": "start", "version": "1.0.0", "since": time.Now().Add(-40 * time.Minute), "script": process(pid), "owner": process(owner),
	})
	if err != nil {
		t.Fatal(err)
	}
	agenttest.Write(t, filepath.Join(dir, ".control.run"), string(text), 0o644)
}

func startOf(t *testing.T, pid int) string {
	t.Helper()
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		t.Skipf("SKIPPED: there is no /proc on this system: %v", err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return strings.Fields(rest)[19]
}

func Boot(t *testing.T) string {
	t.Helper()
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Skipf("SKIPPED: this system has no boot id: %v", err)
	}
	return strings.TrimSpace(string(id))
}

// TestOnlyAScriptWhoseOwnerIsGoneIsALeftover: also where no lock keeps order, as
// on a filesystem that has none.
func TestOnlyAScriptWhoseOwnerIsGoneIsALeftover(t *testing.T) {
	boot := Boot(t)
	cases := []struct {
		name  string
		gone  bool
		boot  string
		guest bool
		ended bool
	}{
		{"owner lives", false, boot, false, false},
		{"owner is gone", true, boot, false, true},
		{"owner is gone, a guest asks", true, boot, true, false},
		{"of another boot", false, "another-boot", false, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := newRunner(t, agenttest.Habits{})
			left, owner, ends := startSleeper(t), os.Getppid(), exec.Command("true")
			if c.gone {
				check(t, ends.Start())
				owner = ends.Process.Pid
			}
			note(t, r.Dir.Path, left, owner, c.boot)
			if c.gone {
				check(t, ends.Wait())
			}
			r.Guest, r.Timeouts.Status = c.guest, 500*time.Millisecond
			s := r.Status(t.Context(), "1.0.0")
			pid, _ := strconv.Atoi(left)
			if lives := livesOn(pid); lives == c.ended {
				t.Errorf("the script lives: %v; want it ended: %v", lives, c.ended)
			}
			if c.name == "owner lives" && !strings.Contains(s.String(), "control start of 1.0.0 is being run by pid "+strconv.Itoa(owner)+" since 4") {
				t.Errorf("status %q does not say who acts", s)
			}
		})
	}
}

// livesOn: neither gone nor a zombie.
func livesOn(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && !strings.Contains(string(stat), ") Z") && syscall.Kill(pid, 0) == nil
}

func TestWhatIsNoLockFileIsSaidAndNeitherFollowedNorWaitedOn(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside")
	cases := map[string]func(path string) error{
		"fifo":      func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"link":      func(path string) error { return os.Symlink(outside, path) },
		"directory": func(path string) error { return os.Mkdir(path, 0o755) },
	}
	for name, plant := range cases {
		for _, file := range []string{".control.lock", ".control.run", ".owner"} {
			t.Run(name+" "+file, func(t *testing.T) {
				r := newRunner(t, agenttest.Habits{})
				owner := job.ThisOwner(t.TempDir())
				r.Owner = &owner
				if err := plant(filepath.Join(r.Dir.Path, file)); err != nil {
					t.Fatal(err)
				}
				s := r.Status(t.Context(), "1.0.0")
				if said := strings.Contains(s.String(), "not a regular file; remove it"); said != (file == ".control.lock") {
					t.Errorf("status %q", s)
				}
				if _, err := os.Lstat(outside); !errors.Is(err, os.ErrNotExist) {
					t.Error("a link was followed")
				}
			})
		}
	}
}
