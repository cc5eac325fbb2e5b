package updater_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/ops-updater/ops-updater/internal/host/control"
	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/internal/agenttest"
)

// appPid is the process of the version that runs, which the test ends.
func (h *host) appPid(name, version string) int {
	h.t.Helper()
	text, err := os.ReadFile(filepath.Join(h.agentDir(name), version, "var/app.pid"))
	must(h.t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	must(h.t, err)
	h.t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
	return pid
}

func lives(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && !strings.Contains(string(stat), ") Z")
}

func TestI3NothingIsInstalledBesideAnAgentOnAnUnmountedFilesystem(t *testing.T) {
	for name, hide := range map[string]func(t *testing.T, dir string) error{
		"unmounted": func(_ *testing.T, dir string) error { return syscall.Unmount(dir, syscall.MNT_DETACH) },
		"mounted over": func(t *testing.T, dir string) error {
			t.Helper()
			t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
			return syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=8m")
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := onDisk(t)
			v2 := h.origin.publish(t, "falcon", "1.0.1", agenttest.Habits{})
			h.boot()
			h.apply(h.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{}))
			h.runs("falcon", "1.0.0")
			pid := h.appPid("falcon", "1.0.0")
			must(t, hide(t, h.cfg.DefaultWorkDir))
			h.apply(v2)
			a := h.await("falcon", "seen where it is", func(a meta.RealAgent) bool { return a.Reason == control.CodeDisplaced })
			if a.Phase != meta.PhaseFailed || !strings.Contains(a.Error, "process "+strconv.Itoa(pid)) || !lives(pid) {
				t.Errorf("report %+v; want the process named and alive", a)
			}
			if left, _ := os.ReadDir(h.cfg.DefaultWorkDir); len(left) > 0 {
				t.Errorf("something was installed: %v", left)
			}
			must(t, syscall.Kill(pid, syscall.SIGKILL))
			h.runs("falcon", "1.0.1")
		})
	}
}

func TestI3WhatRunsInARemovedDirectoryIsEndedBeforeAnotherVersionStarts(t *testing.T) {
	h := newHost(t)
	h.boot()
	h.apply(h.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{}))
	h.runs("falcon", "1.0.0")
	pid := h.appPid("falcon", "1.0.0")
	must(t, os.RemoveAll(h.agentDir("falcon")))
	h.apply(h.origin.publish(t, "falcon", "1.0.1", agenttest.Habits{}))
	a := h.runs("falcon", "1.0.1")
	if lives(pid) || !strings.Contains(a.Error, "was removed") {
		t.Errorf("it lives: %v; report %+v", lives(pid), a)
	}
	h.checkRunning("falcon", "1.0.1")
}

func TestI3AVersionThatMayNotBeEnteredIsNotTakenForMissing(t *testing.T) {
	u := agenttest.NeedUser(t)
	h := underRoot(t)
	must(t, os.MkdirAll(h.cfg.DefaultWorkDir, 0o755))
	wanted := func(version string) meta.DesiredAgent {
		a := h.origin.publish(t, "falcon", version, agenttest.Habits{})
		a.RunUser = u.Username
		return a
	}
	h.boot()
	h.apply(wanted("1.0.0"))
	h.runs("falcon", "1.0.0")
	pid := h.appPid("falcon", "1.0.0")
	closed := filepath.Join(h.agentDir("falcon"), "1.0.0")
	must(t, os.Chown(closed, 0, 0))
	must(t, os.Chmod(closed, 0o700))
	h.apply(wanted("1.0.1"))
	a := h.await("falcon", "not to be reached", func(a meta.RealAgent) bool { return a.Reason == control.CodeNoAccess })
	if !strings.Contains(a.Error, u.Username+" may not enter "+closed) || !lives(pid) {
		t.Errorf("report %+v, alive: %v; want the directory named and the agent untouched", a, lives(pid))
	}
	must(t, os.Chmod(closed, 0o755))
	give(t, u, closed)
	h.runs("falcon", "1.0.1") // by itself
	h.checkRunning("falcon", "1.0.1")
}

// TestI3VersionIsLostDuringAnUpgrade: what ran before runs on while nothing names it, and is
// neither removed nor left beside what replaces it.
func TestI3VersionIsLostDuringAnUpgrade(t *testing.T) {
	for name, removed := range map[string]bool{"the version is there": false, "its directory was removed": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			h.cfg.Keep = 2
			v3 := h.origin.publish(t, "falcon", "1.0.2", agenttest.Habits{})
			h.boot()
			for _, v := range []string{"1.0.0", "1.0.1"} {
				h.apply(h.origin.publish(t, "falcon", v, agenttest.Habits{}))
				h.runs("falcon", v)
			}
			pid := h.appPid("falcon", "1.0.1")
			h.halt()
			h.halfDone("1.0.1", "1.0.2", meta.PhaseStaging, 0)
			must(t, os.WriteFile(filepath.Join(h.agentDir("falcon"), ".version"), nil, 0o644))
			if removed { // as a prune does it
				trash := filepath.Join(h.agentDir("falcon"), ".trash-1.0.1")
				must(t, os.Rename(filepath.Join(h.agentDir("falcon"), "1.0.1"), trash))
				must(t, os.RemoveAll(trash))
			}
			h.boot()
			h.apply(v3)
			h.runs("falcon", "1.0.2")
			h.checkRunning("falcon", "1.0.2")
			if lives(pid) {
				t.Error("1.0.1 runs on beside it")
			}
		})
	}
}
