package soak_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/ops-updater/ops-updater/internal/soak"
)

// TestSoakI1I2I3I4I5I6I7 shakes a real sidecar until OPS_SOAK_KILLS processes were
// killed (20 unless told), as OPS_SOAK_SEED decides.
func TestSoakI1I2I3I4I5I6I7(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED with -short: a sidecar that is killed all the time")
	}
	dir, err := os.MkdirTemp("", "ops-updater-soak-") // t.TempDir is part of names, and sockets' are short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	binary := filepath.Join(t.TempDir(), "ops-updater")
	build := exec.Command("go", "build", "-tags", "faultpoints", "-o", binary, "github.com/ops-updater/ops-updater")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	tally, err := soak.Run(t.Context(), soak.Options{
		Seed: number(t, "OPS_SOAK_SEED", 1), Kills: int(number(t, "OPS_SOAK_KILLS", 20)), Burst: int(number(t, "OPS_SOAK_BURST", 45)),
		Binary: binary, Dir: dir, Progress: t.Logf,
	})
	for _, untried := range tally.Untried {
		if os.Getenv("CI") == "true" {
			t.Errorf("NOT TESTED: %s", untried)
		}
		t.Logf("NOT TESTED: %s", untried)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Log(tally)
	if tally.Wanted == 0 || tally.Previous == 0 {
		t.Errorf("a run in which everything, or nothing, went well shows nothing: %v", tally)
	}
}

func number(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}
