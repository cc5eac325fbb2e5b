//go:build unix

package main

import (
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// A server that may open few files answers everybody while one address keeps
// more connections open than that: idle ones, ones without a request, and
// ones with half of one.
func TestConnectionsOfOneAddressKeepNobodyOut(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED with -short: starts servers")
	}
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	for name, begins := range map[string]string{
		"nothing is sent":   "",
		"half a header":     "POST /api/heartbeat HTTP/1.1\r\nHost:",
		"half a body":       "POST /api/heartbeat HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{",
		"half a login":      "POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 1000\r\n\r\ntoken=",
		"kept after a page": "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			listen, dir := freeAddress(t), t.TempDir()
			log, err := os.Create(filepath.Join(dir, "meta.log"))
			if err != nil {
				t.Fatal(err)
			}
			defer log.Close()
			cmd := exec.Command("sh", "-c", `ulimit -n 160; exec "$@"`, "sh", filepath.Join(bin, "ops-meta"),
				"serve", "--listen", listen, "--data", filepath.Join(dir, "meta"), "--heartbeats", "open")
			cmd.Stdout, cmd.Stderr = log, log
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer stopProcess(cmd, syscall.SIGTERM)
			awaitTrue(t, "the server", func() bool { return answers(listen, time.Second) })
			for range 400 {
				c, err := net.DialTimeout("tcp", listen, 5*time.Second)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				_, _ = io.WriteString(c, begins)
			}
			for range 3 {
				if !answers(listen, 5*time.Second) {
					said, _ := os.ReadFile(log.Name())
					t.Fatalf("it does not answer others; its log:\n%s", said)
				}
			}
		})
	}
}

// answers asks a server on a connection of its own.
func answers(address string, within time.Duration) bool {
	c := http.Client{Timeout: within, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Get("http://" + address + "/readyz")
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

func awaitTrue(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}
