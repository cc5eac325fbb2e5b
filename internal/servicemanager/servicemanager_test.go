package servicemanager_test

import (
	"context"
	"net"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/internal/servicemanager"
)

// manager is what systemd is to a service: a socket that takes datagrams.
func manager(t *testing.T) func() string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return func() string {
		t.Helper()
		_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
		buf := make([]byte, 4096)
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
}

func TestAServiceSaysHowItFares(t *testing.T) {
	heard := manager(t)
	for _, c := range []struct {
		say  func()
		want string
	}{
		{servicemanager.Ready, "READY=1"},
		{servicemanager.HandOver, "READY=1\nWATCHDOG_USEC=0"},
	} {
		c.say()
		if got := heard(); got != c.want {
			t.Errorf("said %q, want %q", got, c.want)
		}
	}
}

func TestSignsOfLifeEndWithLife(t *testing.T) {
	heard := manager(t)
	const length = 60 * time.Millisecond
	t.Setenv("WATCHDOG_USEC", strconv.FormatInt(length.Microseconds(), 10))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stuck, ended, asked := make(chan struct{}), make(chan struct{}), 0
	go func() {
		defer close(ended)
		servicemanager.KeepAlive(ctx, func() {
			if asked++; asked == 3 {
				<-stuck
				cancel()
			}
		})
	}()
	for _, want := range []string{"WATCHDOG_USEC=60000", "WATCHDOG=1", "WATCHDOG=1"} {
		if got := heard(); got != want {
			t.Errorf("said %q, want %q", got, want)
		}
	}
	// It is stuck: what comes next is what somebody else says.
	servicemanager.Ready()
	if got := heard(); got != "READY=1" {
		t.Errorf("said %q while it was stuck", got)
	}
	close(stuck)
	if got := heard(); got != "WATCHDOG=1" {
		t.Errorf("said %q once it was no longer stuck", got)
	}
	<-ended
}

func TestNothingIsSaidWhereNobodyListens(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	t.Setenv("WATCHDOG_USEC", "")
	servicemanager.Ready()
	servicemanager.KeepAlive(t.Context(), func() { t.Error("asked without a watchdog") })
}
