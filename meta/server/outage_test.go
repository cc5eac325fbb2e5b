package server_test

import (
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/pgtest"
	"github.com/ops-updater/ops-updater/meta/server"
)

// wire is the way to a PostgreSQL, which can be cut or stall.
type wire struct {
	mu    sync.Mutex
	cut   bool
	still *sync.Cond // nobody gets through while stalls
	stall bool
	conns map[net.Conn]struct{}
}

// newWire returns the address of a database by way of the wire.
func newWire(t *testing.T, dsn string) (*wire, string) {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	network, target := "tcp", u.Host
	if dir := u.Query().Get("host"); dir != "" {
		network, target = "unix", dir+"/.s.PGSQL.5432"
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	w := &wire{conns: map[net.Conn]struct{}{}}
	w.still = sync.NewCond(&w.mu)
	t.Cleanup(func() { w.setStall(false) })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			if out, err := net.Dial(network, target); err != nil || !w.join(in, out) {
				in.Close()
			}
		}
	}()
	q := u.Query()
	q.Del("host")
	q.Set("sslmode", "disable")
	u.Host, u.RawQuery = l.Addr().String(), q.Encode()
	return w, u.String()
}

// join carries bytes both ways, unless the wire is cut.
func (w *wire) join(a, b net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut {
		b.Close()
		return false
	}
	w.conns[a], w.conns[b] = struct{}{}, struct{}{}
	for _, pair := range [][2]net.Conn{{a, b}, {b, a}} {
		go func() {
			_, _ = io.Copy(through{pair[0], w}, pair[1])
			pair[0].Close()
			pair[1].Close()
		}()
	}
	return true
}

// through is a way out of a wire.
type through struct {
	net.Conn
	w *wire
}

// Write waits while the wire stalls.
func (c through) Write(p []byte) (int, error) {
	c.w.mu.Lock()
	for c.w.stall {
		c.w.still.Wait()
	}
	c.w.mu.Unlock()
	return c.Conn.Write(p)
}

func (w *wire) setStall(stall bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stall = stall
	w.still.Broadcast()
}

func (w *wire) setCut(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut = cut; cut {
		for c := range w.conns {
			c.Close()
		}
		clear(w.conns)
	}
}

// While the database is away hosts are answered from memory and their changes
// wait; operators are told that nothing is kept. Nothing acknowledged is lost.
func TestWithoutItsDatabaseHostsAreAnsweredFromMemory(t *testing.T) {
	conf := newConfig(t)
	conf.Heartbeats = server.HeartbeatsCredential
	db, dsn := newWire(t, pgtest.NewSchema(t))
	conf.DB = dsn
	r := start(t, conf)
	r.publish(t, "demo", "1.0")
	r.deploy(t, "demo", "1.0")
	fleet := r.as(t, r.newToken(t, "fleet", api.RoleEnroll, 0).Secret)
	cred, err := fleet.Enroll(t.Context(), api.Enrolment{Hostname: "h"})
	if err != nil {
		t.Fatal(err)
	}
	beat := func(version string) (meta.HeartbeatResponse, int) {
		return r.heartbeat(t, cred.Secret, meta.HeartbeatRequest{
			Hostname: "h", Arch: "linux_amd64", RealAgents: []meta.RealAgent{{Name: "demo", Version: version, Status: "started"}},
		})
	}
	beat("0.9")

	db.setCut(true)
	for _, c := range []struct{ name, version string }{{"a steady", "0.9"}, {"a changed", "1.0"}} {
		begun, name := time.Now(), c.name
		got, status := beat(c.version)
		if status != http.StatusOK || len(got.DesiredAgents) != 1 || got.DesiredAgents[0].Version != "1.0" {
			t.Errorf("%s heartbeat got %d %+v", name, status, got)
		}
		if took := time.Since(begun); took > 20*time.Second {
			t.Errorf("%s heartbeat took %s", name, took)
		}
	}
	beat("1.0")
	if _, err := r.admin.Hosts(t.Context(), api.HostQuery{}); err != nil {
		t.Errorf("hosts are not listed from memory: %v", err)
	}
	if got := r.raw(t, "GET", "/releases/demo/linux_amd64/demo-1.0.tar.gz", nil); got.StatusCode != http.StatusOK {
		t.Errorf("the tarball is not served: %d", got.StatusCode)
	}
	p := problem(second(r.admin.PutAgent(t.Context(), api.Agent{Name: "lost"})))
	if p == nil || p.Status != http.StatusServiceUnavailable || !strings.Contains(p.Hint, "/readyz") {
		t.Errorf("a write that cannot be kept got %+v", p)
	}
	for path, status := range map[string]int{"/healthz": http.StatusOK, "/readyz": http.StatusServiceUnavailable} {
		if got := r.raw(t, "GET", path, nil); got.StatusCode != status {
			t.Errorf("%s says %d, want %d", path, got.StatusCode, status)
		}
	}

	db.setCut(false)
	within(t, func() bool { return r.raw(t, "GET", "/readyz", nil).StatusCode == http.StatusOK })
	within(t, func() bool { _, err := r.admin.PutAgent(t.Context(), api.Agent{Name: "kept"}); return err == nil })
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	again := start(t, conf)
	h, err := again.admin.Host(t.Context(), "h")
	if err != nil || h.Agents[0].Version != "1.0" {
		t.Errorf("what the host reported meanwhile is lost: %+v, %v", h, err)
	}
	if _, err := again.admin.Agent(t.Context(), "kept"); err != nil {
		t.Error(err)
	}
}
