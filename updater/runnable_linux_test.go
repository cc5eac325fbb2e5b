package updater_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/ops-updater/ops-updater/internal/host/control"
	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater"
	"github.com/ops-updater/ops-updater/updater/config"
	"github.com/ops-updater/ops-updater/updater/install"
	"github.com/ops-updater/ops-updater/updater/internal/agenttest"
	"github.com/ops-updater/ops-updater/updater/plan"
)

func remount(t *testing.T, dir string, flags uintptr) {
	t.Helper()
	must(t, syscall.Mount("", dir, "", syscall.MS_REMOUNT|flags, ""))
}

// onDisk is a host whose work directory is a filesystem of its own.
func onDisk(t *testing.T) *host {
	t.Helper()
	h := newHost(t)
	disk := mountDisk(t)
	h.cfg.DefaultWorkDir, h.cfg.Limits.Reserve = disk, 0
	agenttest.CleanUp(t, disk)
	return h
}

func (h *host) blamed(name string) bool {
	h.t.Helper()
	for _, s := range h.engine.States() {
		if s.Name == name && slices.ContainsFunc(s.Blocks, func(b plan.Block) bool { return b.Quarantine }) {
			return true
		}
	}
	return false
}

func TestI2NothingIsStoppedWhereNothingCanBeExecuted(t *testing.T) {
	h := onDisk(t)
	v1 := h.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{})
	v2 := h.origin.publish(t, "falcon", "1.0.1", agenttest.Habits{})
	stop := v1
	stop.Cmd = meta.CmdStop
	changed := v1
	changed.ConfigFileName, changed.ConfigRemoteURL = "app.json", h.origin.URL+"/app.json"
	h.origin.put("app.json", []byte("old"))
	h.boot()
	h.apply(changed)
	h.runs("falcon", "1.0.0")
	before := len(noted(t, h.agentDir("falcon"), 1))
	remount(t, h.cfg.DefaultWorkDir, syscall.MS_NOEXEC)
	for name, wanted := range map[string]meta.DesiredAgent{"an upgrade": v2, "a stop": stop} {
		h.apply(wanted)
		a := h.await("falcon", "refused "+name, func(a meta.RealAgent) bool {
			return a.Phase == meta.PhaseFailed && a.Reason == control.CodeNoExec
		})
		if !strings.Contains(a.Error, "is mounted noexec") || a.Version != "1.0.0" || h.blamed("falcon") {
			t.Errorf("%s: report %+v; want the mount named and no release blamed", name, a)
		}
	}
	findings := updater.Check(t.Context(), config.Config{VarDir: h.cfg.VarDir, WorkDir: h.cfg.DefaultWorkDir})
	if !slices.ContainsFunc(findings, func(f updater.Finding) bool {
		return f.Name == "work_dir" && f.Verdict == updater.VerdictWarn && strings.Contains(f.Detail, "noexec")
	}) {
		t.Errorf("check does not say it beforehand: %+v", findings)
	}
	if events := agenttest.Events(t, h.agentDir("falcon")); len(events) != before {
		t.Errorf("the agent was disturbed: %+v", events[before:])
	}
	h.checkRunning("falcon", "1.0.0")
	remount(t, h.cfg.DefaultWorkDir, 0)
	h.apply(v2)
	must(t, h.engine.Clear("falcon"))
	h.runs("falcon", "1.0.1")
}

func TestI2ARollbackWaitsForAHostOnWhichNothingCanBeExecuted(t *testing.T) {
	h := onDisk(t)
	h.boot()
	h.apply(h.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{}))
	h.runs("falcon", "1.0.0")
	v2 := h.origin.publish(t, "falcon", "1.0.1", agenttest.Habits{Health: "exit 1"})
	v2.Probation = 15
	h.apply(v2)
	h.await("falcon", "began its probation", func(a meta.RealAgent) bool { return a.Phase == meta.PhaseProbation })
	remount(t, h.cfg.DefaultWorkDir, syscall.MS_NOEXEC)
	h.logSays("mounted noexec", "trying again")
	h.checkRunning("falcon", "1.0.1") // better than nothing
	remount(t, h.cfg.DefaultWorkDir, 0)
	a := h.await("falcon", "went back", func(a meta.RealAgent) bool { return a.Phase == meta.PhaseRolledBack && a.Status == meta.StatusStarted })
	if !strings.Contains(a.Error, "not healthy") {
		t.Errorf("report: %+v; want the release's own fault", a)
	}
	h.checkRunning("falcon", "1.0.0")
}

func TestWhatRunsIsNotStoppedWithoutItsScript(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.boot()
	h.apply(h.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{}))
	h.runs("falcon", "1.0.0")
	script := filepath.Join(h.agentDir("falcon"), "1.0.0/control")
	must(t, os.Chmod(script, 0o644))
	h.apply(h.origin.publish(t, "falcon", "1.0.1", agenttest.Habits{}))
	a := h.await("falcon", "refused", func(a meta.RealAgent) bool {
		return a.Phase == meta.PhaseFailed && a.Reason == control.CodeNotExecutable
	})
	if !strings.Contains(a.Error, "1.0.0 runs on, because it could neither be stopped properly nor come back: cannot run "+script) || h.blamed("falcon") {
		t.Errorf("report: %+v", a)
	}
	h.checkRunning("falcon", "1.0.0")
	agenttest.Kill(t, h.agentDir("falcon")) // of which nothing runs is not in the way
	must(t, h.engine.Clear("falcon"))
	h.runs("falcon", "1.0.1")
}

// alienProgram is a program of the kind of machine that this one is not.
func alienProgram(t *testing.T) string {
	t.Helper()
	program, err := os.ReadFile("/proc/self/exe")
	must(t, err)
	const machine, amd64, arm64 = 18, 62, 183
	program = program[:4096]
	if program[machine] == amd64 {
		program[machine] = arm64
	} else {
		program[machine], program[machine+1] = amd64, 0
	}
	return string(program)
}

func TestAReleaseThatNobodyCanRunIsRefusedBeforeTheStop(t *testing.T) {
	t.Parallel()
	script := agenttest.Habits{}.Script()
	alien := filepath.Join(t.TempDir(), "sh")
	must(t, os.WriteFile(alien, []byte(alienProgram(t)), 0o755))
	cases := []struct {
		name, control, code string
		blamed              bool
	}{
		{"line ends", strings.ReplaceAll(script, "\n", "\r\n"), install.CodeBadControl, true},
		{"no first line", strings.TrimPrefix(script, "#!/bin/sh\n"), install.CodeBadControl, true},
		{"interpreter", strings.Replace(script, "/bin/sh", "/opt/nowhere/bin/sh", 1), control.CodeNoInterpreter, false},
		{"interpreter by env", strings.Replace(script, "/bin/sh", "/usr/bin/env -S nonesuch --posix", 1), control.CodeNoInterpreter, false},
		{"own machine", alienProgram(t), control.CodeWrongMachine, true},
		{"interpreter's machine", strings.Replace(script, "/bin/sh", alien, 1), control.CodeWrongMachine, false},
		{"interpreter that is no program", strings.Replace(script, "/bin/sh", "/etc/passwd", 1), control.CodeNotExecutable, false},
	}
	h := newHost(t)
	h.boot()
	h.apply(h.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{}))
	h.runs("falcon", "1.0.0")
	for i, c := range cases {
		bad := h.origin.publish(t, "falcon", fmt.Sprintf("1.1.%d", i), agenttest.Habits{Control: c.control})
		h.apply(bad)
		a := h.await("falcon", "failed because of its "+c.name, func(a meta.RealAgent) bool {
			return a.Phase == meta.PhaseFailed && a.DesiredVersion == bad.Version && a.Reason == c.code
		})
		if got := h.blamed("falcon"); got != c.blamed {
			t.Errorf("%s: blamed: %v; report %+v", c.name, got, a)
		}
		must(t, h.engine.Clear("falcon"))
	}
	if events := noted(t, h.agentDir("falcon"), 1); len(events) != 1 {
		t.Errorf("the agent was disturbed: %+v", events)
	}
}
