package server_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/pgtest"
	"github.com/ops-updater/ops-updater/meta/server"
)

// What was acknowledged before or during a shutdown is there afterwards.
func TestAShutdownLosesNothingAcknowledged(t *testing.T) {
	onBoth(t, func(t *testing.T, conf server.Config) {
		r := start(t, conf)
		var mu sync.Mutex
		agents, hosts := map[string]bool{}, map[string]bool{}
		var load sync.WaitGroup
		var enough atomic.Int64
		for w := range 4 {
			load.Go(func() {
				for i := 0; ; i++ {
					name := fmt.Sprintf("a-%d-%d", w, i)
					if _, err := r.admin.PutAgent(t.Context(), api.Agent{Name: name}); err != nil {
						return // it is stopping
					}
					mu.Lock()
					agents[name] = true
					mu.Unlock()
					enough.Add(1)
				}
			})
			load.Go(func() {
				for i := 0; ; i++ {
					name := fmt.Sprintf("h-%d-%d", w, i)
					body := fmt.Sprintf(`{"hostname":%q,"realAgents":[{"name":"x","version":"1","status":"started"}]}`, name)
					resp, err := http.Post(r.url+meta.PathV1, "application/json", strings.NewReader(body))
					if err != nil {
						return
					}
					resp.Body.Close()
					if resp.StatusCode != http.StatusOK {
						return
					}
					mu.Lock()
					hosts[name] = true
					mu.Unlock()
				}
			})
		}
		within(t, func() bool { return enough.Load() > 20 })
		if err := r.stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
		load.Wait()
		again := start(t, conf)
		for name := range agents {
			if _, err := again.admin.Agent(t.Context(), name); err != nil {
				t.Errorf("agent %s was acknowledged: %v", name, err)
			}
		}
		for name := range hosts {
			if _, err := again.admin.Host(t.Context(), name); err != nil {
				t.Errorf("the report of %s was acknowledged: %v", name, err)
			}
		}
		if len(agents) < 20 || len(hosts) == 0 {
			t.Errorf("only %d agents and %d hosts were written", len(agents), len(hosts))
		}
	})
}

func TestAShutdownEndsTheChangeFeed(t *testing.T) {
	r := start(t, newConfig(t))
	ended, heard := make(chan error, 1), make(chan api.FeedItem, 100)
	go func() { ended <- r.admin.Follow(t.Context(), 0, func(i api.FeedItem) { heard <- i }) }()
	if item := <-heard; item.Kind != "open" {
		t.Errorf("the first item is %+v", item)
	}
	if _, err := r.admin.PutAgent(t.Context(), api.Agent{Name: "a"}); err != nil {
		t.Fatal(err)
	}
	if item := <-heard; item.Kind != "agent" || item.Name != "a" || item.Seq == 0 {
		t.Errorf("heard %+v", item)
	}
	begun := time.Now()
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("stopping took %s with a reader of the feed", took)
	}
	if err := <-ended; err == nil {
		t.Error("the reader was not told that the feed ended")
	}
}

func TestAReaderOfTheFeedGoesOnWhereItWas(t *testing.T) {
	r := start(t, newConfig(t))
	r.publish(t, "a", "1")
	follow := func(after int64) api.FeedItem {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var first api.FeedItem
		_ = r.admin.Follow(ctx, after, func(i api.FeedItem) {
			if first.Seq == 0 {
				first = i
			}
			cancel()
		})
		return first
	}
	// Three items become known: the agent, its release, its artifact.
	within(t, func() bool { return follow(1).Seq == 2 })
	if got := follow(1 << 40); got.Kind != "reset" {
		t.Errorf("after a number of another life came %+v", got)
	}
}

// A change made through one replica is served by the other one.
func TestReplicasServeEachOthersChanges(t *testing.T) {
	conf := newConfig(t)
	conf.DB = pgtest.NewSchema(t)
	one := start(t, conf)
	conf.Data = t.TempDir()
	two := start(t, conf)
	two.token, two.admin = one.token, two.as(t, one.token)
	beat := meta.HeartbeatRequest{Hostname: "h", Arch: "linux_amd64", RealAgents: []meta.RealAgent{{Name: "x", Version: "0", Status: "started"}}}
	two.heartbeat(t, "", beat)
	one.publish(t, "demo", "1.0")
	one.deploy(t, "demo", "1.0")
	begun := time.Now()
	within(t, func() bool {
		got, _ := two.heartbeat(t, "", beat)
		return len(got.DesiredAgents) == 1 && got.DesiredAgents[0].Version == "1.0"
	})
	t.Logf("served by the other replica after %s", time.Since(begun))
	within(t, func() bool { _, err := one.admin.Host(t.Context(), "h"); return err == nil })

	bob := one.newToken(t, "bob", api.RoleViewer, 0)
	if err := second(two.as(t, bob.Secret).WhoAmI(t.Context())); err != nil {
		t.Fatalf("a token of the other replica is refused: %v", err)
	}
	if err := one.admin.DeleteToken(t.Context(), bob.ID); err != nil {
		t.Fatal(err)
	}
	within(t, func() bool { return second(two.as(t, bob.Secret).WhoAmI(t.Context())) != nil })

	// One dies; the other goes on.
	if err := one.stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := two.admin.PutAgent(t.Context(), api.Agent{Name: "after"}); err != nil {
		t.Errorf("the other replica cannot write: %v", err)
	}
}

func TestTheFirstTokenIsMadeOnce(t *testing.T) {
	conf := newConfig(t)
	r := start(t, conf)
	if n := r.Notice(); n.AdminToken != r.token || r.token == "" {
		t.Errorf("the first start tells %+v, the file holds %q", n, r.token)
	}
	info, err := os.Stat(filepath.Join(conf.Data, "admin.token"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("admin.token: %v, %v", info.Mode(), err)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if again := start(t, conf); again.Notice().AdminToken != "" {
		t.Error("the second start made another admin token")
	}
}

func TestHealthReadinessAndMetrics(t *testing.T) {
	r := start(t, newConfig(t))
	r.heartbeat(t, "", meta.HeartbeatRequest{Hostname: "h"})
	for path, says := range map[string]string{
		"/healthz": "ok", "/readyz": "ok", "/metrics": "ops_meta_hosts 1",
	} {
		if a := r.raw(t, "GET", path, nil, "Authorization", ""); a.StatusCode != 200 || !strings.Contains(string(a.body), says) {
			t.Errorf("%s: got %d %.200s", path, a.StatusCode, a.body)
		}
	}
	if a := r.raw(t, "GET", "/debug/pprof/", nil); a.StatusCode == 200 && strings.Contains(string(a.body), "goroutine") {
		t.Error("pprof is served though nobody asked for it")
	}
}
