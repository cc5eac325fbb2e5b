package agent_test

import (
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/internal/agenttest"
)

// forker forks a new session for each of its 200 children, which all would
// live on: more than the 40 that the tests allow, and not for ever.
const forker = `
	i=0
	while [ $i -lt 200 ]; do
		setsid sleep 86321 </dev/null >/dev/null 2>&1 &
		i=$((i + 1))
	done
	sleep 300`

// toFork is long enough for the 40.
const toFork = 10 * time.Second

// sleepers counts the processes with these arguments.
func sleepers(t *testing.T, args string) (n int) {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		line, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if strings.ReplaceAll(strings.TrimSuffix(string(line), "\x00"), "\x00", " ") == args {
			n++
		}
	}
	return n
}

func TestAScriptThatForksWithoutEndIsEndedWithAllThatItStarted(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("NOT TESTED: only root can make a control group")
	}
	r := newRunner(t, agenttest.Habits{BeforeStatus: forker})
	r.Tasks, r.Timeouts.Status = 40, toFork
	most := 0
	answered, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		for tick := time.Tick(100 * time.Millisecond); ; {
			select {
			case <-tick:
				most = max(most, sleepers(t, "sleep 86321"))
			case <-answered:
				return
			}
		}
	}()
	s := r.Status(t.Context(), "1.0.0").String()
	close(answered)
	<-watched
	if !strings.Contains(s, "40 processes and threads at once") {
		t.Errorf("status %q; want why it was ended", s)
	}
	if most > 40 {
		t.Errorf("it had %d processes; want the bound kept", most)
	}
	eventually(t, "nothing is left of it", func() bool { return sleepers(t, "sleep 86321") == 0 })
}

func TestADaemonHasNoBoundOfTheScriptThatStartedIt(t *testing.T) {
	r := newRunner(t, agenttest.Habits{App: `
	touch var/up
	while [ ! -e var/go-on ]; do sleep 0.05 9>&-; done
	i=0; while [ $i -lt 60 ]; do sleep 86322 9>&- & i=$((i + 1)); done
	touch var/grown`})
	r.Tasks = 30
	if err := r.Start(t.Context(), "1.0.0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = exec.Command("sh", "-c", "for p in /proc/[0-9]*; do [ \"$(tr '\\0' ' ' <$p/cmdline 2>/dev/null)\" = 'sleep 86322 ' ] && kill -9 ${p#/proc/}; done").Run()
	})
	agenttest.Write(t, filepath.Join(r.Dir.Path, "1.0.0/var/go-on"), "", 0o644)
	eventually(t, "it has more processes than its start might", func() bool { return sleepers(t, "sleep 86322") == 60 })
	text, err := os.ReadFile("/proc/" + strconv.Itoa(appPid(t, r)) + "/cgroup")
	if err != nil || strings.Contains(string(text), "ops-updater-control-") {
		t.Errorf("it is still in the group of the script: %s, %v", text, err)
	}
}

// TestAnotherUserIsBoundedByItsNumberOfProcesses runs this test program once
// more as a user without rights.
func TestAnotherUserIsBoundedByItsNumberOfProcesses(t *testing.T) {
	if dir := os.Getenv("BOUNDED_AGENT"); dir != "" {
		r := runnerFor(dir)
		r.Tasks, r.Timeouts.Status = 40, toFork
		bystander := runnerFor(filepath.Join(dir, "other"))
		bystander.Tasks = r.Tasks
		answer := make(chan string, 1)
		go func() { answer <- bystander.Status(t.Context(), "1.0.0").String() }()
		gate, err := os.OpenFile(filepath.Join(bystander.Dir.Path, "1.0.0", "gate"), os.O_WRONLY, 0) // until its script reads
		if err != nil {
			t.Fatal(err)
		}
		s := r.Status(t.Context(), "1.0.0").String()
		if !strings.Contains(s, "40 processes and threads at once") {
			t.Errorf("status %q; want why it was ended", s)
		}
		r.Timeouts.Status = patience
		if err := gate.Close(); err != nil {
			t.Fatal(err)
		}
		if other := <-answer; other != meta.StatusStopped {
			t.Errorf("meanwhile another agent of the user was asked, and answered %q; want its own answer", other)
		}
		if err := r.Start(t.Context(), "1.0.1"); err != nil {
			t.Fatal(err)
		}
		limits, _ := os.ReadFile("/proc/" + strings.TrimSpace(readFile(t, filepath.Join(dir, "1.0.1/var/app.pid"))) + "/limits")
		own, _ := os.ReadFile("/proc/self/limits")
		if processesLine(limits) != processesLine(own) {
			t.Errorf("the daemon is left with %q; want %q", processesLine(limits), processesLine(own))
		}
		if _, err := r.Stop(t.Context(), "1.0.1"); err != nil {
			t.Error(err)
		}
		return
	}
	nobody, err := user.Lookup("nobody")
	if os.Getuid() != 0 || err != nil {
		t.Skip("NOT TESTED: becoming another user needs root")
	}
	uid, _ := strconv.Atoi(nobody.Uid)
	dir, err := os.MkdirTemp("", "bounded-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	agenttest.Habits{BeforeStatus: strings.ReplaceAll(forker, "86321", "86323")}.Place(t, dir, "1.0.0")
	agenttest.Habits{}.Place(t, dir, "1.0.1")
	agenttest.Habits{BeforeStatus: "read nothing <gate"}.Place(t, filepath.Join(dir, "other"), "1.0.0")
	if err := syscall.Mkfifo(filepath.Join(dir, "other", "1.0.0", "gate"), 0o644); err != nil {
		t.Fatal(err)
	}
	agenttest.CleanUp(t, dir)
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	agenttest.Write(t, filepath.Join(dir, "test"), string(self), 0o755)
	if out, err := exec.Command("chown", "-R", nobody.Uid, dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	cmd := exec.Command(filepath.Join(dir, "test"), "-test.run", "^TestAnotherUserIsBoundedByItsNumberOfProcesses$", "-test.v")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "BOUNDED_AGENT="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	eventually(t, "nothing is left of it", func() bool { return sleepers(t, "sleep 86323") == 0 })
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func processesLine(limits []byte) string {
	for line := range strings.Lines(string(limits)) {
		if strings.HasPrefix(line, "Max processes") {
			return line
		}
	}
	return ""
}
