package main

import (
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// countingControl is an agent that writes down each of its starts.
var countingControl = strings.Replace(goodControl, "case $1 in\nstart)", "[ \"$1\" != start ] || basename \"$PWD\" >>../starts\ncase $1 in\nstart)", 1)

// Two real servers on one PostgreSQL answer one address in turn, and one of
// them is cut off from the database. What the other one says to a real agent is
// not taken back.
func TestAServerThatIsCutOffRestartsNoAgent(t *testing.T) {
	t.Parallel()
	dsn := os.Getenv("OPS_META_TEST_POSTGRES")
	if dsn == "" || testing.Short() {
		t.Skip("NOT TESTED ON POSTGRESQL: run the tests through scripts/with-postgres")
	}
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	f := &realFleet{t: t, dir: t.TempDir(), bin: bin, listen: freeAddress(t)}
	f.log, err = os.Create(filepath.Join(f.dir, "meta.log"))
	f.must(err)
	t.Cleanup(func() { f.end(t) })
	cut, far := cuttable(t, dsn), freeAddress(t)
	f.server = f.replica("meta", f.listen, dsn)
	f.await("the first server", func() bool { _, err := f.try("status"); return err == nil })
	second := f.replica("far", far, cut.dsn)
	t.Cleanup(func() { stopProcess(second, syscall.SIGTERM) })
	f.await("the second server", func() bool { return isHealthy("http://" + far + "/healthz") })
	f.publish("1.0.0", countingControl)
	f.publish("2.0.0", countingControl)

	own := f.listen
	f.listen = f.inTurn(t, own, far)
	f.startHost("host01")
	f.listen = own
	f.meta(0, "deploy", "demo", "1.0.0", "--now")
	f.awaitVersions(map[string]int{"1.0.0": 1})
	cut.cut()
	t.Run("after a grant", f.keepsWhatWasGranted)
	t.Run("after a stop, which looks like a crash", f.keepsWhatWasStopped)
}

func (f *realFleet) keepsWhatWasGranted(t *testing.T) {
	f.t = t
	f.meta(0, "deploy", "demo", "2.0.0", "--stages", "100%", "--soak", "3600")
	f.awaitVersions(map[string]int{"2.0.0": 1})
	f.awaitBeats(20)
	f.wantStarts("1.0.0 2.0.0")
	if r := f.latest(); r.Progress[0].Failed > 0 {
		t.Errorf("the rollout is %s (%s): %+v", r.State, r.Reason, r.Progress)
	}
}

func (f *realFleet) keepsWhatWasStopped(t *testing.T) {
	f.t = t
	f.meta(0, "assign", "set", "demo", "2.0.0", "--cmd", "stop")
	f.await("the agent to stop", func() bool { return f.status() == "stoped" })
	f.awaitBeats(10)
	f.wantStarts("1.0.0 2.0.0")
	f.meta(0, "assign", "set", "demo", "2.0.0", "--cmd", "start")
	f.await("the agent to start", func() bool { return f.status() == "started" })
	f.wantStarts("1.0.0 2.0.0 2.0.0")
}

// awaitBeats waits for so many heartbeats more.
func (f *realFleet) awaitBeats(n int64) {
	f.t.Helper()
	until := f.beats.Load() + n
	f.await("more heartbeats", func() bool { return f.beats.Load() > until })
}

// wantStarts checks at which versions the first host's agent was started.
func (f *realFleet) wantStarts(want string) {
	f.t.Helper()
	starts, err := os.ReadFile(filepath.Join(f.hosts[0].dir, "agents", "demo", "starts"))
	if got := strings.Join(strings.Fields(string(starts)), " "); err != nil || got != want {
		f.t.Errorf("the agent was started as %q (%v), want %q", got, err, want)
	}
}

// status is what the first host reports of the agent.
func (f *realFleet) status() string {
	f.t.Helper()
	for _, h := range f.list() {
		for _, a := range h.Agents {
			return a.Status
		}
	}
	return ""
}

// replica starts a server with a directory of its own on a database.
func (f *realFleet) replica(name, listen, dsn string) *exec.Cmd {
	f.t.Helper()
	cmd := exec.Command(filepath.Join(f.bin, "ops-meta"), "serve", "--listen", listen, "--data", filepath.Join(f.dir, name),
		"--public-url", "http://"+f.listen, "--db", dsn)
	cmd.Stdout, cmd.Stderr = f.log, f.log
	f.must(cmd.Start())
	return cmd
}

func isHealthy(address string) bool {
	resp, err := http.Get(address)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// inTurn is the address of a balancer that sends each request to the next of
// two servers.
func (f *realFleet) inTurn(t *testing.T, servers ...string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	f.must(err)
	balancer := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		n := f.beats.Add(1)
		r.SetURL(&url.URL{Scheme: "http", Host: servers[int(n)%len(servers)]})
	}}
	srv := &http.Server{Handler: balancer, ReadHeaderTimeout: time.Minute}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	return l.Addr().String()
}

// link is a way to a PostgreSQL that can be cut.
type link struct {
	dsn    string
	listen net.Listener
	mu     sync.Mutex
	conns  []net.Conn
}

func cuttable(t *testing.T, dsn string) *link {
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	target := u.Query().Get("host") + "/.s.PGSQL.5432"
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &link{listen: l}
	t.Cleanup(w.cut)
	go w.serve(target)
	q := u.Query()
	q.Del("host")
	q.Set("sslmode", "disable")
	u.Host, u.RawQuery = l.Addr().String(), q.Encode()
	w.dsn = u.String()
	return w
}

func (w *link) serve(target string) {
	for {
		in, err := w.listen.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("unix", target)
		if err != nil {
			_ = in.Close()
			continue
		}
		w.mu.Lock()
		w.conns = append(w.conns, in, out)
		w.mu.Unlock()
		go func() { _, _ = io.Copy(in, out); _ = in.Close() }()
		go func() { _, _ = io.Copy(out, in); _ = out.Close() }()
	}
}

func (w *link) cut() {
	_ = w.listen.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.conns {
		_ = c.Close()
	}
}
