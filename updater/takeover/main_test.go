package takeover_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/internal/hostlab"
	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/internal/agenttest"
	"github.com/ops-updater/ops-updater/updater/takeover"
)

func TestMain(m *testing.M) {
	// They wait for timeouts most of the time, not for the machine.
	mustSet(flag.Set("test.parallel", "6"))
	code := m.Run()
	if built != "" {
		_ = os.RemoveAll(built)
	}
	os.Exit(code)
}

// patience is how long a test waits for what must come; far more than it takes.
const patience = 3 * time.Minute

// Versions of the sidecar. They have one length, so that one build can be made any
// of them: see program.
const (
	v0 = "1.0.0-takeover.test"
	v1 = "1.0.1-takeover.test"
	v2 = "1.0.2-takeover.test"
	v3 = "1.0.3-takeover.test"
)

var built string

// build builds the real program with its fault points, once, as v0.
var build = sync.OnceValues(func() (*hostlab.Sidecar, error) {
	dir, err := os.MkdirTemp("", "ops-updater-takeover-")
	if err != nil {
		return nil, err
	}
	built = dir
	return hostlab.BuildSidecar("../..", dir, v0)
})

func sidecar(t testing.TB) *hostlab.Sidecar {
	t.Helper()
	s, err := build()
	must(t, err)
	return s
}

// program is the real program as that version.
func program(t testing.TB, version string) []byte {
	t.Helper()
	return sidecar(t).Program(t, version)
}

// impostor is a release's program that is a script: it says its version and passes
// its check, and then does as the lines say.
func impostor(version, check, run string) []byte {
	return []byte("#!/bin/sh\ncase $1 in\n--version) echo " + version + ";;\ncheck) " + check + ";;\n*) " + run + ";;\nesac\n")
}

func mustSet(err error) {
	if err != nil {
		panic(err)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// server is an ops-meta that says what it is told to, remembers what it heard, and
// answers only whom it likes.
type server struct {
	*httptest.Server
	t  testing.TB
	mu sync.Mutex

	wanted    []meta.DesiredAgent
	tarballs  map[string][]byte
	probation int // seconds, of the sidecar itself
	refuses   func(updater string) bool
	heard     map[string]meta.RealAgent
	updater   string         // version of the last one that was answered
	told      []string       // every error and reason that was reported
	phases    map[string]int // of the sidecar itself
}

func newServer(t testing.TB) *server {
	s := &server{t: t, probation: 40, tarballs: map[string][]byte{}, heard: map[string]meta.RealAgent{}, phases: map[string]int{}, refuses: func(string) bool { return false }}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if data, ok := s.tarballs[r.URL.Path]; ok {
		_, _ = w.Write(data)
		return
	}
	var req meta.HeartbeatRequest
	if r.Method != http.MethodPost || json.NewDecoder(r.Body).Decode(&req) != nil {
		http.NotFound(w, r)
		return
	}
	if s.refuses(req.UpdaterVersion) {
		http.Error(w, "not you", http.StatusInternalServerError)
		return
	}
	s.updater = req.UpdaterVersion
	clear(s.heard)
	for _, a := range req.RealAgents {
		s.heard[a.Name] = a
		if a.Name == self {
			s.phases[string(a.Phase)]++
		}
		if a.Error != "" {
			s.told = append(s.told, a.Name+" "+a.Reason+": "+a.Error)
		}
	}
	_ = json.NewEncoder(w).Encode(meta.HeartbeatResponse{DesiredAgents: s.wanted})
}

const self = hostlab.SelfName

// want has hosts told to run these agents.
func (s *server) want(agents ...meta.DesiredAgent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wanted = agents
}

func (s *server) refuse(whom func(updater string) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuses = whom
}

func (s *server) last(name string) (meta.RealAgent, string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.heard[name], s.updater
}

func (s *server) toldAll() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.told, "\n")
}

// release serves a release of the sidecar and returns the wish for it.
func (s *server) release(version string, program []byte) meta.DesiredAgent {
	return s.publish(self, version, sidecar(s.t).Tarball(s.t, program))
}

func (s *server) publish(name, version string, tarball []byte) meta.DesiredAgent {
	sum := sha256.Sum256(tarball)
	file := "/" + meta.Arch() + "/" + meta.TarballName(name, version)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tarballs[file] = tarball
	d := meta.DesiredAgent{Name: name, Version: version, Tarball: s.URL, SHA256: hex.EncodeToString(sum[:]), Cmd: meta.CmdStart}
	if name == self {
		d.Probation = s.probation
	}
	return d
}

// falcon is an agent that has to be left alone.
func (s *server) falcon(version string) meta.DesiredAgent {
	files := map[string][]byte{}
	for name, text := range (agenttest.Habits{}).Files() {
		files[name] = []byte(text)
	}
	return s.publish("falcon", version, hostlab.Pack(s.t, files))
}

// host is a host whose sidecar somebody starts again whenever it ends, as systemd
// does.
type host struct {
	t      testing.TB
	dir    string
	server *server
	env    []string
	as     *syscall.Credential // nil: as the test

	mu     sync.Mutex
	cmd    *exec.Cmd
	starts int
	halted bool
	ended  chan struct{}
}

func newHost(t testing.TB) *host {
	t.Helper()
	if testing.Short() {
		t.Skip("SKIPPED with -short: sidecars that update themselves")
	}
	if !takeover.Supported {
		t.Skip("SKIPPED: the sidecar does not update itself on this system")
	}
	h := &host{t: t, dir: t.TempDir(), server: newServer(t)}
	agenttest.CleanUp(t, h.dir)
	writeProgram(t, filepath.Join(h.dir, self), program(t, v0))
	writeProgram(t, filepath.Join(h.dir, "control"), sidecar(t).Control)
	h.configure(map[string]any{})
	h.env = append(os.Environ(), "OPS_UPDATER_FAULT=", "INVOCATION_ID=test")
	t.Cleanup(func() {
		h.halt()
		if t.Failed() {
			log, _ := os.ReadFile(h.varFile("app.log"))
			state, _ := os.ReadFile(h.varFile(takeover.StateName))
			t.Logf("log:\n%s\nstate: %s", log, state)
		}
	})
	return h
}

func (h *host) configure(more map[string]any) {
	cfg := map[string]any{
		"server": h.server.URL, "interval": 1, "probation": "300ms", "work_dir": "work", "hostname": "h", "reserve": 0,
		"start_timeout": "60s", "stop_timeout": "60s", "retries": 0,
	}
	maps.Copy(cfg, more)
	data, err := json.Marshal(cfg)
	must(h.t, err)
	must(h.t, os.WriteFile(filepath.Join(h.dir, "cfg.json"), data, 0o644))
}

func (h *host) varFile(name string) string { return filepath.Join(h.dir, "var", name) }

// boot starts the sidecar and keeps it up; fault is point:action for the first process
// that comes to it.
func (h *host) boot(fault string) {
	h.t.Helper()
	if fault != "" {
		h.env = append(h.env, "OPS_UPDATER_FAULT="+fault+":"+filepath.Join(h.dir, "fault"))
	}
	h.ended = make(chan struct{})
	h.mu.Lock()
	h.halted = false
	h.mu.Unlock()
	go func() {
		defer close(h.ended)
		for {
			h.mu.Lock()
			if h.halted {
				h.mu.Unlock()
				return
			}
			cmd := exec.Command(filepath.Join(h.dir, self), "-c", filepath.Join(h.dir, "cfg.json"))
			cmd.Dir, cmd.Env = h.dir, h.env
			if h.as != nil {
				cmd.SysProcAttr = &syscall.SysProcAttr{Credential: h.as}
			}
			out, err := os.OpenFile(filepath.Join(h.dir, "output"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
			if err == nil {
				cmd.Stdout, cmd.Stderr = out, out
				err = cmd.Start()
				_ = out.Close()
			}
			h.cmd = cmd
			h.starts++
			h.mu.Unlock()
			if err != nil {
				h.t.Errorf("cannot start the sidecar: %v", err)
				return
			}
			_ = cmd.Wait()
			time.Sleep(50 * time.Millisecond) // as a supervisor does
		}
	}()
}

// writeProgram writes a file that can be run at once. A process that another goroutine
// forks meanwhile would hold it open for writing until it runs its own program, and the
// kernel runs nothing that somebody writes to (ETXTBSY).
func writeProgram(t testing.TB, path string, program []byte) {
	t.Helper()
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	must(t, os.WriteFile(path, program, 0o755))
}

// process is the number of the process that was started last, and how many were.
func (h *host) process() (pid, starts int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.cmd == nil || h.cmd.Process == nil {
		return 0, h.starts
	}
	return h.cmd.Process.Pid, h.starts
}

// halt ends the sidecar for good.
func (h *host) halt() {
	if h.ended == nil {
		return
	}
	h.mu.Lock()
	h.halted = true
	cmd := h.cmd
	h.mu.Unlock()
	if cmd != nil && cmd.Process != nil {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-h.ended:
		case <-time.After(patience):
			h.t.Error("the sidecar did not end on SIGTERM")
			_ = cmd.Process.Kill()
		}
	}
	<-h.ended
	h.ended = nil
}

func (h *host) await(what string, ok func() bool) {
	h.t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			last, updater := h.server.last(self)
			h.t.Fatalf("never: %s; last heard of %s: %+v", what, updater, last)
		}
	}
}

// awaitVersion waits until the sidecar is version, in phase.
func (h *host) awaitVersion(version string, phase meta.Phase) meta.RealAgent {
	h.t.Helper()
	h.await(version+" in phase "+string(phase), func() bool {
		a, updater := h.server.last(self)
		return updater == version && a.Version == version && a.Phase == phase && a.Status == meta.StatusStarted
	})
	a, _ := h.server.last(self)
	return a
}

// awaitAgent waits until falcon runs and returns its process.
func (h *host) awaitAgent() int {
	h.t.Helper()
	h.await("falcon runs", func() bool {
		a, _ := h.server.last("falcon")
		return a.Phase == meta.PhaseIdle && a.Status == meta.StatusStarted
	})
	return h.agentProcess()
}

func (h *host) agentProcess() int {
	h.t.Helper()
	files, err := filepath.Glob(filepath.Join(h.dir, "work/falcon/*/var/app.pid"))
	if err != nil || len(files) != 1 {
		h.t.Fatalf("process files of falcon: %v, %v", files, err)
	}
	text, err := os.ReadFile(files[0])
	must(h.t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	must(h.t, err)
	return pid
}

// checkAgent: falcon was neither stopped nor started since it had this process.
func (h *host) checkAgent(pid int) {
	h.t.Helper()
	if now := h.agentProcess(); now != pid {
		h.t.Errorf("falcon's process is %d; it was %d", now, pid)
	}
	if events := agenttest.Events(h.t, filepath.Join(h.dir, "work/falcon")); len(events) != 1 {
		h.t.Errorf("falcon was touched: %+v", events)
	}
}

// checkState: the state says that version is current, and no trial is left.
func (h *host) checkState(version string) {
	h.t.Helper()
	h.await("the state has "+version+" and no trial", func() bool {
		s, err := takeover.Load(filepath.Join(h.dir, "var"))
		return err == nil && s.Trial == nil && (s.Current.Version == version || version == v0 && s.Current.Version == "")
	})
	h.await("no watcher is left", func() bool { return !takeover.WatcherLives(filepath.Join(h.dir, "var")) })
}

// checkReported: what went wrong is in the heartbeats, in the log and in status (I7).
func (h *host) checkReported(code, words string) {
	h.t.Helper()
	if told := h.server.toldAll(); !strings.Contains(told, self+" "+code+": ") || !strings.Contains(told, words) {
		h.t.Errorf("I7: %s with %q was not reported:\n%s", code, words, told)
	}
	log, err := os.ReadFile(h.varFile("app.log"))
	if err != nil || !strings.Contains(string(log), words) {
		h.t.Errorf("I7: the log does not say %q (%v)", words, err)
	}
}

// quarantined reports whether the journal has the version in quarantine.
func (h *host) quarantined(version string) bool {
	h.t.Helper()
	data, err := os.ReadFile(h.varFile("journal/ops-updater.json"))
	must(h.t, err)
	var record struct {
		Blocks []struct {
			Version    string
			Quarantine bool
		}
	}
	must(h.t, json.Unmarshal(data, &record))
	for _, b := range record.Blocks {
		if b.Version == version && b.Quarantine {
			return true
		}
	}
	return false
}
