package server_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/rs/zerolog"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/pgtest"
	"github.com/ops-updater/ops-updater/meta/server"
)

// onBoth runs a test on a fresh SQLite and a fresh PostgreSQL.
func onBoth(t *testing.T, test func(t *testing.T, conf server.Config)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { test(t, newConfig(t)) })
	t.Run("postgres", func(t *testing.T) {
		conf := newConfig(t)
		conf.DB = pgtest.NewSchema(t)
		test(t, conf)
	})
}

func newConfig(t testing.TB) server.Config {
	if testing.Short() {
		t.Skip("SKIPPED with -short: servers with their databases")
	}
	t.Helper()
	return server.Config{Listen: "127.0.0.1:0", Data: t.TempDir(), LogLevel: "error"}
}

// running is a server that serves, and its admin.
type running struct {
	*server.Server
	url   string
	token string
	admin *api.Client
	stop  func() error // shuts it down, once
	http  *http.Client
	tb    testing.TB
}

// start runs a server until the test ends or stop is called.
func start(t testing.TB, conf server.Config) *running {
	t.Helper()
	s, err := server.Open(t.Context(), conf, zerolog.Nop())
	if err != nil {
		t.Fatalf("open server: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	var stopped atomic.Bool
	r := &running{Server: s, url: s.URL(), http: &http.Client{}, tb: t, stop: func() error {
		if stopped.Swap(true) {
			return nil
		}
		cancel()
		return <-done
	}}
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Errorf("stop server: %v", err)
		}
	})
	secret, err := os.ReadFile(filepath.Join(conf.Data, "admin.token"))
	if err == nil {
		r.token = strings.TrimSpace(string(secret))
	}
	r.admin = r.as(t, r.token)
	return r
}

// as is a client of the server with a token.
func (r *running) as(t testing.TB, token string) *api.Client {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	c, err := api.NewClient(api.ClientConfig{Server: r.url, Token: token, Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// tarball packs files; control is added, executable, unless it is given.
func tarball(t testing.TB, files map[string]string) []byte {
	t.Helper()
	if _, given := files["control"]; !given {
		with := map[string]string{"control": "#!/bin/sh\n"}
		maps.Copy(with, files)
		files = with
	}
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	w := tar.NewWriter(zip)
	for name, text := range files {
		if text == "" {
			continue
		}
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(text))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// publish uploads a release whose content is its version.
func (r *running) publish(t testing.TB, agent, version string) api.Artifact {
	t.Helper()
	a, err := r.admin.Upload(t.Context(), api.Upload{
		Agent: agent, Version: version, Arch: "linux_amd64", Tarball: bytes.NewReader(tarball(t, map[string]string{"version": version})),
	})
	if err != nil {
		t.Fatalf("publish %s %s: %v", agent, version, err)
	}
	return a
}

// deploy lets everyone run a version.
func (r *running) deploy(t testing.TB, agent, version string) api.Assignment {
	t.Helper()
	a, err := r.admin.PutAssignment(t.Context(), api.Assignment{Agent: agent, Version: version, Scope: api.Scope{Kind: api.ScopeEveryone}})
	if err != nil {
		t.Fatalf("deploy %s %s: %v", agent, version, err)
	}
	return a
}

// answer is a reply with its body read.
type answer struct {
	*http.Response
	body []byte
}

// raw sends a request as it is, with the admin's token unless a header says
// otherwise.
func (r *running) raw(t testing.TB, method, path string, body []byte, headers ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, r.url+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+r.token)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := r.http.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return answer{resp, data}
}

// get asks for something below /api/v1 that must be there.
func (r *running) get(path string) error {
	if a := r.raw(r.tb, http.MethodGet, "/api/v1/"+path, nil); a.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", a.Status, a.body)
	}
	return nil
}

// heartbeat reports for a host; credential may be empty.
func (r *running) heartbeat(t testing.TB, credential string, beat meta.HeartbeatRequest) (meta.HeartbeatResponse, int) {
	t.Helper()
	body, err := json.Marshal(beat)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url+meta.PathV1, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if credential != "" {
		req.Header.Set("Authorization", "Bearer "+credential)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var out meta.HeartbeatResponse
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		t.Fatalf("heartbeat: status %d: %v", resp.StatusCode, err)
	}
	return out, resp.StatusCode
}

// problem is err as the server told it, or nil.
func problem(err error) *api.Problem {
	var p *api.Problem
	if errors.As(err, &p) {
		return p
	}
	return nil
}
