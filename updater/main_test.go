package updater_test

import (
	"context"
	"flag"
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

	"github.com/rs/zerolog"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater"
	"github.com/ops-updater/ops-updater/updater/child"
	"github.com/ops-updater/ops-updater/updater/config"
	"github.com/ops-updater/ops-updater/updater/internal/agenttest"
	"github.com/ops-updater/ops-updater/updater/plan"
)

// TestMain lets the test binary be its own child.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "child" {
		// Where there is none, as below sudo, this binary serves as well.
		_ = syscall.Exec(plainProgram(os.Getppid()), os.Args, os.Environ())
		leaveAtOnce()
		if err := child.Serve(context.Background(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	flag.Parse()
	if !testing.Short() {
		if err := buildPlain(plainProgram(os.Getpid())); err != nil {
			fmt.Fprintln(os.Stderr, "going on slowly:", err)
		}
	}
	code := m.Run()
	_ = os.RemoveAll(filepath.Dir(plainProgram(os.Getpid())))
	if builtTo != "" {
		_ = os.RemoveAll(filepath.Dir(builtTo))
	}
	os.Exit(code)
}

// plainProgram is the real program, which the children of a test's process become: they
// are many, and the race detector costs each of them more than its work.
func plainProgram(parent int) string {
	return fmt.Sprintf("/tmp/ops-updater-test-%d/ops-updater", parent)
}

func buildPlain(path string) error {
	if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	out, err := exec.Command("go", "build", "-o", path, "github.com/ops-updater/ops-updater").CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// leaveAtOnce spares each child the second that the race detector waits at
// exit: the option must be there when the process begins, and a child's
// environment is its own.
func leaveAtOnce() {
	if _, set := os.LookupEnv("GORACE"); set {
		return
	}
	self, err := os.Executable()
	if err == nil {
		err = syscall.Exec(self, os.Args, append(os.Environ(), "GORACE=atexit_sleep_ms=0"))
	}
	fmt.Fprintln(os.Stderr, "going on slowly:", err)
}

// patience is how long a test waits for what must come; far more than it takes.
const patience = 2 * time.Minute

// origin serves releases and configs.
type origin struct {
	*httptest.Server
	mu    sync.Mutex
	files map[string][]byte
	gate  chan struct{} // when set, tarballs wait for it
}

func newOrigin(t testing.TB) *origin {
	o := &origin{files: map[string][]byte{}}
	o.Server = httptest.NewServer(o)
	t.Cleanup(o.Close)
	return o
}

func (o *origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	data, ok := o.files[strings.TrimPrefix(r.URL.Path, "/")]
	gate := o.gate
	o.mu.Unlock()
	if gate != nil && strings.HasSuffix(r.URL.Path, ".tar.gz") {
		select {
		case <-gate:
		case <-r.Context().Done():
			return
		}
	}
	if !ok {
		http.NotFound(w, r)
		return
	}
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(string(data)))
}

func (o *origin) put(path string, data []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.files[path] = data
}

// publish serves a release and returns what a server would say to get it started.
func (o *origin) publish(t testing.TB, name, version string, h agenttest.Habits) meta.DesiredAgent {
	t.Helper()
	data, digest := h.Tarball(t)
	file := meta.Arch() + "/" + meta.TarballName(name, version)
	o.put(file, data)
	o.put(file+".md5", []byte(digest+"  "+meta.TarballName(name, version)+"\n"))
	return meta.DesiredAgent{Name: name, Version: version, Tarball: o.URL, MD5: digest, Cmd: meta.CmdStart}
}

// host is a host with one engine.
type host struct {
	t       testing.TB
	dir     string
	cfg     updater.EngineConfig
	origin  *origin
	engine  *updater.Engine
	stop    func()
	logFile string
}

// testConfig is the configuration of a host in dir that is quick about things,
// and patient with scripts.
func testConfig(dir string) config.Config {
	c := config.Default()
	c.VarDir, c.WorkDir = filepath.Join(dir, "var"), filepath.Join(dir, "work")
	c.StartTimeout, c.StopTimeout = patience/6, patience/6
	c.Probation, c.CheckEvery, c.ConfigEvery = 300*time.Millisecond, 300*time.Millisecond, 100*time.Millisecond
	c.Retries = 0
	return c
}

func newHost(t testing.TB) *host {
	if testing.Short() {
		t.Skip("SKIPPED with -short: control scripts and agents as processes")
	}
	t.Helper()
	dir := t.TempDir()
	h := &host{t: t, dir: dir, origin: newOrigin(t), logFile: filepath.Join(dir, "log")}
	agenttest.CleanUp(t, dir)
	h.cfg = updater.NewEngineConfig(testConfig(dir), zerolog.Nop())
	log, err := os.Create(h.logFile)
	if err != nil {
		t.Fatal(err)
	}
	h.cfg.Log = zerolog.New(log).With().Timestamp().Logger()
	t.Cleanup(func() {
		h.halt()
		if t.Failed() {
			data, _ := os.ReadFile(h.logFile)
			t.Logf("log:\n%s", data)
		}
	})
	return h
}

// boot starts the engine; halt ends it.
func (h *host) boot() {
	h.t.Helper()
	e, err := updater.NewEngine(h.cfg)
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = e.Run(ctx) }()
	h.engine, h.stop = e, func() { cancel(); <-ended }
}

func (h *host) halt() {
	if h.stop != nil {
		h.stop()
		h.stop = nil
	}
}

func (h *host) apply(agents ...meta.DesiredAgent) {
	h.t.Helper()
	if err := h.engine.Apply(plan.Desired{Agents: agents, Dialect: meta.DialectV1}); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) report(name string) meta.RealAgent {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, a := range h.engine.Report(ctx) {
		if a.Name == name {
			return a
		}
	}
	return meta.RealAgent{}
}

// await waits until the agent is as ok says.
func (h *host) await(name, what string, ok func(meta.RealAgent) bool) meta.RealAgent {
	h.t.Helper()
	deadline := time.Now().Add(patience)
	// Each report asks the control scripts: what takes longer is asked about less often.
	for pause := 20 * time.Millisecond; ; pause = min(pause*5/4, 200*time.Millisecond) {
		a := h.report(name)
		if ok(a) {
			return a
		}
		if time.Now().After(deadline) {
			h.t.Fatalf("%s never %s: %+v", name, what, a)
		}
		time.Sleep(pause)
	}
}

// runs waits until version runs, committed.
func (h *host) runs(name, version string) meta.RealAgent {
	h.t.Helper()
	return h.await(name, "ran "+version, func(a meta.RealAgent) bool {
		return a.Version == version && a.Status == meta.StatusStarted && a.Phase == meta.PhaseIdle
	})
}

func (h *host) agentDir(name string) string { return filepath.Join(h.cfg.DefaultWorkDir, name) }

func (h *host) checkRunning(name string, want ...string) {
	h.t.Helper()
	if got := running(h.t, h.agentDir(name), len(want)); !slices.Equal(got, want) {
		h.t.Errorf("running of %s: %v; want %v", name, got, want)
	}
	h.checkNeverTwo(name)
}

// running waits for n applications of the agent in dir: what a control script
// calls started may not have become one yet. More than n are there at once.
func running(t testing.TB, dir string, n int) (versions []string) {
	t.Helper()
	until(t, fmt.Sprintf("%d run in %s", n, dir), func() bool {
		versions = agenttest.Running(t, dir)
		return len(versions) >= n
	})
	return versions
}

// noted waits for the first n events of the agent in dir: an application that
// is started notes it a little later.
func noted(t testing.TB, dir string, n int) (events []agenttest.Event) {
	t.Helper()
	until(t, fmt.Sprintf("%d events in %s", n, dir), func() bool {
		events = agenttest.Events(t, dir)
		return len(events) >= n
	})
	return events
}

func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

func (h *host) checkNeverTwo(name string) {
	h.t.Helper()
	for _, e := range agenttest.Events(h.t, h.agentDir(name)) {
		if e.What == "two-at-once" {
			h.t.Errorf("%s %s was started while another one ran", name, e.Version)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
