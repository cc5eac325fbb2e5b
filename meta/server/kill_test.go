package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/server"
)

// rounds is how often the server is killed: a few times, or as often as the
// soak wants (make soak-kill).
func rounds(t *testing.T) int {
	t.Helper()
	n, err := strconv.Atoi(os.Getenv("OPS_META_KILLS"))
	if err != nil {
		return 4
	}
	return n
}

// The shipped program is killed at random moments under load. Whatever it
// acknowledged (releases, assignments, holds, their audit entries, versions
// that hosts reported) is there when it runs again.
func TestKillNineLosesNothingAcknowledged(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED kill -9 of the real program: -short")
	}
	bin := buildProgram(t, "")
	onBoth(t, func(t *testing.T, conf server.Config) {
		l := &ledger{releases: map[string]string{}, assigned: map[string]string{}, holds: map[string]bool{}, versions: map[string]string{}}
		for round := range rounds(t) {
			p := startProgram(t, bin, conf)
			l.check(t, p, round)
			p.load(t, l, round)
			if t.Failed() {
				return
			}
		}
		p := startProgram(t, bin, conf)
		l.check(t, p, rounds(t))
		p.kill()
		t.Logf("acknowledged and kept: %d releases, %d assignments, %d holds, %d writes in the audit log, %d hosts' versions",
			len(l.releases), len(l.assigned), len(l.holds), l.writes, len(l.versions))
		if len(l.releases) == 0 || len(l.versions) == 0 || len(l.holds) == 0 {
			t.Error("nothing was written between the kills")
		}
	})
}

// buildProgram builds ops-meta with build tags.
func buildProgram(t *testing.T, tags string) (bin string) {
	t.Helper()
	bin = filepath.Join(t.TempDir(), "ops-meta")
	if out, err := exec.Command("go", "build", "-tags", tags, "-o", bin, "../../cmd/ops-meta").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return bin
}

// ledger is what the server acknowledged.
type ledger struct {
	mu       sync.Mutex
	releases map[string]string // version: sha256
	assigned map[string]string // agent@host: version that was last acknowledged
	pending  map[string]string // agent@host: version that may or may not be there
	holds    map[string]bool
	versions map[string]string // host: version that it last had acknowledged
	trying   map[string]string // host: version that may or may not be there
	writes   int               // acknowledged writes that are in the audit log
}

// program is the server as a process.
type program struct {
	cmd    *exec.Cmd
	ended  chan struct{}
	client *api.Client
	url    string
}

// startProgram starts the server and logs in as its first admin.
func startProgram(t *testing.T, bin string, conf server.Config) *program {
	t.Helper()
	p := launch(t, bin, conf)
	secret, err := os.ReadFile(filepath.Join(conf.Data, "admin.token"))
	if err != nil {
		t.Fatal(err)
	}
	p.login(t, strings.TrimSpace(string(secret)))
	return p
}

// launch starts the server and waits until it listens.
func launch(t *testing.T, bin string, conf server.Config) *program {
	t.Helper()
	address := filepath.Join(conf.Data, "address")
	_ = os.Remove(address)
	args := []string{"serve", "--data", conf.Data, "--listen", conf.Listen, "--log-level", "warn"}
	if conf.DB != "" {
		args = append(args, "--db", conf.DB)
	}
	var said bytes.Buffer
	p := &program{cmd: exec.Command(bin, args...), ended: make(chan struct{})}
	p.cmd.Stderr, p.cmd.Stdout = &said, io.Discard
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = p.cmd.Wait(); close(p.ended) }()
	t.Cleanup(p.kill)
	within(t, func() bool {
		select {
		case <-p.ended:
			t.Fatalf("the server ended at once: %s", said.String())
		default:
		}
		data, _ := os.ReadFile(address)
		p.url = strings.TrimSpace(string(data))
		return strings.HasSuffix(string(data), "\n")
	})
	return p
}

func (p *program) login(t *testing.T, secret string) {
	t.Helper()
	var err error
	p.client, err = api.NewClient(api.ClientConfig{Server: p.url, Token: secret, Transport: &http.Transport{}})
	if err != nil {
		t.Fatal(err)
	}
}

func (p *program) kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// load writes from many sides until the server is killed in the middle of it.
func (p *program) load(t *testing.T, l *ledger, round int) {
	l.pending, l.trying = map[string]string{}, map[string]string{}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var load sync.WaitGroup
	run := func(write func(i int) error) {
		load.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				if write(i) != nil {
					return
				}
			}
		})
	}
	run(func(i int) error { return p.publish(ctx, t, l, fmt.Sprintf("%d.%d", round, i)) })
	for w := range 2 {
		run(func(i int) error { return p.assign(ctx, l, fmt.Sprintf("host-%d", w)) })
	}
	run(func(i int) error { return p.hold(ctx, l, fmt.Sprintf("h-%d-%d", round, i)) })
	for w := range 3 {
		run(func(i int) error {
			return p.report(ctx, l, fmt.Sprintf("web-%d-%d", w, i%5), fmt.Sprintf("%d.%d", round, i))
		})
	}
	time.Sleep(time.Duration(100+rand.IntN(700)) * time.Millisecond)
	p.kill()
	cancel()
	load.Wait()
}

func (l *ledger) note(do func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	do()
}

func (p *program) publish(ctx context.Context, t *testing.T, l *ledger, version string) error {
	a, err := p.client.Upload(ctx, api.Upload{
		Agent: "demo", Version: version, Arch: "linux_amd64", Tarball: bytes.NewReader(tarball(t, map[string]string{"v": version})),
	})
	if err == nil {
		l.note(func() { l.releases[version] = a.SHA256; l.writes++ })
	}
	return err
}

func (p *program) assign(ctx context.Context, l *ledger, host string) error {
	var version, before string
	l.note(func() {
		for v := range l.releases {
			version = v
		}
		before, l.pending[host] = l.assigned[host], version
	})
	if version == "" {
		return nil
	}
	_, err := p.client.PutAssignment(ctx, api.Assignment{Agent: "demo", Version: version, Scope: api.Scope{Kind: api.ScopeHost, Name: host}})
	if err == nil {
		l.note(func() {
			l.assigned[host] = version
			delete(l.pending, host)
			if before != version {
				l.writes++
			}
		})
	}
	return err
}

func (p *program) hold(ctx context.Context, l *ledger, host string) error {
	h, err := p.client.CreateHold(ctx, api.Hold{Scope: api.Scope{Kind: api.ScopeHost, Name: host}, Reason: "soak"})
	if err == nil {
		l.note(func() { l.holds[h.ID] = true; l.writes++ })
	}
	return err
}

func (p *program) report(ctx context.Context, l *ledger, host, version string) error {
	l.note(func() { l.trying[host] = version })
	body, err := json.Marshal(meta.HeartbeatRequest{Hostname: host, RealAgents: []meta.RealAgent{{Name: "demo", Version: version, Status: "started"}}})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url+meta.PathV1, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %w", resp.Status, err)
	}
	l.note(func() { l.versions[host] = version; delete(l.trying, host) })
	return nil
}

// check holds the server that runs again against the ledger.
func (l *ledger) check(t *testing.T, p *program, round int) {
	t.Helper()
	for version, sum := range l.releases {
		rel, err := p.client.Release(t.Context(), "demo", version)
		if err != nil || len(rel.Artifacts) != 1 || rel.Artifacts[0].SHA256 != sum {
			t.Errorf("round %d: release %s was acknowledged: got %+v, %v", round, version, rel, err)
		}
	}
	for host, version := range l.assigned {
		as, err := p.client.Assignment(t.Context(), "demo", api.Scope{Kind: api.ScopeHost, Name: host})
		if err != nil || as.Version != version && as.Version != l.pending[host] {
			t.Errorf("round %d: %s was assigned %s: got %+v, %v", round, host, version, as, err)
		}
		l.assigned[host] = as.Version
	}
	holds, err := api.All(func(cursor string) (api.Page[api.Hold], error) {
		return p.client.Holds(t.Context(), api.ListOptions{Cursor: cursor, Limit: api.MaxPage})
	})
	if err != nil {
		t.Fatalf("round %d: holds: %v", round, err)
	}
	there := map[string]bool{}
	for _, h := range holds {
		there[h.ID] = true
	}
	for id := range l.holds {
		if !there[id] {
			t.Errorf("round %d: hold %s was acknowledged and is gone", round, id)
		}
	}
	l.checkAudit(t, p, round)
	for host, version := range l.versions {
		h, err := p.client.Host(t.Context(), host)
		if err != nil || len(h.Agents) != 1 || h.Agents[0].Version != version && h.Agents[0].Version != l.trying[host] {
			t.Errorf("round %d: %s had its %s acknowledged: got %+v, %v", round, host, version, h.Agents, err)
		}
		if err == nil && len(h.Agents) == 1 {
			l.versions[host] = h.Agents[0].Version
		}
	}
}

// checkAudit counts the writes of operators; those that were not acknowledged
// may be there as well.
func (l *ledger) checkAudit(t *testing.T, p *program, round int) {
	t.Helper()
	entries := 0
	for _, kind := range []string{"artifact", "assignment", "hold"} {
		all, err := api.All(func(cursor string) (api.Page[api.AuditEntry], error) {
			return p.client.Audit(t.Context(), api.ListOptions{Kind: kind, Cursor: cursor, Limit: api.MaxPage})
		})
		if err != nil {
			t.Fatalf("round %d: audit: %v", round, err)
		}
		entries += len(all)
	}
	if entries < l.writes {
		t.Errorf("round %d: %d writes were acknowledged, the audit log has %d", round, l.writes, entries)
	}
}
