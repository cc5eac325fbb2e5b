package updater_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater"
	"github.com/ops-updater/ops-updater/updater/config"
	"github.com/ops-updater/ops-updater/updater/internal/agenttest"
)

// The version that is wanted is on disk already, so that no download meets the
// full disk before the switch does.
func TestI2NothingIsStoppedOnAFullDisk(t *testing.T) {
	h := newHost(t)
	disk := mountDisk(t)
	v1 := h.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{})
	v2 := h.origin.publish(t, "falcon", "1.0.1", agenttest.Habits{})
	h.cfg.DefaultWorkDir, h.cfg.Limits.Reserve = disk, 0
	agenttest.CleanUp(t, disk)
	h.boot()
	h.apply(v2)
	h.runs("falcon", "1.0.1")
	h.apply(v1)
	h.runs("falcon", "1.0.0")
	before := len(noted(t, h.agentDir("falcon"), 3)) // up, down, up

	full := filepath.Join(disk, "full")
	fill(t, full)
	h.apply(v2)
	a := h.await("falcon", "failed", func(a meta.RealAgent) bool { return a.Phase == meta.PhaseFailed })
	if a.Status != meta.StatusStarted || a.Version != "1.0.0" || !strings.Contains(a.Error, "cannot be written") {
		t.Errorf("report: %+v", a)
	}
	h.checkRunning("falcon", "1.0.0")
	if events := agenttest.Events(t, h.agentDir("falcon")); len(events) != before {
		t.Errorf("the agent was disturbed: %+v", events[before:])
	}
	must(t, os.Remove(full))
	must(t, h.engine.Clear("falcon"))
	h.runs("falcon", "1.0.1")
}

func TestCheckWarnsOfAFullDisk(t *testing.T) {
	for _, key := range []string{"var_dir", "work_dir"} {
		t.Run(key, func(t *testing.T) {
			disk, top := mountDisk(t), t.TempDir()
			write(t, filepath.Join(top, "cfg.json"), `{"server":"127.0.0.1:1","reserve":"1MB","`+key+`":"`+disk+`"}`)
			c, err := config.Load(filepath.Join(top, "cfg.json"))
			must(t, err)
			verdict := func() (f updater.Finding) {
				all := updater.Check(t.Context(), c)
				return all[slices.IndexFunc(all, func(f updater.Finding) bool { return f.Name == key })]
			}
			if f := verdict(); f.Verdict != updater.VerdictOK {
				t.Errorf("with space: %+v", f)
			}
			fill(t, filepath.Join(disk, "full"))
			if f := verdict(); f.Verdict != updater.VerdictWarn || !strings.Contains(f.Detail, "too little is free") {
				t.Errorf("without space: %+v", f)
			}
		})
	}
}

// mountDisk makes a small filesystem of its own.
func mountDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=8m"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("NOT TESTED: a full disk: %v", err)
		}
		t.Skipf("NOT TESTED: a full disk: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// fill writes to path until nothing more fits.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	must(t, err)
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	must(t, f.Close())
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}
