package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ops-updater/ops-updater/meta/api"
)

const sidecarAgent = "ops-updater"

// TestARolloutOfTheSidecarItself moves twenty real sidecars to another version of
// themselves, through the rollouts of a real server; a release that crashes stops at
// its canary, which comes back.
func TestARolloutOfTheSidecarItself(t *testing.T) {
	t.Parallel()
	if os.Getenv("OPS_UPDATER_MATRIX") != "all" {
		t.Skip("SKIPPED 20 sidecars that update themselves twice: make matrix tries it")
	}
	const good, bad = "7.0.1-rollout.test", "7.0.2-rollout.test"
	f := newRealFleet(t)
	f.nameStrategies()
	f.publishSidecar(good, sidecarProgram(t, good))
	f.publishSidecar(bad, []byte("#!/bin/sh\ncase $1 in --version) echo "+bad+";; check) ;; *) exit 7;; esac\n"))
	processes := f.processes()

	f.meta(0, "deploy", sidecarAgent, good, "--strategy", "quick", "--watch")
	f.awaitSidecars(map[string]int{good: fleetSize})
	f.wantReasons(f.latest(), "stage-started", "stage-started", "stage-started", "completed")
	for _, h := range f.list() {
		if h.UpdaterVersion != good {
			t.Errorf("%s says that its sidecar is %s", h.Name, h.UpdaterVersion)
		}
	}

	f.meta(4, "deploy", sidecarAgent, bad, "--strategy", "quick", "--watch")
	r := f.latest()
	if r.State != api.RolloutPaused || r.Reason != "too-many-failures" || r.Stage != 0 {
		t.Fatalf("the rollout is %s (%s) in stage %d", r.State, r.Reason, r.Stage)
	}
	grants := f.grants(r.ID)
	if len(grants) != 1 || grants[0].Reason != "host-rolled-back" || grants[0].HostReason != "takeover-died" {
		t.Fatalf("grants are %+v, want the canary's", grants)
	}
	f.awaitSidecars(map[string]int{good: fleetSize})
	for i, pid := range f.processes() {
		if h := f.hosts[i]; pid != processes[i] && h.name != grants[0].Host {
			t.Errorf("%s has process %s; it was %s", h.name, pid, processes[i])
		}
	}
}

// sidecarProgram is the real program, as version.
func sidecarProgram(t *testing.T, version string) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), sidecarAgent)
	cmd := exec.Command("go", "build", "-ldflags", "-s -w -X "+module+"/internal/buildinfo.version="+version, "-o", path, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func (f *realFleet) publishSidecar(version string, program []byte) {
	f.t.Helper()
	dir := filepath.Join(f.dir, "pack", version)
	f.must(os.MkdirAll(dir, 0o755))
	control, err := os.ReadFile("control")
	f.must(err)
	f.must(os.WriteFile(filepath.Join(dir, "control"), control, 0o755))
	f.must(os.WriteFile(filepath.Join(dir, sidecarAgent), program, 0o755))
	tarball := filepath.Join(f.dir, "pack", sidecarAgent+"-"+version+".tar.gz")
	if out, err := exec.Command("tar", "-C", dir, "-czf", tarball, "control", sidecarAgent).CombinedOutput(); err != nil {
		f.t.Fatalf("tar: %v\n%s", err, out)
	}
	f.meta(0, "publish", tarball, "--arch", arch())
}

// awaitSidecars waits until so many hosts have a version of the sidecar, with nothing
// under way.
func (f *realFleet) awaitSidecars(want map[string]int) {
	f.t.Helper()
	f.await(fmt.Sprintf("sidecars by version to be %v", want), func() bool {
		n := map[string]int{}
		for _, h := range f.list() {
			for _, a := range h.Agents {
				if a.Name == sidecarAgent && a.Status == "started" && (a.Phase == "idle" || a.Phase == "rolledBack") {
					n[a.Version]++
				}
			}
		}
		return fmt.Sprint(n) == fmt.Sprint(want)
	})
}

// processes are the numbers of the hosts' sidecars.
func (f *realFleet) processes() (pids []string) {
	f.t.Helper()
	for _, h := range f.hosts {
		file := filepath.Join(h.dir, "var", "app.pid")
		f.await(file, func() bool { _, err := os.Stat(file); return err == nil })
		pid, err := os.ReadFile(file)
		f.must(err)
		pids = append(pids, strings.TrimSpace(string(bytes.TrimRight(pid, "\x00"))))
	}
	return pids
}
