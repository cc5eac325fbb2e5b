package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScripts runs testdata/script/*.txt against the real programs: each
// script in a directory of its own with ops-updater and ops-meta in PATH.
//
// A script finds in its environment: ROOT, this repository; ARCH, such as
// linux_amd64. Beside testscript's own commands it may use those of commands,
// in e2e_commands_test.go: add yours there.
func TestScripts(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED end-to-end scripts: -short")
	}
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:      filepath.Join("testdata", "script"),
		Cmds:     commands,
		TestWork: os.Getenv("TESTWORK") != "",
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
			env.Setenv("ROOT", root)
			env.Setenv("BIN", bin)
			env.Setenv("ARCH", arch())
			env.Setenv("NO_COLOR", "1")
			env.Defer(func() { killDaemons(env.WorkDir) })
			return nil
		},
	})
}

// programs builds both programs once, the sidecar with its fault points.
var programs = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "ops-updater-e2e-")
	if err != nil {
		return "", err
	}
	built = dir
	for _, args := range [][]string{
		{"-tags", "faultpoints", "-o", filepath.Join(dir, "ops-updater"), "."},
		{"-o", filepath.Join(dir, "ops-meta"), "./cmd/ops-meta"},
	} {
		cmd := exec.Command("go", append([]string{"build"}, args...)...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("go build %s: %w\n%s", strings.Join(args, " "), err, out)
		}
	}
	return dir, nil
})

var built string

func TestMain(m *testing.M) {
	m.Run()
	if built != "" {
		_ = os.RemoveAll(built)
	}
}
