package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
)

const fleetSize = 20

// TestRollouts is a fleet of real sidecars with real control scripts under a
// real ops-meta, steered through the command line.
func TestRollouts(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("SKIPPED rollouts of real sidecars: -short")
	}
	f := newRealFleet(t)
	f.publish("1.0.0", goodControl)
	f.meta(0, "deploy", "demo", "1.0.0", "--now")
	f.awaitVersions(map[string]int{"1.0.0": fleetSize})
	f.nameStrategies()

	t.Run("a good release reaches every host", f.goodRelease)
	t.Run("a bad release stops at its canary", f.badRelease)
	t.Run("a release that fails on some hosts only", f.partlyBadRelease)
	t.Run("what failed is tried again on the server's word", f.retry)
	t.Run("an operator aborts in the middle and goes back", f.abort)
	t.Run("the server is killed in the middle of a stage", f.restart)
}

func (f *realFleet) goodRelease(t *testing.T) {
	f.t = t
	f.publish("1.1.0", goodControl)
	out := f.meta(0, "deploy", "demo", "1.1.0", "--strategy", "quick", "--watch")
	f.awaitVersions(map[string]int{"1.1.0": fleetSize})
	for _, part := range []string{"canary", "quarter", "all", "completed"} {
		if !strings.Contains(out, part) {
			t.Errorf("--watch showed nothing of %q:\n%s", part, out)
		}
	}
	r := f.latest()
	if p := r.Progress; p[0].Succeeded != 1 || p[0].Granted+p[1].Granted+p[2].Granted != fleetSize {
		t.Errorf("progress is %+v", p)
	}
	f.wantReasons(r, "stage-started", "stage-started", "stage-started", "completed")
}

func (f *realFleet) badRelease(t *testing.T) {
	f.t = t
	f.publish("1.2.0", brokenControl)
	f.meta(4, "deploy", "demo", "1.2.0", "--strategy", "quick", "--watch")
	r := f.latest()
	if r.State != api.RolloutPaused || r.Reason != "too-many-failures" || r.Stage != 0 {
		t.Fatalf("the rollout is %s (%s) in stage %d", r.State, r.Reason, r.Stage)
	}
	grants := f.grants(r.ID)
	if len(grants) != 1 || grants[0].Reason != "host-rolled-back" {
		t.Fatalf("grants are %+v, want the canary's", grants)
	}
	if grants[0].HostReason != "not-started" || !strings.Contains(f.meta(0, "rollout", "show", r.ID), "host-rolled-back (not-started)") {
		t.Errorf("the canary's own code is %q, want not-started", grants[0].HostReason)
	}
	f.awaitVersions(map[string]int{"1.1.0": fleetSize}) // the canary went back by itself
	for _, h := range f.hosts {
		_, err := os.Stat(filepath.Join(h.dir, "agents", "demo", "1.2.0"))
		if touched := err == nil; touched && h.name != grants[0].Host {
			t.Errorf("%s was touched", h.name)
		}
	}
	f.meta(0, "rollout", "abort", r.ID, "--reason", "the release is broken")
}

func (f *realFleet) partlyBadRelease(t *testing.T) {
	f.t = t
	poisoned := []string{"host03", "host11", "host17"}
	for _, h := range f.hosts {
		if slices.Contains(poisoned, h.name) {
			f.must(os.WriteFile(filepath.Join(h.dir, "agents", "poison"), nil, 0o644))
		}
	}
	f.publish("1.3.0", pickyControl)
	f.meta(0, "deploy", "demo", "1.3.0", "--stages", "60%,100%", "--max-failed", "3", "--watch")
	f.awaitVersions(map[string]int{"1.3.0": fleetSize - 3, "1.1.0": 3})
	failed := []string{}
	for _, g := range f.grants(f.latest().ID) {
		if g.Outcome == api.OutcomeFailed {
			failed = append(failed, g.Host)
		}
	}
	if !slices.Equal(failed, poisoned) {
		t.Errorf("failed on %v, want %v", failed, poisoned)
	}
	f.mend(poisoned)
	f.awaitVersions(map[string]int{"1.3.0": fleetSize})
}

func (f *realFleet) retry(t *testing.T) {
	f.t = t
	poisoned := []string{"host02", "host07"}
	for _, h := range f.hosts {
		if slices.Contains(poisoned, h.name) {
			f.must(os.WriteFile(filepath.Join(h.dir, "agents", "poison"), nil, 0o644))
		}
	}
	f.publish("1.3.5", pickyControl)
	f.meta(4, "deploy", "demo", "1.3.5", "--stages", "100%", "--watch")
	f.await("the hosts that began before the pause to be done", func() bool {
		return !slices.ContainsFunc(f.grants(f.latest().ID), func(g api.Grant) bool { return g.Outcome == "" })
	})
	for _, h := range f.hosts {
		if slices.Contains(poisoned, h.name) {
			f.must(os.Remove(filepath.Join(h.dir, "agents", "poison")))
		}
	}
	f.meta(0, "rollout", "retry", "demo", "--reason", "the poison is gone", "--watch")
	f.awaitVersions(map[string]int{"1.3.5": fleetSize}) // in quarantine for ten minutes without it
	if out := f.meta(0, "audit", "--kind", "rollout"); !strings.Contains(out, "retry") || !strings.Contains(out, "the poison is gone") {
		t.Errorf("the audit log does not tell of the retry:\n%s", out)
	}
}

// mend takes what ails hosts away and lets them try again, as somebody on the
// host would: a release in quarantine there is nothing to go back to.
func (f *realFleet) mend(names []string) {
	f.t.Helper()
	for _, h := range f.hosts {
		if !slices.Contains(names, h.name) {
			continue
		}
		f.must(os.Remove(filepath.Join(h.dir, "agents", "poison")))
		cmd := exec.Command(filepath.Join(f.bin, "ops-updater"), "-c", filepath.Join(h.dir, "cfg.json"), "clear", "demo")
		if out, err := cmd.CombinedOutput(); err != nil {
			f.t.Fatalf("clear on %s: %v\n%s", h.name, err, out)
		}
	}
}

func (f *realFleet) abort(t *testing.T) {
	f.t = t
	before := f.versions()
	f.publish("1.4.0", goodControl)
	f.meta(0, "deploy", "demo", "1.4.0", "--stages", "3,100%", "--soak", "3600")
	r := f.latest()
	f.await("the first stage", func() bool { return f.latest().Progress[0].Succeeded == 3 })
	f.meta(0, "rollout", "abort", r.ID)
	f.meta(4, "rollout", "resume", r.ID)
	f.awaitCount("1.4.0", 3)
	f.meta(0, "rollout", "rollback", r.ID, "--watch")
	f.await("1.4.0 to be gone", func() bool { return f.versions()["1.4.0"] == 0 })
	if n := len(f.grants(r.ID)); n != 3 {
		t.Errorf("%d hosts were granted, want 3", n)
	}
	if now := f.versions(); now["1.3.0"] < before["1.3.0"] {
		t.Errorf("before %v, after the way back %v", before, now)
	}
	if r = f.rollout(r.ID); r.State != api.RolloutAborted || r.Reason != "rolled-back" {
		t.Errorf("it is %s (%s)", r.State, r.Reason)
	}
}

func (f *realFleet) restart(t *testing.T) {
	f.t = t
	f.publish("1.5.0", goodControl)
	f.meta(0, "deploy", "demo", "1.5.0", "--strategy", "four-at-a-time")
	id := f.latest().ID
	f.await("some hosts to be done and some not", func() bool {
		p := f.rollout(id).Progress[0]
		return p.Succeeded > 2 && p.Granted < fleetSize
	})
	f.killServer()
	f.startServer()
	f.await("the rollout to complete", func() bool { return f.rollout(id).State == api.RolloutCompleted })
	f.awaitVersions(map[string]int{"1.5.0": fleetSize})
	if p := f.rollout(id).Progress[0]; p.Granted != fleetSize || p.Succeeded != fleetSize {
		t.Errorf("progress is %+v", p)
	}
}

// nameStrategies makes the strategies that the tests name: the default one
// takes its time.
func (f *realFleet) nameStrategies() {
	f.t.Helper()
	file := filepath.Join(f.dir, "fleet.yaml")
	exported := f.meta(0, "export")
	f.must(os.WriteFile(file, []byte(strings.Replace(exported, "strategies: []\n", strategyFile, 1)), 0o644))
	f.meta(0, "apply", "-f", file)
}

const strategyFile = `strategies:
  - name: quick
    stages: [{name: canary, count: 1}, {name: quarter, percent: 25}, {name: all, percent: 100}]
  - name: four-at-a-time
    maxInFlight: 4
    stages: [{name: all, percent: 100}]
`

// The agents: one that works, one that dies at once, and one that does so
// where a file tells it to.
const (
	goodControl = `#!/bin/sh
cd "${0%/*}" || exit 1
running() { { read -r pid <../demo.pid; } 2>/dev/null && kill -0 "$pid" 2>/dev/null; }
case $1 in
start) running || { nohup sleep 600 >/dev/null 2>&1 </dev/null & echo $! >../demo.pid; }; echo started ;;
stop) running && kill "$pid"; rm -f ../demo.pid; echo stoped ;;
status) if running; then echo started; else echo stoped; fi ;;
pid) cat ../demo.pid ;;
esac
`
	brokenControl = `#!/bin/sh
case $1 in
start) echo "cannot read the new configuration"; exit 3 ;;
*) echo stoped ;;
esac
`
)

var pickyControl = strings.Replace(goodControl, "case $1 in\nstart)", `if [ "$1" = start ] && [ -e ../../poison ]; then
	echo "this host is poisoned"
	exit 3
fi
case $1 in
start)`, 1)

// realFleet is a server and its sidecars, all of them processes.
type realFleet struct {
	t      *testing.T
	dir    string
	bin    string
	listen string
	server *exec.Cmd
	log    *os.File
	hosts  []*realHost
	// of heartbeats, in seconds, 1 unless said: each has a control script asked
	interval int
	beats    atomic.Int64 // that a balancer passed on
}

type realHost struct {
	name, dir string
	process   *exec.Cmd
}

func newRealFleet(t *testing.T) *realFleet { return newRealFleetOf(t, fleetSize, 3) }

// newRealFleetOf has so many hosts, with so many seconds between their heartbeats.
func newRealFleetOf(t *testing.T, hosts, interval int) *realFleet {
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	f := &realFleet{t: t, dir: t.TempDir(), bin: bin, listen: freeAddress(t), interval: interval}
	f.log, err = os.Create(filepath.Join(f.dir, "meta.log"))
	f.must(err)
	t.Cleanup(func() { f.end(t) })
	f.startServer()
	for i := range hosts {
		f.startHost(fmt.Sprintf("host%02d", i+1))
	}
	f.await("every host's first heartbeat", func() bool { return len(f.list()) == hosts })
	return f
}

func freeAddress(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// end stops every process that the test started, and what those left running.
func (f *realFleet) end(t *testing.T) {
	var wg sync.WaitGroup
	for _, h := range f.hosts {
		wg.Go(func() { stopProcess(h.process, syscall.SIGTERM) })
	}
	wg.Wait()
	stopProcess(f.server, syscall.SIGTERM)
	killDaemons(f.dir)
	if t.Failed() {
		log, _ := os.ReadFile(f.log.Name())
		t.Logf("the server said:\n%s", log)
	}
	f.log.Close()
}

func stopProcess(cmd *exec.Cmd, sig syscall.Signal) {
	if cmd == nil || cmd.Process == nil {
		return
	}
	_ = cmd.Process.Signal(sig)
	hard := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
	_ = cmd.Wait()
	hard.Stop()
}

func (f *realFleet) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *realFleet) startServer() {
	f.t.Helper()
	f.server = exec.Command(filepath.Join(f.bin, "ops-meta"), "serve", "--listen", f.listen, "--data", filepath.Join(f.dir, "meta"))
	f.server.Stdout, f.server.Stderr = f.log, f.log
	f.must(f.server.Start())
	f.await("the server", func() bool {
		_, err := f.try("status")
		return err == nil
	})
}

func (f *realFleet) killServer() {
	stopProcess(f.server, syscall.SIGKILL)
}

func (f *realFleet) startHost(name string) {
	f.t.Helper()
	h := &realHost{name: name, dir: filepath.Join(f.dir, name)}
	f.must(os.MkdirAll(filepath.Join(h.dir, "agents"), 0o755))
	f.must(os.MkdirAll(filepath.Join(h.dir, "var"), 0o700))
	conf, err := json.Marshal(map[string]any{
		"server": f.listen, "hostname": name, "interval": max(f.interval, 1), "probation": 1, "work_dir": filepath.Join(h.dir, "agents"),
	})
	f.must(err)
	f.must(os.WriteFile(filepath.Join(h.dir, "cfg.json"), conf, 0o600))
	log, err := os.Create(filepath.Join(h.dir, "out.log"))
	f.must(err)
	defer log.Close()
	h.process = exec.Command(filepath.Join(f.bin, "ops-updater"), "-c", filepath.Join(h.dir, "cfg.json"))
	h.process.Dir, h.process.Stdout, h.process.Stderr = h.dir, log, log
	f.must(h.process.Start())
	f.hosts = append(f.hosts, h)
}

// publish makes a release of the agent demo with that control script.
func (f *realFleet) publish(version, control string) {
	f.t.Helper()
	dir := filepath.Join(f.dir, "pack", version)
	f.must(os.MkdirAll(dir, 0o755))
	f.must(os.WriteFile(filepath.Join(dir, "control"), []byte(control), 0o755))
	f.must(os.WriteFile(filepath.Join(dir, "VERSION"), []byte(version), 0o644))
	tarball := filepath.Join(f.dir, "pack", "demo-"+version+".tar.gz")
	if out, err := exec.Command("tar", "-C", dir, "-czf", tarball, ".").CombinedOutput(); err != nil {
		f.t.Fatalf("tar: %v\n%s", err, out)
	}
	f.meta(0, "publish", tarball, "--arch", arch())
}

// command is ops-meta as an operator calls it.
func (f *realFleet) command(args ...string) *exec.Cmd {
	token, _ := os.ReadFile(filepath.Join(f.dir, "meta", "admin.token"))
	cmd := exec.Command(filepath.Join(f.bin, "ops-meta"), args...)
	cmd.Env = append(os.Environ(), "OPS_META_SERVER=http://"+f.listen, "OPS_META_TOKEN="+strings.TrimSpace(string(token)), "NO_COLOR=1")
	return cmd
}

// try runs ops-meta as an operator does.
func (f *realFleet) try(args ...string) (string, error) {
	cmd := f.command(args...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, errs.Bytes())
	}
	return string(out), err
}

// meta runs ops-meta and wants an exit code.
func (f *realFleet) meta(code int, args ...string) string {
	f.t.Helper()
	out, err := f.try(args...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	}
	if got != code || err != nil && exit == nil {
		f.t.Fatalf("ops-meta %s: exit %d, want %d: %v\n%s", strings.Join(args, " "), got, code, err, out)
	}
	return out
}

func read[T any](f *realFleet, args ...string) T {
	f.t.Helper()
	var v T
	f.must(json.Unmarshal([]byte(f.meta(0, append(args, "--output", "json")...)), &v))
	return v
}

func (f *realFleet) latest() api.Rollout {
	f.t.Helper()
	all, err := f.client().Rollouts(f.t.Context(), api.ListOptions{Limit: 1})
	f.must(err)
	if len(all.Items) != 1 {
		f.t.Fatalf("rollouts: %+v", all)
	}
	return all.Items[0]
}

func (f *realFleet) rollout(id string) api.Rollout {
	f.t.Helper()
	return read[api.Rollout](f, "rollout", "show", id)
}

func (f *realFleet) client() *api.Client {
	f.t.Helper()
	token, err := os.ReadFile(filepath.Join(f.dir, "meta", "admin.token"))
	f.must(err)
	c, err := api.NewClient(api.ClientConfig{Server: "http://" + f.listen, Token: strings.TrimSpace(string(token))})
	f.must(err)
	return c
}

func (f *realFleet) grants(id string) []api.Grant {
	f.t.Helper()
	page, err := f.client().Grants(f.t.Context(), id, api.ListOptions{Limit: api.MaxPage})
	f.must(err)
	return page.Items
}

// wantReasons looks at why the rollout went through its states.
func (f *realFleet) wantReasons(r api.Rollout, want ...string) {
	f.t.Helper()
	page, err := f.client().Transitions(f.t.Context(), r.ID, api.ListOptions{})
	f.must(err)
	var got []string
	for _, tr := range page.Items {
		got = append(got, tr.Reason)
	}
	if !slices.Equal(got, want) {
		f.t.Errorf("its transitions were %v, want %v", got, want)
	}
}

func (f *realFleet) list() []api.Host {
	f.t.Helper()
	page, err := f.client().Hosts(f.t.Context(), api.HostQuery{Limit: api.MaxPage})
	f.must(err)
	return page.Items
}

// versions counts the hosts that run a version, started and with nothing
// under way.
func (f *realFleet) versions() map[string]int {
	f.t.Helper()
	n := map[string]int{}
	for _, h := range f.list() {
		for _, a := range h.Agents {
			if a.Name == "demo" && a.Status == "started" && (a.Phase == "idle" || a.Phase == "rolledBack") {
				n[a.Version]++
			}
		}
	}
	return n
}

func (f *realFleet) awaitVersions(want map[string]int) {
	f.t.Helper()
	f.await(fmt.Sprintf("hosts by version to be %v", want), func() bool { return fmt.Sprint(f.versions()) == fmt.Sprint(want) })
}

func (f *realFleet) awaitCount(version string, want int) {
	f.t.Helper()
	f.await(fmt.Sprintf("%d hosts on %s", want, version), func() bool { return f.versions()[version] == want })
}

func (f *realFleet) await(what string, done func() bool) {
	f.t.Helper()
	deadline := time.Now().Add(patience)
	for !done() {
		if time.Now().After(deadline) {
			out, _ := f.try("hosts")
			rollouts, _ := f.try("rollout", "list")
			f.t.Fatalf("waited in vain for %s\n%s\n%s", what, out, rollouts)
		}
		time.Sleep(200 * time.Millisecond)
	}
}
