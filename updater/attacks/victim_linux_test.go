package attacks

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/trust"
	"github.com/ops-updater/ops-updater/updater/internal/agenttest"
	"github.com/ops-updater/ops-updater/updater/local"
)

// patience is how long something may take that has to happen.
const patience = 3 * time.Minute

// all has every variant of an attack tried, as `make attacks` does; otherwise some of each
// kind are: the rules themselves have tests of their own.
var all = os.Getenv("ATTACKS") == "all"

// hostname is what the victim calls itself.
const hostname = "victim.example"

// binary is the sidecar, built once.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "ops-updater-attacks-")
	if err != nil {
		return "", err
	}
	built = dir
	if err := os.Chmod(dir, 0o755); err != nil { // other users run it, too
		return "", err
	}
	path := filepath.Join(dir, "ops-updater")
	cmd := exec.Command("go", "build", "-o", path, "github.com/ops-updater/ops-updater")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

var built string

func TestMain(m *testing.M) {
	m.Run()
	if built != "" {
		_ = os.RemoveAll(built)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// victim is a host with a real sidecar that looks after two agents: falcon, whom
// the attacks are about, and bystander, whom none of them may reach.
type victim struct {
	t       *testing.T
	dir     string
	work    string
	config  map[string]any
	server  *server
	process *exec.Cmd
	pid     map[string]int // of the applications that ran before the attack
	evils   int            // releases of attacks made
}

// server is an ops-meta of a few lines and the origin of releases; attacks replace what
// it answers.
type server struct {
	*httptest.Server
	mu       sync.Mutex
	answer   http.HandlerFunc // to heartbeats; nil: reply
	reply    meta.HeartbeatResponse
	key      *trust.PrivateKey // signs replies
	files    map[string]http.HandlerFunc
	requests []meta.HeartbeatRequest
}

func newServer(t *testing.T) *server {
	s := &server{files: map[string]http.HandlerFunc{}}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

func (s *server) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	file := s.files[r.URL.Path]
	s.mu.Unlock()
	switch {
	case file != nil:
		file(w, r)
		return
	case r.URL.Path != meta.PathV1:
		http.NotFound(w, r)
		return
	}
	body, _ := io.ReadAll(r.Body)
	var request meta.HeartbeatRequest
	_ = json.Unmarshal(body, &request)
	s.mu.Lock()
	s.requests = append(s.requests, request)
	answer := s.answer
	s.mu.Unlock()
	if answer != nil {
		answer(w, r)
		return
	}
	s.honest(w)
}

// honest writes the reply, signed when there is a key.
func (s *server) honest(w http.ResponseWriter) {
	s.mu.Lock()
	reply, key := s.reply, s.key
	s.mu.Unlock()
	if key != nil && reply.Expires == 0 {
		reply.Expires = time.Now().Add(time.Hour).Unix()
	}
	write(w, reply, key)
}

func write(w http.ResponseWriter, reply meta.HeartbeatResponse, key *trust.PrivateKey) {
	body, _ := json.Marshal(reply)
	if key != nil {
		w.Header().Set(trust.ReplyHeader, trust.EncodeHeader(key.Sign(body, trust.Reply())))
	}
	_, _ = w.Write(body)
}

// attack answers heartbeats from now on.
func (s *server) attack(answer http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

// wants makes the server want these agents, and begins with the next serial.
func (s *server) wants(agents ...meta.DesiredAgent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = nil
	s.reply.Host, s.reply.Interval = hostname, 1
	s.reply.Serial++
	s.reply.DesiredAgents = agents
}

// wanted is the version of an agent that the server wants.
func (s *server) wanted(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.reply.DesiredAgents {
		if a.Name == name {
			return a.Version
		}
	}
	return ""
}

func (s *server) serveFile(path string, do http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[path] = do
}

// last is the last heartbeat, and how many there were.
func (s *server) last() (meta.HeartbeatRequest, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.requests) == 0 {
		return meta.HeartbeatRequest{}, 0
	}
	return s.requests[len(s.requests)-1], len(s.requests)
}

// release is an agent's release with these habits, served, with every digest right.
func (s *server) release(t *testing.T, name, version string, h agenttest.Habits) meta.DesiredAgent {
	t.Helper()
	data, _ := h.Tarball(t)
	return s.releaseOf(name, version, data)
}

func (s *server) releaseOf(name, version string, data []byte) meta.DesiredAgent {
	a := meta.DesiredAgent{Name: name, Version: version, Tarball: s.URL + "/releases", Cmd: meta.CmdStart, Size: int64(len(data))}
	sum5, sum256 := md5.Sum(data), sha256.Sum256(data)
	a.MD5, a.SHA256 = hex.EncodeToString(sum5[:]), hex.EncodeToString(sum256[:])
	s.serveFile("/releases/"+meta.Arch()+"/"+meta.TarballName(name, version), func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	})
	return a
}

// newVictim makes a host whose directories belong to root from the top when root runs the
// tests, with falcon 1.0.0 and bystander 1.0.0 running.
func newVictim(t *testing.T, change func(v *victim)) *victim {
	t.Helper()
	if testing.Short() {
		t.Skip("SKIPPED: starts a real sidecar: -short")
	}
	t.Parallel()
	dir, err := os.MkdirTemp("/opt", "ops-updater-attacks-")
	if err != nil {
		dir, err = os.MkdirTemp("", "ops-updater-attacks-")
	}
	must(t, err)
	must(t, os.Chmod(dir, 0o755))
	v := &victim{t: t, dir: dir, work: filepath.Join(dir, "agents"), server: newServer(t), pid: map[string]int{}}
	t.Cleanup(func() {
		v.halt()
		_ = os.RemoveAll(dir)
	})
	agenttest.CleanUp(t, dir)
	v.config = map[string]any{
		"server": v.server.URL, "hostname": hostname, "interval": 1, "probation": 0.2, "reserve": 0, "work_dir": v.work, "var_dir": filepath.Join(dir, "var"),
		"stall_timeout": 2, "retries": 1, "max_files": 500, "max_unpacked_size": 8 << 20, "max_download_size": 4 << 20, "status_timeout": 10, "start_timeout": 60, "stop_timeout": 60,
	}
	v.server.wants(v.server.release(t, "falcon", "1.0.0", agenttest.Habits{}), v.server.release(t, "bystander", "1.0.0", agenttest.Habits{}))
	if change != nil {
		change(v)
	}
	v.boot()
	v.runs("falcon", "1.0.0")
	v.runs("bystander", "1.0.0")
	for _, name := range []string{"falcon", "bystander"} {
		v.pid[name] = v.lastUp(name)
	}
	return v
}

// in is the victim in a subtest, whose failures are that one's.
func (v *victim) in(t *testing.T) *victim {
	within := *v
	within.t = t
	v.evils += 100 // so that no two releases are the same
	return &within
}

func (v *victim) boot() {
	v.t.Helper()
	path, err := binary()
	must(v.t, err)
	data, err := json.Marshal(v.config)
	must(v.t, err)
	must(v.t, os.WriteFile(filepath.Join(v.dir, "cfg.json"), data, 0o600))
	v.process = exec.Command(path, "-c", filepath.Join(v.dir, "cfg.json"))
	v.process.Dir = v.dir
	must(v.t, v.process.Start())
}

// halt ends the sidecar, as a service manager does. What hangs is killed.
func (v *victim) halt() {
	if v.process == nil {
		return
	}
	_ = v.process.Process.Signal(syscall.SIGTERM)
	ended := make(chan struct{})
	go func() {
		_ = v.process.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		_ = v.process.Process.Kill()
		<-ended
	}
	v.process = nil
}

func (v *victim) agentDir(name string) string { return filepath.Join(v.work, name) }

func (v *victim) lastUp(name string) int {
	v.t.Helper()
	events := agenttest.Events(v.t, v.agentDir(name))
	if len(events) == 0 {
		v.t.Fatalf("%s has never been up", name)
	}
	return events[len(events)-1].Pid
}

// await waits for a heartbeat for which is holds.
func (v *victim) await(what string, is func(meta.HeartbeatRequest) bool) meta.HeartbeatRequest {
	v.t.Helper()
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		if r, n := v.server.last(); n > 0 && is(r) {
			return r
		}
		wait(20 * time.Millisecond)
	}
	r, n := v.server.last()
	text, _ := json.Marshal(r)
	v.t.Fatalf("no heartbeat of %d was the one in which %s within %v; the last was\n%s\n%s", n, what, patience, text, v.log())
	return r
}

func wait(d time.Duration) {
	timer := time.NewTimer(d)
	<-timer.C
}

func (v *victim) log() string {
	data, _ := os.ReadFile(filepath.Join(v.dir, "var/app.log"))
	return string(data[max(0, len(data)-6000):])
}

// awaitAgent waits for a heartbeat that says so of an agent.
func (v *victim) awaitAgent(name, what string, is func(meta.RealAgent) bool) meta.RealAgent {
	v.t.Helper()
	var found meta.RealAgent
	v.await(name+" "+what, func(r meta.HeartbeatRequest) bool {
		i := slices.IndexFunc(r.RealAgents, func(a meta.RealAgent) bool { return a.Name == name })
		if i < 0 {
			return false
		}
		found = r.RealAgents[i]
		return is(found)
	})
	return found
}

func (v *victim) runs(name, version string) {
	v.t.Helper()
	v.awaitAgent(name, "runs at "+version, func(a meta.RealAgent) bool {
		return a.Version == version && a.Status == meta.StatusStarted && a.Phase == meta.PhaseIdle
	})
}

// status is what the command says.
func (v *victim) status() local.Status {
	v.t.Helper()
	path, err := binary()
	must(v.t, err)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "-c", filepath.Join(v.dir, "cfg.json"), "status", "--json")
	out, err := cmd.Output()
	must(v.t, err)
	var s local.Status
	must(v.t, json.Unmarshal(out, &s))
	return s
}

// refused waits until the host reports falcon with one of the codes, and checks that nothing
// came of the attack.
func (v *victim) refused(codes ...string) meta.RealAgent {
	v.t.Helper()
	wanted := v.server.wanted("falcon")
	refused := func(a meta.RealAgent) bool {
		return a.Name == "falcon" && a.DesiredVersion == wanted && slices.Contains(codes, a.Reason)
	}
	a := v.awaitAgent("falcon", fmt.Sprintf("is reported with %v", codes), refused)
	if a.Error == "" {
		v.t.Errorf("no words go with the reason %s", a.Reason)
	}
	for deadline := time.Now().Add(patience); !slices.ContainsFunc(v.status().Agents, refused); wait(500 * time.Millisecond) { // it may be being tried again
		if time.Now().After(deadline) {
			v.t.Fatalf("status says nothing of it: %+v", v.status().Agents)
		}
	}
	v.unharmed()
	return a
}

// disbelieved waits until the host reports that it does not believe the server, and checks
// that nothing came of the attack.
func (v *victim) disbelieved(code trust.Code) *meta.TrustReport {
	v.t.Helper()
	r := v.await("replies are refused as "+string(code), func(r meta.HeartbeatRequest) bool {
		return r.Trust != nil && r.Trust.Reason == string(code) && r.Trust.Since > 0
	})
	s := v.status()
	if s.Trust == nil || s.Trust.Reason != string(code) || s.Trust.Stale.IsZero() || s.Heartbeat.Failures == 0 {
		v.t.Errorf("status says nothing of it: %+v, %+v", s.Trust, s.Heartbeat)
	}
	if !strings.Contains(v.log(), string(code)) {
		v.t.Errorf("the log says nothing of it")
	}
	v.unharmed()
	return r.Trust
}

// unharmed checks that what ran before the attack runs on, undisturbed, and that nothing
// is left of it.
func (v *victim) unharmed() {
	v.t.Helper()
	for name, pid := range v.pid {
		if got := v.lastUp(name); got != pid {
			v.t.Errorf("%s was started again: pid %d, was %d", name, got, pid)
		}
		if syscall.Kill(pid, 0) != nil {
			v.t.Errorf("%s with pid %d does not run any more", name, pid)
		}
	}
	if data, err := os.ReadFile(v.mark()); err == nil {
		v.t.Errorf("something of the attack was executed: %q", data)
	}
	v.noStaging()
}

func (v *victim) noStaging() {
	v.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		left, err := filepath.Glob(filepath.Join(v.agentDir("falcon"), ".staging-*"))
		must(v.t, err)
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			v.t.Errorf("staging is left behind: %v", left)
			return
		}
		wait(20 * time.Millisecond)
	}
}

// mark is the file that an attack's code writes when it is executed.
func (v *victim) mark() string { return filepath.Join(v.dir, "mark") }

// evil is a control script that writes the mark whatever it is asked. No two are the same.
func (v *victim) evil() agenttest.Habits {
	v.evils++
	return agenttest.Habits{Control: fmt.Sprintf("#!/bin/sh\n# %d\necho \"$0 $* as $(id -un)\" >>%s\necho started\n", v.evils, v.mark())}
}

// evilRelease is a release of falcon that no host may execute, of a version of its own.
func (v *victim) evilRelease() meta.DesiredAgent {
	h := v.evil()
	return v.server.release(v.t, "falcon", fmt.Sprintf("6.6.%d", v.evils), h)
}

// wantsBeside makes the server want a of the host, and what runs there.
func (v *victim) wantsBeside(a meta.DesiredAgent) {
	v.server.wants(a, v.server.release(v.t, "bystander", "1.0.0", agenttest.Habits{}))
}

// calm waits until an honest server is followed again, and nothing is left to be told.
func (v *victim) calm() {
	v.t.Helper()
	v.wantsBeside(v.server.release(v.t, "falcon", "1.0.0", agenttest.Habits{}))
	v.await("nothing is wrong", func(r meta.HeartbeatRequest) bool {
		calm := func(a meta.RealAgent) bool {
			return a.Version == "1.0.0" && a.DesiredVersion == "1.0.0" && a.Reason == "" && a.Status == meta.StatusStarted
		}
		return (r.Trust == nil || r.Trust.Reason == "") && len(r.RealAgents) == 2 && calm(r.RealAgents[0]) && calm(r.RealAgents[1])
	})
	v.unharmed()
}

// recovers checks that the host does again what an honest server wants.
func (v *victim) recovers() {
	v.t.Helper()
	v.server.wants(v.server.release(v.t, "falcon", "2.0.0", agenttest.Habits{}), v.server.release(v.t, "bystander", "1.0.0", agenttest.Habits{}))
	v.runs("falcon", "2.0.0")
	if pid := v.lastUp("bystander"); pid != v.pid["bystander"] {
		v.t.Errorf("bystander was started again")
	}
}

// me is who runs the tests, and the agents unless their release says otherwise.
func me() string {
	u, err := user.Current()
	if err != nil {
		return "root"
	}
	return u.Username
}
