package packaging_test

import (
	"errors"
	"os"
	"os/exec"
	"testing"
)

// TestPackages installs, upgrades, downgrades, removes and purges the packages with the
// real dpkg and rpm under a real systemd.
func TestPackages(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED with -short: makes a release and boots a system")
	}
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: only root can install packages")
	}
	if _, err := exec.LookPath("dpkg"); err != nil {
		t.Skip("SKIPPED: this is no Debian")
	}
	cmd := exec.Command("scripts/try-packages")
	cmd.Dir = ".." // where the scripts are
	out, err := cmd.CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == 77 {
		t.Skipf("SKIPPED: %s", out)
	}
	if err != nil {
		t.Fatalf("scripts/try-packages: %v\n%s", err, out)
	}
}
