package server_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/server"
)

// dial opens a connection to the server and writes to it.
func (r *running) dial(t testing.TB, text string) net.Conn {
	t.Helper()
	u, err := url.Parse(r.url)
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	return c
}

// status is how the server answers on a connection.
func status(t testing.TB, c net.Conn) int {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

// Anyone who may not do a thing is told so before it has sent a byte of what it
// wants to do.
func TestWhoComesBeforeWhat(t *testing.T) {
	conf := newConfig(t)
	conf.Heartbeats = server.HeartbeatsCredential
	r := start(t, conf)
	viewer := r.newToken(t, "viewer", api.RoleViewer, 0).Secret
	cases := []struct {
		name, method, path, token string
		want                      int
	}{
		{"a heartbeat of nobody", "POST", meta.PathV1, "", http.StatusUnauthorized},
		{"an old heartbeat of nobody", "POST", meta.PathLegacy, "", http.StatusUnauthorized},
		{"a heartbeat with a guess", "POST", meta.PathV1, "om_guess", http.StatusUnauthorized},
		{"a heartbeat of an operator", "POST", meta.PathV1, r.token, http.StatusForbidden},
		{"a noun", "PUT", "/api/v1/agents/a", "", http.StatusUnauthorized},
		{"a noun of a viewer", "PUT", "/api/v1/agents/a", viewer, http.StatusForbidden},
		{"a fleet file", "PUT", "/api/v1/fleet", viewer, http.StatusForbidden},
		{"an import", "POST", "/api/v1/fleet/import", "", http.StatusUnauthorized},
		{"an upload", "PUT", "/api/v1/agents/a/releases/1/artifacts/auto", viewer, http.StatusForbidden},
		{"an enrolment", "POST", "/api/v1/enroll", r.token, http.StatusForbidden},
		{"a form of the page", "POST", "/publish", "", http.StatusNotFound},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			head := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n", c.method, c.path)
			if c.token != "" {
				head += "Authorization: Bearer " + c.token + "\r\n"
			}
			begun := time.Now()
			if got := status(t, r.dial(t, head+"\r\n")); got != c.want {
				t.Errorf("got %d, want %d", got, c.want)
			}
			if took := time.Since(begun); took > 5*time.Second {
				t.Errorf("the answer waited %v for the body", took)
			}
		})
	}
}

// What a kilobyte becomes is not made: neither its agents nor its bytes.
func TestAKilobyteCostsAKilobyte(t *testing.T) {
	conf := newConfig(t)
	conf.Heartbeats = server.HeartbeatsOpen
	r := start(t, conf)
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = io.WriteString(z, `{"realAgents":[`+strings.Repeat("{},", 349_000)+`{}],"hostname":"x"}`)
	_ = z.Close()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var wg sync.WaitGroup
	const senders = 40
	for range senders {
		wg.Go(func() {
			req, _ := http.NewRequest(http.MethodPost, r.url+meta.PathV1, bytes.NewReader(packed.Bytes()))
			req.Header.Set("Content-Encoding", "gzip")
			resp, err := r.http.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusBadRequest {
				t.Errorf("got %d, want 400", resp.StatusCode)
			}
		})
	}
	wg.Wait()
	runtime.ReadMemStats(&after)
	if mib := int(after.TotalAlloc-before.TotalAlloc) >> 20 / senders; mib > 6 {
		t.Errorf("%d bytes cost %d MiB", packed.Len(), mib)
	}
}

// A body of the API has more in it than anybody would send by hand long
// before it has more than the server can hold.
func TestTheItemsOfABodyAreCounted(t *testing.T) {
	r := start(t, newConfig(t))
	body := `{"stages":[` + strings.TrimSuffix(strings.Repeat("{},", 2<<20), ",") + `]}`
	a := r.raw(t, http.MethodPut, "/api/v1/strategies/s", []byte(body))
	if a.StatusCode != http.StatusBadRequest || !strings.Contains(string(a.body), "more than 200000 items") {
		t.Errorf("got %d %.200s", a.StatusCode, a.body)
	}
}
