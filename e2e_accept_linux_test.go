package main

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A server without file descriptors says so in its log, not at debug only and
// not a thousand times a second, and is not ready meanwhile.
func TestOutOfFileDescriptorsIsSaidAndNotReady(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED with -short: starts servers")
	}
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	dir, address := t.TempDir(), freeAddress(t)
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "ops-meta"), "serve", "--listen", address, "--data", filepath.Join(dir, "data"), "--log-level", "warn", "--log-format", "json")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer stopProcess(cmd, syscall.SIGKILL)
	kept := &http.Client{Timeout: 20 * time.Second} // keeps its connection
	ready := func() (int, string) {
		resp, err := kept.Get("http://" + address + "/readyz")
		if err != nil {
			return 0, err.Error()
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body)
	}
	until := func(what string, done func() bool) {
		t.Helper()
		for end := time.Now().Add(patience); !done(); time.Sleep(50 * time.Millisecond) {
			if time.Now().After(end) {
				code, body := ready()
				t.Fatalf("%s: /readyz says %d %s", what, code, body)
			}
		}
	}
	until("it never got ready", func() bool { code, _ := ready(); return code == http.StatusOK })
	open, err := os.ReadDir("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/fd")
	if err != nil {
		t.Fatal(err)
	}
	few := uint64(len(open) + 8)
	if err := unix.Prlimit(cmd.Process.Pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: few, Max: few}, nil); err != nil {
		t.Fatal(err)
	}
	var conns []net.Conn
	for range 30 {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	until("it stayed ready without file descriptors", func() bool {
		code, body := ready()
		return code == http.StatusServiceUnavailable && strings.Contains(body, "too many open files")
	})
	for _, c := range conns {
		c.Close()
	}
	until("it did not recover", func() bool { code, _ := ready(); return code == http.StatusOK })
	text, err := os.ReadFile(log.Name())
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(text, []byte("out of file descriptors")); n < 1 || n > 10 {
		t.Errorf("the log says it %d times:\n%s", n, text)
	}
}
