package server_test

import (
	"bytes"
	"context"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/server"
)

// What hosts are told to download from is looked at by doctor, and said at the
// start where it is a guess.
func TestThePublicURLIsLookedAt(t *testing.T) {
	hostname, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		listen, publicURL string
		level, detail     string
		warned            bool
	}{
		"a loopback address":          {listen: "127.0.0.1:0", level: api.CheckOK, detail: "answers"},
		"every address, none given":   {listen: ":0", level: api.CheckWarning, detail: hostname, warned: true},
		"every address in full":       {listen: "0.0.0.0:0", level: api.CheckWarning, detail: hostname, warned: true},
		"given, its name has none":    {listen: ":0", publicURL: "http://ops-meta.invalid:2000", level: api.CheckWarning, detail: "ops-meta.invalid has no address"},
		"given, and nothing is there": {listen: ":0", publicURL: "http://127.0.0.1:1", level: api.CheckWarning, detail: "cannot be reached"},
	} {
		t.Run(name, func(t *testing.T) {
			conf := newConfig(t)
			conf.Listen, conf.PublicURL = c.listen, c.publicURL
			var log syncBuffer
			admin, stop := startLogged(t, conf, &log)
			checks, err := admin.Doctor(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var got api.Check
			for _, check := range checks {
				if check.Name == "public URL" {
					got = check
				}
			}
			if got.Level != c.level || !strings.Contains(got.Detail, c.detail) {
				t.Errorf("doctor says %q %q, want %q with %q", got.Level, got.Detail, c.level, c.detail)
			}
			if got.Level != api.CheckOK && !strings.Contains(got.Hint, "--public-url") {
				t.Errorf("the hint %q does not name the flag", got.Hint)
			}
			stop()
			if warned := strings.Contains(log.String(), "publicUrl is not given"); warned != c.warned {
				t.Errorf("warned of a guess: %v, want %v; the log:\n%s", warned, c.warned, log.String())
			}
		})
	}
}

// startLogged runs a server on loopback, whatever it listens on.
func startLogged(t *testing.T, conf server.Config, log *syncBuffer) (admin *api.Client, stop func()) {
	t.Helper()
	s, err := server.Open(t.Context(), conf, zerolog.New(log))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("stop server: %v", err)
		}
	})
	t.Cleanup(stop)
	secret, err := os.ReadFile(filepath.Join(conf.Data, "admin.token"))
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	admin, err = api.NewClient(api.ClientConfig{Server: "http://127.0.0.1:" + u.Port(), Token: strings.TrimSpace(string(secret))})
	if err != nil {
		t.Fatal(err)
	}
	return admin, stop
}

// syncBuffer is a log that is written and read at once.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
