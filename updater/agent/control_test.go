package agent_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/internal/host/control"
	"github.com/ops-updater/ops-updater/updater/agent"
	"github.com/ops-updater/ops-updater/updater/internal/agenttest"
	"github.com/ops-updater/ops-updater/updater/job"
)

func newRunner(t *testing.T, h agenttest.Habits) agent.Runner {
	if testing.Short() {
		t.Skip("SKIPPED with -short: control scripts as processes")
	}
	t.Helper()
	dir := filepath.Join(t.TempDir(), "falcon")
	h.Place(t, dir, "1.0.0")
	agenttest.CleanUp(t, dir)
	return runnerFor(dir)
}

func runnerFor(dir string) agent.Runner {
	return agent.Runner{
		Dir:      agent.Dir{Path: dir, Name: "falcon"},
		Timeouts: job.Timeouts{Status: patience, Start: patience, Stop: patience},
		Env:      control.Environment(nil),
	}
}

func TestStartAndStopInTheField(t *testing.T) {
	cases := []struct {
		name   string
		habits agenttest.Habits
	}{
		{"proper daemon", agenttest.Habits{}},
		{"slow", agenttest.Habits{BeforeStart: "sleep 0.3", BeforeStop: "sleep 0.3"}},
		{"leaves its pipes open in the daemon", agenttest.Habits{Output: " "}},
		{"prints banners", agenttest.Habits{
			BeforeStart: "echo '*** not started yet ***'; seq 1 20000", BeforeStop: "echo '*** started to stop ***'; seq 1 20000",
		}},
		{"warns on stderr in status", agenttest.Habits{BeforeStatus: "echo 'sh: warning: setlocale: LC_ALL' >&2"}},
		{"stop returns before the agent is down", agenttest.Habits{
			Stop: "(sleep 0.3; kill $(cat var/app.pid); sleep 0.1; rm -f var/app.pid) >/dev/null 2>&1 & exit 0",
		}},
		{"start returns before the agent is up", agenttest.Habits{
			BeforeStart: "(sleep 0.4; nohup ./app >>var/app.log 2>&1 & echo $! >var/app.pid) >/dev/null 2>&1 & exit 0",
		}},
		{"start fails although the agent is up", agenttest.Habits{
			BeforeStart: "nohup ./app >>var/app.log 2>&1 & echo $! >var/app.pid; exit 1",
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := newRunner(t, c.habits)
			if err := r.Start(t.Context(), "1.0.0"); err != nil {
				t.Fatal(err)
			}
			if s := r.Status(t.Context(), "1.0.0"); !s.Started() {
				t.Fatalf("status %v after start", s)
			}
			stopped, err := r.Stop(t.Context(), "1.0.0")
			if err != nil || stopped.Why != "" {
				t.Fatalf("stop: %+v, %v", stopped, err)
			}
			if left := agenttest.Running(t, r.Dir.Path); len(left) > 0 {
				t.Fatalf("still running: %v", left)
			}
		})
	}
}

func TestScriptsThatCannotRunAreExplained(t *testing.T) {
	good := agenttest.Habits{}.Script()
	cases := []struct {
		name, script string
		mode         os.FileMode
		want         string
	}{
		{"not executable", good, 0o644, "not executable"},
		{"CRLF", strings.ReplaceAll(good, "\n", "\r\n"), 0o755, "CRLF"},
		{"no shebang", "echo started\n", 0o755, "#!/bin/sh"},
		{"interpreter missing", "#!/usr/bin/nonesuch\necho started\n", 0o755, "/usr/bin/nonesuch is not on this host"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := newRunner(t, agenttest.Habits{})
			agenttest.Write(t, filepath.Join(r.Dir.Path, "1.0.0", "control"), c.script, c.mode)
			err := r.Start(t.Context(), "1.0.0")
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("start: %v; want %q", err, c.want)
			}
			if s := r.Status(t.Context(), "1.0.0").String(); !strings.HasPrefix(s, "unknown: ") || !strings.Contains(s, c.want) {
				t.Fatalf("status %q; want unknown with %q", s, c.want)
			}
		})
	}
}

func TestAHangingScriptIsKilledWithItsGroupAndNothingElse(t *testing.T) {
	// The daemon leaves the group properly; the helper does not.
	r := newRunner(t, agenttest.Habits{BeforeStart: `
	setsid ./app >>var/app.log 2>&1 </dev/null &
	echo $! >var/app.pid
	sleep 300 & echo $! >var/helper.pid
	echo "waiting for the database"
	sleep 300`})
	r.Timeouts.Start = 5 * time.Second // in which the script must come to its end
	// It says started, and that is what counts, although start had to be killed.
	if err := r.Start(t.Context(), "1.0.0"); err != nil {
		t.Fatal(err)
	}
	if got := agenttest.Running(t, r.Dir.Path); len(got) != 1 {
		t.Fatalf("running: %v; want the one daemon", got)
	}
	assertGone(t, filepath.Join(r.Dir.Path, "1.0.0/var/helper.pid"))
}

func assertGone(t *testing.T, pidFile string) {
	t.Helper()
	data, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	pid := strings.TrimSpace(string(data))
	eventually(t, "process "+pid+" of "+pidFile+" is gone", func() bool {
		stat, err := os.ReadFile("/proc/" + pid + "/stat")
		return err != nil || strings.Contains(string(stat), ") Z")
	})
}

func TestFailuresCarryWhatTheScriptSaid(t *testing.T) {
	cases := []struct {
		name   string
		habits agenttest.Habits
		want   []string
	}{
		{"exit code", agenttest.Habits{BeforeStart: "echo 'cannot bind :80'; exit 7"}, []string{"exit code 7", "cannot bind :80"}},
		{"never starts", agenttest.Habits{BeforeStart: "echo 'bye'; exit 0"}, []string{"status is stoped", "bye"}},
		{"hangs", agenttest.Habits{BeforeStart: "echo 'loading'; sleep 300"}, []string{"did not return within 3s", "loading"}},
		{"dies with a trace", agenttest.Habits{BeforeStart: `echo "panic: port 80 is taken"; i=0; while [ $i -lt 300 ]; do echo "goroutine $i [running]: main.main() /src/main.go:$i"; i=$((i+1)); done; exit 2`}, []string{"panic: port 80 is taken", "exit code 2"}},
		{"dies at once", agenttest.Habits{App: "exit 1"}, []string{"status is stoped"}},
		{"answers late and not understandably", agenttest.Habits{
			BeforeStart: "echo 'port 80'", BeforeStatus: "sleep 3.2; echo running, for all I know; exit 0",
		}, []string{"status is unknown: running, for all I know", "port 80"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := newRunner(t, c.habits)
			r.Timeouts.Start = 3 * time.Second
			err := r.Start(t.Context(), "1.0.0")
			if err == nil {
				// The application may have been seen in the moment it was alive.
				if c.name == "dies at once" {
					t.Skip("it was up for a moment; probation is for that")
				}
				t.Fatal("start succeeded")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
		})
	}
}

func TestI3AnAgentThatDoesNotStopIsKilledAndReported(t *testing.T) {
	cases := []struct {
		name   string
		habits agenttest.Habits
	}{
		{"stop hangs", agenttest.Habits{BeforeStop: "sleep 300"}},
		{"stop fails", agenttest.Habits{BeforeStop: "echo 'not now'; exit 1"}},
		{"stop does nothing", agenttest.Habits{BeforeStop: "exit 0"}},
		{"stop does nothing and there is no pid", agenttest.Habits{BeforeStop: "exit 0", NoPid: true}},
		{"stop forgets the agent, which runs on", agenttest.Habits{Stop: ":"}},
		{"stop forgets the agent, and there is no pid", agenttest.Habits{Stop: ":", NoPid: true}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := newRunner(t, c.habits)
			if err := r.Start(t.Context(), "1.0.0"); err != nil {
				t.Fatal(err)
			}
			r.Timeouts.Stop = time.Second
			s, err := r.Stop(t.Context(), "1.0.0")
			if err != nil || len(s.Killed) == 0 || s.Why == "" {
				t.Fatalf("stop: %+v, %v; want the agent killed and said why", s, err)
			}
			if left := agenttest.Running(t, r.Dir.Path); len(left) > 0 {
				t.Fatalf("still running: %v", left)
			}
		})
	}
}

func TestI3WhatSomebodyElseStoppedAndRunsOnIsEnded(t *testing.T) {
	r := newRunner(t, agenttest.Habits{Stop: ":"})
	if err := r.Start(t.Context(), "1.0.0"); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(filepath.Join(r.Dir.Path, "1.0.0/control"), "stop").CombinedOutput(); err != nil {
		t.Fatalf("control stop: %v\n%s", err, out)
	}
	r.Timeouts.Stop = time.Second
	s, err := r.Stop(t.Context(), "1.0.0")
	if err != nil || len(s.Killed) == 0 || !strings.Contains(s.Why, "runs on") {
		t.Fatalf("stop: %+v, %v; want the agent killed and said why", s, err)
	}
	if left := agenttest.Running(t, r.Dir.Path); len(left) > 0 {
		t.Fatalf("still running: %v", left)
	}
}

func TestI3AStopLastsUntilTheAgentHasEnded(t *testing.T) {
	r := newRunner(t, agenttest.Habits{Stop: "kill $(cat var/app.pid)", App: "trap 'sleep 2; note down; exit 0' TERM"})
	if err := r.Start(t.Context(), "1.0.0"); err != nil {
		t.Fatal(err)
	}
	s, err := r.Stop(t.Context(), "1.0.0")
	if left := agenttest.Running(t, r.Dir.Path); err != nil || len(left) > 0 || len(s.Killed) > 0 {
		t.Fatalf("stop: %+v, %v, still running: %v; want it waited for although its status is stoped", s, err, left)
	}
}

func TestI3WhatAFailedStartBroughtUpIsEnded(t *testing.T) {
	for name, after := range map[string]string{
		"no pid is noted":          "rm -f var/app.pid",
		"start fails after all":    "rm -f var/app.pid; exit 7",
		"start does not come back": "rm -f var/app.pid; sleep 300",
	} {
		t.Run(name, func(t *testing.T) {
			script := strings.Replace(agenttest.Habits{}.Script(), "nohup ./app", "setsid ./app", 1)
			r := newRunner(t, agenttest.Habits{Control: strings.Replace(script, "echo $! >var/app.pid", after, 1)})
			r.Timeouts.Start = 2 * time.Second
			err := r.Start(t.Context(), "1.0.0")
			if err == nil || !strings.Contains(err.Error(), "ended the processes that it had brought up") {
				t.Errorf("start: %v; want a failure that says what was ended", err)
			}
			if left := agenttest.Running(t, r.Dir.Path); len(left) > 0 {
				t.Errorf("still running: %v", left)
			}
		})
	}
}

func TestAStopThatFailsReportsTheLastWholeAnswer(t *testing.T) {
	r := newRunner(t, agenttest.Habits{BeforeStatus: "sleep 3.2; echo started; exit 0", BeforeStop: "exit 0", NoPid: true})
	r.Timeouts.Stop = 3 * time.Second
	if _, err := r.Stop(t.Context(), "1.0.0"); err == nil || !strings.Contains(err.Error(), "its status is started: status is started after control stop") {
		t.Fatalf("stop: %v; want what status said, not that we did not wait for it", err)
	}
}

func TestI3StopSaysSoWhenTheAgentMayStillRun(t *testing.T) {
	r := newRunner(t, agenttest.Habits{BeforeStatus: "echo started; exit 0", BeforeStop: "exit 1", NoPid: true})
	r.Timeouts.Stop = 300 * time.Millisecond
	if _, err := r.Stop(t.Context(), "1.0.0"); err == nil || !strings.Contains(err.Error(), "status is started") {
		t.Fatalf("stop: %v; want an error: status goes on saying started", err)
	}
}

func TestI3StopAlsoStopsAnotherVersionThatRuns(t *testing.T) {
	r := newRunner(t, agenttest.Habits{})
	agenttest.Habits{}.Place(t, r.Dir.Path, "0.9.0")
	if err := r.Start(t.Context(), "0.9.0"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Stop(t.Context(), "1.0.0"); err != nil {
		t.Fatal(err)
	}
	if left := agenttest.Running(t, r.Dir.Path); len(left) > 0 {
		t.Fatalf("still running: %v", left)
	}
}

// TestI3StopAlsoStopsAnotherVersionWhoseScriptDoesNotKnow: its process was noted at its start.
func TestI3StopAlsoStopsAnotherVersionWhoseScriptDoesNotKnow(t *testing.T) {
	for name, status := range map[string]string{"it fails": "exit 3", "it says nothing": "exit 0", "it says stoped": "echo stoped; exit 0"} {
		t.Run(name, func(t *testing.T) {
			r := newRunner(t, agenttest.Habits{})
			agenttest.Habits{}.Place(t, r.Dir.Path, "0.9.0")
			if err := r.Start(t.Context(), "0.9.0"); err != nil {
				t.Fatal(err)
			}
			agenttest.Habits{BeforeStatus: status, BeforeStop: "exit 1"}.Place(t, r.Dir.Path, "0.9.0")
			r.Timeouts.Stop = time.Second
			s, err := r.Stop(t.Context(), "1.0.0")
			if left := agenttest.Running(t, r.Dir.Path); err != nil || len(left) > 0 {
				t.Fatalf("stop: %+v, %v, still running: %v", s, err, left)
			}
		})
	}
}

func TestABrokenScriptDoesNotTrapTheHostInItsVersion(t *testing.T) {
	r := newRunner(t, agenttest.Habits{})
	if err := r.Start(t.Context(), "1.0.0"); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(r.Dir.Path, "1.0.0/control"), 0o644); err != nil {
		t.Fatal(err)
	}
	s, err := r.Stop(t.Context(), "1.0.0")
	if err != nil || len(s.Killed) == 0 {
		t.Fatalf("stop: %+v, %v; want its processes killed", s, err)
	}
	if left := agenttest.Running(t, r.Dir.Path); len(left) > 0 {
		t.Fatalf("still running: %v", left)
	}
}

func TestStatusIsExact(t *testing.T) {
	cases := []struct{ name, body, want string }{
		{"started", "echo started", "started"},
		{"with details", "echo 'started (pid 12)'", "started"},
		{"stoped", "echo stoped", "stoped"},
		{"stopped", "echo stopped", "stoped"},
		{"no newline", "printf started", "started"},
		{"not started", "echo not started", "unknown: not started"},
		{"other case", "echo Started", "unknown: Started"},
		{"glued", "echo started!", "unknown: started!"},
		{"banner", "echo 'falcon 1.0'; echo started", "unknown: started"},
		{"nothing", ":", "unknown: control status printed nothing"},
		{"exit code", "echo started; exit 3", "unknown: control status ended with exit code 3: started"},
		{"only stderr", "echo started >&2", "unknown: control status printed nothing"},
		{"control characters", `printf 'a\033[31mb\000c\n'`, "unknown: a [31mb c"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := newRunner(t, agenttest.Habits{BeforeStatus: c.body + "; exit 0"})
			if got := r.Status(t.Context(), "1.0.0").String(); got != c.want {
				t.Fatalf("status %q; want %q", got, c.want)
			}
		})
	}
}

func TestI6EndlessOutputOfAHangingStatusIsBounded(t *testing.T) {
	r := newRunner(t, agenttest.Habits{BeforeStatus: "exec yes"})
	r.Timeouts.Status = 500 * time.Millisecond
	if got := r.Status(t.Context(), "1.0.0").String(); got != "unknown: control status did not return within 500ms" {
		t.Fatalf("status %q", got)
	}
}

func TestTheEndOfTheContextEndsTheScript(t *testing.T) {
	r := newRunner(t, agenttest.Habits{BeforeStart: "sleep 300 & echo $! >var/helper.pid; wait"})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for {
			if data, _ := os.ReadFile(filepath.Join(r.Dir.Path, "1.0.0/var/helper.pid")); len(data) > 0 {
				cancel()
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
	if err := r.Start(ctx, "1.0.0"); err == nil {
		t.Fatal("start succeeded")
	}
	assertGone(t, filepath.Join(r.Dir.Path, "1.0.0/var/helper.pid"))
}

func TestI3AScriptThatAKilledChildLeftIsEndedFirst(t *testing.T) {
	r := newRunner(t, agenttest.Habits{})
	// What a killed child leaves: a control script at work, and its number.
	left := startSleeper(t)
	stat, err := os.ReadFile("/proc/" + left + "/stat")
	if err != nil {
		t.Skipf("SKIPPED: there is no /proc on this system: %v", err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	agenttest.Write(t, filepath.Join(r.Dir.Path, ".control.run"), left+" "+strings.Fields(rest)[19]+"\n", 0o644)
	if s := r.Status(t.Context(), "1.0.0"); !s.Stopped() {
		t.Fatalf("status %v", s)
	}
	agenttest.Write(t, filepath.Join(r.Dir.Path, "left"), left, 0o644)
	assertGone(t, filepath.Join(r.Dir.Path, "left"))
}

func startSleeper(t *testing.T) string {
	t.Helper()
	p, err := os.StartProcess("/bin/sleep", []string{"sleep", "300"}, &os.ProcAttr{Sys: &syscall.SysProcAttr{Setpgid: true}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Kill(); _, _ = p.Wait() })
	return itoa(p.Pid)
}

func TestReasonsAreSaidForPeople(t *testing.T) {
	r := newRunner(t, agenttest.Habits{BeforeStatus: "echo '*** Falcon 3 ***'"})
	r.Timeouts.Start = 3 * time.Second
	err := r.Start(t.Context(), "1.0.0")
	if err == nil || !strings.Contains(err.Error(), `its first word is "***"`) {
		t.Errorf("banner in front of the status: %v", err)
	}
}
