package updater_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/internal/agenttest"
)

// A directory on which something is mounted cannot be removed.
func TestWhatCannotBeCleanedUpIsSaidUntilItIsGone(t *testing.T) {
	h := newHost(t)
	h.cfg.Keep = 2
	h.boot()
	for _, v := range []string{"1.0.0", "1.0.1"} {
		h.apply(h.origin.publish(t, "falcon", v, agenttest.Habits{}))
		h.runs("falcon", v)
	}
	mounted := filepath.Join(h.agentDir("falcon"), "1.0.0", "mounted")
	must(t, os.Mkdir(mounted, 0o755))
	if err := syscall.Mount("tmpfs", mounted, "tmpfs", 0, "size=1m"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("NOT TESTED: leftovers that cannot be removed: %v", err)
		}
		t.Skipf("NOT TESTED: leftovers that cannot be removed: %v", err)
	}
	trash := filepath.Join(h.agentDir("falcon"), ".trash-1.0.0")
	moved := filepath.Join(trash, "mounted")
	t.Cleanup(func() {
		_ = syscall.Unmount(mounted, syscall.MNT_DETACH)
		_ = syscall.Unmount(moved, syscall.MNT_DETACH)
	})

	h.apply(h.origin.publish(t, "falcon", "1.0.2", agenttest.Habits{}))
	h.await("falcon", "said that it cannot be cleaned up", func(a meta.RealAgent) bool {
		return a.Version == "1.0.2" && a.Phase == meta.PhaseIdle && a.Reason != "" && strings.Contains(a.Error, "cannot clean up")
	})
	h.checkRunning("falcon", "1.0.2")
	must(t, syscall.Unmount(moved, 0))
	h.await("falcon", "clean", func(a meta.RealAgent) bool { return a.Phase == meta.PhaseIdle && a.Error == "" && a.Reason == "" })
	if _, err := os.Stat(trash); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", trash, err)
	}
}
