package agent_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/internal/host/control"
	"github.com/ops-updater/ops-updater/updater/agent"
	"github.com/ops-updater/ops-updater/updater/internal/agenttest"
)

// elsewhere is an application that nothing ties to its directory: the way of
// daemons whose program is the system's.
var elsewhere = agenttest.Habits{App: "cd / && exec 9>&- && exec sleep 86399"}

// credulous is a control script that believes its pid file as long as kill -0
// does, and cannot say which process that is.
var credulous = agenttest.Habits{Control: `#!/bin/sh
cd "$(dirname "$0")" || exit 1
mkdir -p var
running() { kill -0 "$(cat var/app.pid)" 2>/dev/null; }
case "$1" in
start) running && exit 0; nohup ./app >/dev/null 2>&1 </dev/null & echo $! >var/app.pid ;;
stop) running && kill "$(cat var/app.pid)"; rm -f var/app.pid ;;
status) if running; then echo started; else echo stoped; fi ;;
esac
`}

// credulousWithPid also says it.
var credulousWithPid = agenttest.Habits{Control: strings.Replace(credulous.Control, "esac\n", "pid) cat var/app.pid ;;\nesac\n", 1)}

// startZombie starts a process that has ended and is not waited for.
func startZombie(t *testing.T) int {
	t.Helper()
	cmd := exec.Command("true")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Wait() })
	eventually(t, "the process has ended", func() bool { return !alive(cmd.Process.Pid) })
	return cmd.Process.Pid
}

func pidFile(r agent.Runner) string { return filepath.Join(r.Dir.Path, "1.0.0/var/app.pid") }

func appPid(t *testing.T, r agent.Runner) int {
	t.Helper()
	data, err := os.ReadFile(pidFile(r))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func alive(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && !strings.Contains(string(stat), ") Z")
}

// startStranger starts somebody else's process, which leads a group of its own.
func startStranger(t *testing.T) int {
	t.Helper()
	cmd := exec.Command("sh", "-c", "sleep 86388 & exec sleep 86377")
	cmd.Dir, cmd.SysProcAttr = "/", &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); _ = cmd.Wait() })
	return cmd.Process.Pid
}

func startFor(t *testing.T, r agent.Runner) {
	t.Helper()
	if err := r.Dir.Activate("1.0.0"); err != nil {
		t.Fatal(err)
	}
	if err := r.Start(t.Context(), "1.0.0"); err != nil {
		t.Fatal(err)
	}
	if pid := appPid(t, r); alive(pid) {
		t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
	}
}

// crash ends the application as a reboot would, and leaves its pid file.
func crash(t *testing.T, r agent.Runner) {
	t.Helper()
	pid := appPid(t, r)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the application is gone", func() bool { return !alive(pid) })
}

func TestAStrangerWithAStalePidIsSparedAndTheAgentIsStarted(t *testing.T) {
	leaves := func(pid int) func(*testing.T, agent.Runner) int {
		return func(t *testing.T, r agent.Runner) int {
			t.Helper()
			crash(t, r)
			agenttest.Write(t, pidFile(r), strconv.Itoa(pid), 0o644)
			return pid
		}
	}
	cases := []struct {
		name  string
		leave func(t *testing.T, r agent.Runner) (stranger int) // how the pid file came to name somebody else
		says  string
		habit agenttest.Habits
	}{
		{"noted at its start", func(t *testing.T, r agent.Runner) int {
			crash(t, r)
			pid := startStranger(t)
			agenttest.Write(t, pidFile(r), strconv.Itoa(pid), 0o644)
			return pid
		}, "has nothing to do with process ", agenttest.Habits{}},
		{"older than the stranger", func(t *testing.T, r agent.Runner) int {
			crash(t, r)
			pid := startStranger(t)
			agenttest.Write(t, pidFile(r), strconv.Itoa(pid), 0o644)
			old := time.Now().Add(-time.Hour)
			if err := os.Chtimes(pidFile(r), old, old); err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(filepath.Join(r.Dir.Path, ".control.started")); err != nil {
				t.Fatal(err)
			}
			return pid
		}, "began after 1.0.0/var/app.pid was written", agenttest.Habits{}},
		{"another agent's", func(t *testing.T, r agent.Runner) int {
			crash(t, r)
			other := filepath.Join(filepath.Dir(r.Dir.Path), "heron")
			agenttest.Habits{}.Place(t, other, "2.0.0")
			agenttest.CleanUp(t, other)
			o := runnerFor(other)
			if err := o.Dir.Activate("2.0.0"); err != nil {
				t.Fatal(err)
			}
			if err := o.Start(t.Context(), "2.0.0"); err != nil {
				t.Fatal(err)
			}
			data, _ := os.ReadFile(filepath.Join(other, "2.0.0/var/app.pid"))
			agenttest.Write(t, pidFile(r), string(data), 0o644)
			pid, _ := strconv.Atoi(strings.TrimSpace(string(data)))
			return pid
		}, "heron", agenttest.Habits{}},
		{"the sidecar itself", func(t *testing.T, r agent.Runner) int {
			crash(t, r)
			agenttest.Write(t, pidFile(r), itoa(os.Getpid()), 0o644)
			return os.Getpid()
		}, "runs the sidecar itself", agenttest.Habits{}},
		{"the first process", leaves(1), "the system's first process", credulousWithPid},
		{"a zombie", leaves(startZombie(t)), "has ended", credulousWithPid},
		{"named only by a pid file", leaves(startStranger(t)), "its pid file names process ", credulous},
		{"a zombie named only by a pid file", leaves(startZombie(t)), "has ended", credulous},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := newRunner(t, c.habit)
			startFor(t, r)
			stranger := c.leave(t, r)
			eventually(t, "what the application had started is gone", func() bool {
				o, err := r.Observe(t.Context())
				return err == nil && o.Status.Stopped()
			})
			if o, err := r.Observe(t.Context()); err != nil || !o.Status.Stopped() || o.Pid != 0 || !strings.Contains(o.Status.Detail, c.says) || !strings.Contains(o.Status.Detail, "process "+itoa(stranger)) {
				t.Fatalf("observed %+v, %v; want it stopped, because the process %q", o, err, c.says)
			}
			s, err := r.Stop(t.Context(), "1.0.0")
			if err != nil || len(s.Killed) > 0 || !strings.Contains(s.String(), "process "+itoa(stranger)) {
				t.Fatalf("stop: %+v, %v; want the stranger named and spared", s, err)
			}
			if err := r.Start(t.Context(), "1.0.0"); err != nil {
				t.Fatal(err)
			}
			if c.says != "has ended" && !alive(stranger) {
				t.Error("the stranger was killed")
			}
			eventually(t, "the agent runs beside the stranger", func() bool { return len(agenttest.Running(t, r.Dir.Path)) > 0 })
			if got := agenttest.Running(t, r.Dir.Path); len(got) != 1 || appPid(t, r) == stranger {
				t.Errorf("running: %v with pid file %d; want the agent started beside the stranger", got, appPid(t, r))
			}
		})
	}
}

func TestAnAgentWhoseProgramLiesElsewhereIsKnownAgain(t *testing.T) {
	stubborn := elsewhere
	stubborn.BeforeStop = "exit 0"
	t.Run("noted at its start, it is killed when it will not stop", func(t *testing.T) {
		r := newRunner(t, stubborn)
		r.Timeouts.Stop = 300 * time.Millisecond
		startFor(t, r)
		pid := appPid(t, r)
		if s, err := r.Stop(t.Context(), "1.0.0"); err != nil || len(s.Killed) != 1 || s.Killed[0] != pid || alive(pid) {
			t.Fatalf("stop: %+v, %v, alive %v; want the noted process killed", s, err, alive(pid))
		}
	})
	t.Run("restarted by somebody else", func(t *testing.T) {
		r := newRunner(t, elsewhere)
		startFor(t, r)
		// It becomes its program after its start was noted, and is seen on probation.
		eventually(t, "it is what it becomes", func() bool {
			comm, _ := os.ReadFile("/proc/" + itoa(appPid(t, r)) + "/comm")
			return string(comm) == "sleep\n"
		})
		if p := r.Probe(t.Context(), "1.0.0"); !p.Status.Started() {
			t.Fatalf("probed %+v", p)
		}
		crash(t, r)
		cmd := exec.Command("sleep", "86399")
		cmd.Dir, cmd.SysProcAttr = "/", &syscall.SysProcAttr{Setsid: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		agenttest.Write(t, pidFile(r), itoa(cmd.Process.Pid), 0o644)
		if o, err := r.Observe(t.Context()); err != nil || !o.Status.Started() || o.Pid != cmd.Process.Pid {
			t.Fatalf("observed %+v, %v; want it started: it is the same program with the same arguments", o, err)
		}
	})
	t.Run("started before our time, it is neither declared dead nor killed", func(t *testing.T) {
		r := newRunner(t, stubborn)
		r.Timeouts.Stop = 300 * time.Millisecond
		startFor(t, r)
		if err := os.Remove(filepath.Join(r.Dir.Path, ".control.started")); err != nil {
			t.Fatal(err)
		}
		pid := appPid(t, r)
		if o, err := r.Observe(t.Context()); err != nil || !o.Status.Started() || o.Pid != pid {
			t.Fatalf("observed %+v, %v; want it started", o, err)
		}
		_, err := r.Stop(t.Context(), "1.0.0")
		if err == nil || !strings.Contains(err.Error(), "cannot be shown to be the agent's and was not killed") || !strings.Contains(err.Error(), "process "+itoa(pid)+" (") {
			t.Fatalf("stop: %v; want that it may still run, and as what", err)
		}
		if !alive(pid) {
			t.Error("it was killed")
		}
	})
}

func TestOfASharedProcessGroupOnlyTheAgentsMembersAreKilled(t *testing.T) {
	r := newRunner(t, agenttest.Habits{BeforeStop: "exit 0"})
	r.Timeouts.Stop = 300 * time.Millisecond
	agenttest.Write(t, pidFile(r), "", 0o644)
	shell := exec.Command("sh", "-c", "cd "+filepath.Dir(filepath.Dir(pidFile(r)))+"; ./app & echo $! >"+pidFile(r)+"; cd /; wait; exec sleep 86366")
	shell.Dir, shell.SysProcAttr = "/", &syscall.SysProcAttr{Setsid: true}
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(-shell.Process.Pid, syscall.SIGKILL); _ = shell.Wait() })
	eventually(t, "the agent runs in the shell's group", func() bool { return len(agenttest.Running(t, r.Dir.Path)) == 1 })
	s, err := r.Stop(t.Context(), "1.0.0")
	if err != nil || len(s.Killed) == 0 || len(agenttest.Running(t, r.Dir.Path)) != 0 {
		t.Fatalf("stop: %+v, %v; want the agent killed", s, err)
	}
	if !alive(shell.Process.Pid) {
		t.Error("the shell that the agent was started from was killed as well")
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAPidFileElsewhereThatNamesAStrangerIsNamedWithTheCommandThatHelps(t *testing.T) {
	for name, c := range map[string]struct {
		assign  string // in the script, of $pidfile
		command string // how it begins
	}{
		"written out":          {"pidfile=ELSEWHERE/falcon.pid", "rm -- "},
		"nobody can guess it":  {"name=falc; pidfile=ELSEWHERE/${name}on.pid", "grep -n -i pid "},
		"with a name to quote": {"pidfile='ELSEWHERE/falcon.pid'", "rm -- '"},
	} {
		t.Run(name, func(t *testing.T) {
			elsewhere := t.TempDir()
			if strings.Contains(name, "quote") {
				elsewhere = filepath.Join(elsewhere, "run+~")
				check(t, os.Mkdir(elsewhere, 0o755))
			}
			file := filepath.Join(elsewhere, "falcon.pid")
			script := strings.ReplaceAll(credulousWithPid.Control, "var/app.pid", "$pidfile")
			script = strings.Replace(script, "mkdir -p var\n", "mkdir -p var\n"+strings.ReplaceAll(c.assign, "ELSEWHERE", elsewhere)+"\n", 1)
			r := newRunner(t, agenttest.Habits{Control: script})
			check(t, r.Dir.Activate("1.0.0"))
			check(t, r.Start(t.Context(), "1.0.0"))
			t.Cleanup(func() { _, _ = r.Stop(context.Background(), "1.0.0") })
			text, _ := os.ReadFile(file)
			pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
			check(t, err)
			check(t, syscall.Kill(pid, syscall.SIGKILL))
			eventually(t, "the application is gone", func() bool { return !alive(pid) })
			stranger := startStranger(t)
			agenttest.Write(t, file, itoa(stranger), 0o644)
			soon := r
			soon.Timeouts.Start = 3 * time.Second
			err = soon.Start(t.Context(), "1.0.0")
			u, ok := errors.AsType[*control.Unrunnable](err)
			if !ok || u.Code != control.CodeStalePid || !u.Host {
				t.Fatalf("start: %v; want a fault of the host", err)
			}
			_, rest, found := strings.Cut(err.Error(), c.command)
			if !found {
				t.Fatalf("start: %v; want %q", err, c.command)
			}
			out, err := exec.Command("sh", "-c", c.command+rest).CombinedOutput()
			if strings.HasPrefix(c.command, "grep") {
				if !strings.Contains(string(out), "pidfile="+elsewhere) {
					t.Errorf("the command printed %q, %v; want the line with the file", out, err)
				}
				return
			}
			check(t, err)
			check(t, r.Start(t.Context(), "1.0.0"))
			if !alive(stranger) {
				t.Error("the stranger was killed")
			}
		})
	}
}
