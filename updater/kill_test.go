package updater_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/agent"
	"github.com/ops-updater/ops-updater/updater/internal/agenttest"
)

// faultyBinary builds the real program with its fault points, once.
var (
	faultyBinary = sync.OnceValues(buildFaulty)
	builtTo      string
)

func buildFaulty() (string, error) {
	dir, err := os.MkdirTemp("", "ops-updater-faults-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "ops-updater")
	out, err := exec.Command("go", "build", "-tags", "faultpoints", "-o", path, "github.com/ops-updater/ops-updater").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	builtTo = path
	return path, nil
}

// server is an ops-meta that says what it is told to and remembers what it heard.
type server struct {
	*httptest.Server
	mu     sync.Mutex
	reply  []meta.DesiredAgent
	heard  map[string]meta.RealAgent
	beats  int
	errors []string // every distinct error that was reported
}

func newServer(t *testing.T) *server {
	if testing.Short() {
		t.Skip("SKIPPED with -short: sidecars against a server")
	}
	s := &server{heard: map[string]meta.RealAgent{}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var req meta.HeartbeatRequest
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.beats++
	clear(s.heard)
	for _, a := range req.RealAgents {
		s.heard[a.Name] = a
		if a.Error != "" && !slices.Contains(s.errors, a.Error) {
			s.errors = append(s.errors, a.Error)
		}
	}
	_ = json.NewEncoder(w).Encode(meta.HeartbeatResponse{DesiredAgents: s.reply})
}

func (s *server) want(agents ...meta.DesiredAgent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reply = agents
}

func (s *server) last(name string) meta.RealAgent {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.heard[name]
}

// sidecar is the real program on a host of its own.
type sidecar struct {
	t      *testing.T
	dir    string
	server *server
	origin *origin
	cmd    *exec.Cmd
	ended  chan struct{}
}

func newSidecar(t *testing.T) *sidecar {
	if testing.Short() {
		t.Skip("SKIPPED with -short: sidecars that are killed")
	}
	t.Helper()
	s := &sidecar{t: t, dir: t.TempDir(), server: newServer(t), origin: newOrigin(t)}
	agenttest.CleanUp(t, s.dir)
	cfg := map[string]any{
		"server": s.server.URL, "interval": 1, "probation": "300ms", "work_dir": "work", "var_dir": "var", "hostname": "h",
		"start_timeout": "20s", "stop_timeout": "20s", "reserve": 0,
	}
	data, err := json.Marshal(cfg)
	must(t, err)
	agenttest.Write(t, filepath.Join(s.dir, "cfg.json"), string(data), 0o644)
	t.Cleanup(func() {
		s.end()
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(s.dir, "var/app.log"))
			t.Logf("log:\n%s", log)
		}
	})
	return s
}

// start starts the program; fault is point:action, or empty.
func (s *sidecar) start(fault string) {
	s.t.Helper()
	binary, err := faultyBinary()
	must(s.t, err)
	s.cmd = exec.Command(binary, "-c", filepath.Join(s.dir, "cfg.json"))
	s.cmd.Dir = s.dir
	s.cmd.Env = append(os.Environ(), "OPS_UPDATER_FAULT=")
	if fault != "" {
		s.cmd.Env = append(os.Environ(), "OPS_UPDATER_FAULT="+fault+":"+s.onceFile())
	}
	out, err := os.Create(filepath.Join(s.dir, "output"))
	must(s.t, err)
	s.cmd.Stdout, s.cmd.Stderr = out, out
	must(s.t, s.cmd.Start())
	_ = out.Close()
	ended, cmd := make(chan struct{}), s.cmd
	go func() { defer close(ended); _ = cmd.Wait() }()
	s.ended = ended
}

func (s *sidecar) onceFile() string { return filepath.Join(s.dir, "fault-happened") }

func (s *sidecar) end() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.ended:
	case <-time.After(patience):
		s.t.Error("the sidecar did not end on SIGTERM")
		_ = s.cmd.Process.Kill()
		<-s.ended
	}
	s.cmd = nil
}

func (s *sidecar) awaitKilled() {
	s.t.Helper()
	select {
	case <-s.ended:
	case <-time.After(patience):
		s.t.Fatal("the fault point was never reached")
	}
	if status, ok := s.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		out, _ := os.ReadFile(filepath.Join(s.dir, "output"))
		s.t.Fatalf("the sidecar ended by itself: %v\n%s", s.cmd.ProcessState, out)
	}
	s.cmd = nil
}

func (s *sidecar) await(what string, ok func() bool) {
	s.t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			s.t.Fatalf("never: %s; last heard of falcon: %+v", what, s.server.last("falcon"))
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (s *sidecar) awaitReport(version string, phase meta.Phase) {
	s.t.Helper()
	s.await(fmt.Sprintf("falcon %s in phase %s", version, phase), func() bool {
		a := s.server.last("falcon")
		return a.Version == version && a.Phase == phase && (version == "" || a.Status == meta.StatusStarted)
	})
}

// checkI1: .version names a complete version, whatever happened.
func (s *sidecar) checkI1() {
	s.t.Helper()
	d := agent.Dir{Path: filepath.Join(s.dir, "work/falcon"), Name: "falcon"}
	if v, err := d.Current(); err != nil || v != "" && !d.Complete(v) {
		s.t.Errorf("I1: .version names %q: %v", v, err)
	}
}

// checkHost: the host has come to rest with version, or nothing, running.
func (s *sidecar) checkHost(version string) {
	s.t.Helper()
	dir := filepath.Join(s.dir, "work/falcon")
	s.checkI1()
	want := []string{version}
	if version == "" {
		want = nil
	}
	if got := running(s.t, dir, len(want)); !slices.Equal(got, want) {
		s.t.Errorf("I2: running %v; want %v", got, want)
	}
	for _, e := range agenttest.Events(s.t, dir) {
		if e.What == "two-at-once" {
			s.t.Errorf("I3: %s was started while another version ran", e.Version)
		}
	}
	s.checkFiles(dir)
	for _, e := range noted(s.t, filepath.Join(s.dir, "work/bystander"), 1)[1:] {
		s.t.Errorf("I6: the bystander was disturbed: %+v", e)
	}
}

func (s *sidecar) checkFiles(dir string) {
	s.t.Helper()
	known := []string{"cfg.json", "fault-happened", "output", "var", "work"}
	for _, e := range entries(s.t, s.dir) {
		if !slices.Contains(known, e) {
			s.t.Errorf("I4: written outside: %s", e)
		}
	}
	versions := 0
	for _, e := range entries(s.t, dir) {
		switch {
		case meta.ValidName(e) && !strings.HasPrefix(e, "var-"):
			versions++
		case strings.HasPrefix(e, ".part") || strings.HasPrefix(e, ".staging") || strings.HasPrefix(e, ".trash") || strings.Contains(e, ".tmp-"):
			s.t.Errorf("I5: left behind: %s", e)
		}
	}
	if versions > 2 {
		s.t.Errorf("I5: %d versions are kept", versions)
	}
}

func entries(t *testing.T, dir string) []string {
	t.Helper()
	all, err := os.ReadDir(dir)
	must(t, err)
	var names []string
	for _, e := range all {
		names = append(names, e.Name())
	}
	return names
}

// Fault points, in the order that a transaction passes them.
var (
	forward = []string{
		"sidecar.downloading", "sidecar.staging", "sidecar.stopping", "sidecar.stopped", "sidecar.starting",
		"sidecar.activated", "sidecar.started", "sidecar.probation", "sidecar.proved", "sidecar.ended",
		"child.install.before", "install.downloaded", "install.staged", "install.synced", "child.install.after",
		"child.stop.before", "control.stop", "child.stop.after", "child.activate.before", "activate.write", "activate.done",
		"child.start.before", "control.start", "child.start.after", "child.probe.before", "child.probe.after",
	}
	backward = []string{
		"sidecar.rollingBack", "sidecar.flippedBack", "sidecar.restarted", "sidecar.ended", "child.prune.before",
	}
	nothing = []string{"sidecar.rollingBack", "child.deactivate.before", "child.deactivate.after", "sidecar.flippedBack"}
)

// TestI1I2I3I4I5I6I7KillDuringAnUpgrade kills the sidecar, or the child, with
// SIGKILL at every state of an upgrade that is good, and of one that has to be
// rolled back, and looks at the invariants after a restart.
func TestI1I2I3I4I5I6I7KillDuringAnUpgrade(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: kill tests take a minute")
	}
	for i, point := range forward {
		// The fault matrix kills there, too.
		if i%4 != 2 && os.Getenv("OPS_UPDATER_MATRIX") != "all" {
			continue
		}
		t.Run("good/"+point, func(t *testing.T) {
			t.Parallel()
			killDuringUpgrade(t, point, agenttest.Habits{}, "1.0.1", meta.PhaseIdle)
		})
	}
	bad := agenttest.Habits{Health: "echo 'queue full'; exit 1"}
	for _, point := range backward {
		t.Run("bad/"+point, func(t *testing.T) {
			t.Parallel()
			killDuringUpgrade(t, point, bad, "1.0.0", meta.PhaseRolledBack)
		})
	}
	for _, point := range nothing {
		t.Run("first/"+point, func(t *testing.T) {
			t.Parallel()
			s := newSidecar(t)
			s.server.want(s.bystander())
			s.start("")
			s.await("the bystander", func() bool { return s.server.last("bystander").Phase == meta.PhaseIdle })
			s.end()
			s.kill(point, s.origin.publish(t, "falcon", "1.0.0", bad), "", meta.PhaseFailed)
		})
	}
}

func killDuringUpgrade(t *testing.T, point string, h agenttest.Habits, version string, phase meta.Phase) {
	s := newSidecar(t)
	v1 := s.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{})
	s.server.want(v1, s.bystander())
	s.start("")
	s.awaitReport("1.0.0", meta.PhaseIdle)
	s.await("the bystander", func() bool { return s.server.last("bystander").Phase == meta.PhaseIdle })
	s.end()
	s.kill(point, s.origin.publish(t, "falcon", "1.0.1", h), version, phase)
}

func (s *sidecar) bystander() meta.DesiredAgent {
	return s.origin.publish(s.t, "bystander", "1.0.0", agenttest.Habits{})
}

// kill lets the fault happen on the way to what is wanted, and looks at where
// the host comes to rest.
func (s *sidecar) kill(point string, want meta.DesiredAgent, version string, phase meta.Phase) {
	s.t.Helper()
	s.server.want(want, s.bystander())
	s.start(point + ":kill")
	if strings.HasPrefix(point, "sidecar.") {
		s.awaitKilled()
		s.checkI1()
		s.start("")
	} else {
		s.await("the fault point was reached", func() bool {
			_, err := os.Stat(s.onceFile())
			return err == nil
		})
		s.checkI1()
	}
	if version != "" || phase != meta.PhaseFailed {
		s.awaitReport(version, phase)
	} else {
		s.await("falcon failed", func() bool { return s.server.last("falcon").Phase == meta.PhaseFailed })
	}
	s.checkHost(version)
	s.checkTold(want.Version == version)
}

// checkTold: I7, what went wrong is in the heartbeat and in the log.
func (s *sidecar) checkTold(good bool) {
	s.t.Helper()
	if good {
		return
	}
	if a := s.server.last("falcon"); !strings.Contains(a.Error, "queue full") {
		s.t.Errorf("I7: the heartbeat does not say why: %+v", a)
	}
	log, err := os.ReadFile(filepath.Join(s.dir, "var/app.log"))
	if err != nil || !strings.Contains(string(log), "queue full") {
		s.t.Errorf("I7: the log does not say why: %v", err)
	}
}
