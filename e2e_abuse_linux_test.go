package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// abuse is one way to keep a server from others. It goes on until ctx ends and returns
// how often it did what it does.
type abuse struct {
	name string
	do   func(ctx context.Context, target *abused) int64
}

// abused is the server and how the abuser, who has an address of their own, gets there.
type abused struct {
	addr   string
	dialer *net.Dialer
	tls    *tls.Config
	client *http.Client // with connections that are kept
}

// connections opens n connections, says begins on each, then rest byte by byte, and
// opens those that were closed again.
func (a *abused) connections(ctx context.Context, n int, handshake bool, begins, rest string) int64 {
	var opened atomic.Int64
	var group sync.WaitGroup
	for range n {
		group.Go(func() {
			for ctx.Err() == nil {
				c, err := a.dialer.DialContext(ctx, "tcp", a.addr)
				if err != nil {
					pause(ctx, 50*time.Millisecond)
					continue
				}
				opened.Add(1)
				a.trickle(ctx, c, handshake, begins, rest)
				_ = c.Close()
			}
		})
	}
	group.Wait()
	return opened.Load()
}

func (a *abused) trickle(ctx context.Context, c net.Conn, handshake bool, begins, rest string) {
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	if handshake {
		secure := tls.Client(c, a.tls)
		if secure.HandshakeContext(ctx) != nil {
			return
		}
		c = secure
	}
	if _, err := io.WriteString(c, begins); err != nil {
		return
	}
	for i := 0; ctx.Err() == nil; i++ {
		if rest == "" {
			_, _ = c.Read(make([]byte, 1)) // until the server has had enough
			return
		}
		if _, err := io.WriteString(c, rest[i%len(rest):i%len(rest)+1]); err != nil {
			return
		}
		pause(ctx, 100*time.Millisecond)
	}
}

// requests makes requests as fast as n connections allow.
func (a *abused) requests(ctx context.Context, n int, path, token string, body []byte) int64 {
	var made atomic.Int64
	var group sync.WaitGroup
	for range n {
		group.Go(func() {
			for ctx.Err() == nil {
				request, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+a.addr+path, bytes.NewReader(body))
				if err != nil {
					return
				}
				request.Header.Set("Content-Type", "application/json")
				request.Header.Set("Authorization", "Bearer "+token)
				response, err := a.client.Do(request)
				if err != nil {
					pause(ctx, 10*time.Millisecond)
					continue
				}
				_, _ = io.Copy(io.Discard, response.Body)
				_ = response.Body.Close()
				made.Add(1)
			}
		})
	}
	group.Wait()
	return made.Load()
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// served is what a host that behaves sees of the server.
type served struct {
	times  []time.Duration
	failed []error
}

func (s served) quantile(q float64) time.Duration {
	if len(s.times) == 0 {
		return 0
	}
	slices.Sort(s.times)
	return s.times[min(int(q*float64(len(s.times))), len(s.times)-1)]
}

// TestOthersAreServedWhileTheServerIsAbused has one address abuse a server in every way
// that is known to work on some server, and another one keep making heartbeats. ABUSE is
// how long each goes on; `make abuse` gives the figures of docs/RELIABILITY.md.
func TestOthersAreServedWhileTheServerIsAbused(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED with -short: starts servers")
	}
	long, err := time.ParseDuration(envOr("ABUSE", "1500ms"))
	if err != nil {
		t.Fatal(err)
	}
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{t: t, bin: bin, dir: t.TempDir(), addr: freeAddr(t)}
	t.Cleanup(func() { killDaemons(s.dir) })
	cert, key := s.certificate()
	s.start("meta.log", "ops-meta", "serve", "--listen", s.addr, "--data", filepath.Join(s.dir, "meta"), "--tls-cert", cert, "--tls-key", key, "--heartbeats", "credential")
	meta := func(args ...string) (string, error) {
		secret, _ := os.ReadFile(filepath.Join(s.dir, "meta", "admin.token"))
		cmd := exec.Command(filepath.Join(bin, "ops-meta"), args...)
		cmd.Env = append(os.Environ(), "OPS_META_SERVER=https://"+s.addr, "OPS_META_CA="+cert, "OPS_META_TOKEN="+strings.TrimSpace(string(secret)))
		out, err := cmd.CombinedOutput()
		return strings.TrimSpace(string(out)), err
	}
	s.eventually("an answer of ops-meta", func() bool { _, err := meta("status"); return err == nil })
	enrolment, err := meta("token", "create", "enrolment", "--role", "enroll")
	if err != nil {
		t.Fatal(enrolment)
	}
	credential, err := meta("token", "enroll", "web-1", "--token", enrolment)
	if err != nil {
		t.Fatal(credential)
	}
	pem, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	trusted := &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}
	honest := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: trusted.Clone()}}
	abuser := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.0.0.2")}, Timeout: 2 * time.Second}
	target := &abused{addr: s.addr, dialer: abuser, tls: trusted, client: &http.Client{
		Timeout: 10 * time.Second, Transport: &http.Transport{DialContext: abuser.DialContext, TLSClientConfig: trusted.Clone(), MaxIdleConnsPerHost: 64},
	}}
	body := []byte(`{"hostname":"web-1","ip":"127.0.0.1","realAgents":[]}`)
	heartbeats := func(ctx context.Context) (seen served) {
		for ctx.Err() == nil {
			began := time.Now()
			// A host's heartbeat is not cut off because the abuse is over.
			request, err := http.NewRequestWithContext(context.WithoutCancel(ctx), http.MethodPost, "https://"+s.addr+"/api/heartbeat", bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Content-Type", "application/json")
			request.Header.Set("Authorization", "Bearer "+credential)
			response, err := honest.Do(request)
			if err == nil {
				_, _ = io.Copy(io.Discard, response.Body)
				_ = response.Body.Close()
				if response.StatusCode != http.StatusOK {
					err = fmt.Errorf("HTTP %d", response.StatusCode)
				}
			}
			if err != nil {
				seen.failed = append(seen.failed, err)
			}
			seen.times = append(seen.times, time.Since(began))
			honest.CloseIdleConnections() // hosts come once in minutes: each with a handshake
			pause(ctx, 10*time.Millisecond)
		}
		return seen
	}
	big := bytes.Repeat([]byte("x"), 8<<20)
	for _, a := range []abuse{
		{"nothing", func(ctx context.Context, _ *abused) int64 { <-ctx.Done(); return 0 }},
		{"half-open connections", func(ctx context.Context, a *abused) int64 { return a.connections(ctx, 300, false, "", "") }},
		{"half a handshake", func(ctx context.Context, a *abused) int64 {
			return a.connections(ctx, 300, false, "\x16\x03\x01\x02\x00\x01", "")
		}},
		{"slow headers", func(ctx context.Context, a *abused) int64 {
			return a.connections(ctx, 100, true, "POST /api/heartbeat HTTP/1.1\r\nHost: x\r\nX-Slow: ", "slow")
		}},
		{"slow bodies", func(ctx context.Context, a *abused) int64 {
			return a.connections(ctx, 100, true, "POST /api/heartbeat HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+credential+"\r\nContent-Length: 1000\r\n\r\n{", " ")
		}},
		{"flood of heartbeats", func(ctx context.Context, a *abused) int64 {
			return a.requests(ctx, 32, "/api/heartbeat", credential, body)
		}},
		{"oversized bodies", func(ctx context.Context, a *abused) int64 {
			return a.requests(ctx, 8, "/api/heartbeat", credential, big)
		}},
		{"handshakes", func(ctx context.Context, a *abused) int64 {
			var made atomic.Int64
			var group sync.WaitGroup
			for range 8 {
				group.Go(func() {
					for ctx.Err() == nil {
						c, err := tls.DialWithDialer(a.dialer, "tcp", a.addr, a.tls)
						if err == nil {
							made.Add(1)
							_ = c.Close()
						}
					}
				})
			}
			group.Wait()
			return made.Load()
		}},
		{"wrong tokens", func(ctx context.Context, a *abused) int64 {
			return a.requests(ctx, 32, "/api/heartbeat", "wrong", body)
		}},
	} {
		t.Run(a.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), long)
			defer cancel()
			var did int64
			over := make(chan struct{})
			go func() {
				defer close(over)
				did = a.do(ctx, target)
			}()
			seen := heartbeats(ctx)
			<-over
			t.Logf("ABUSE | %s | %d | %d | %v | %v | %v | %d |", a.name, did, len(seen.times),
				seen.quantile(0.5).Round(100*time.Microsecond), seen.quantile(0.99).Round(100*time.Microsecond), seen.quantile(1).Round(100*time.Microsecond), len(seen.failed))
			if len(seen.failed) > 0 {
				t.Errorf("%d of %d heartbeats of another address failed, the first: %v", len(seen.failed), len(seen.times), seen.failed[0])
			}
			if len(seen.times) == 0 || a.name != "nothing" && did == 0 {
				t.Errorf("%d heartbeats beside %d times of the abuse: nothing was tried", len(seen.times), did)
			}
		})
	}
}

func envOr(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}
