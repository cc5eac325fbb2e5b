package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
)

// fakeMeta is a server of a few lines, for scripts about the sidecar alone.
func fakeMeta(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 0, "fakemeta")
	log, err := os.OpenFile(ts.MkAbs("requests.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	ts.Check(err)
	m := &scriptedMeta{reply: ts.MkAbs("reply.json"), log: log, legacy: len(args) > 0 && args[0] == "legacy"}
	mux := http.NewServeMux()
	mux.Handle("/www/", http.StripPrefix("/www/", http.FileServer(http.Dir(ts.MkAbs("www")))))
	mux.Handle("/", m)
	server := httptest.NewServer(mux)
	ts.Defer(func() {
		server.Close()
		_ = log.Close()
	})
	ts.Setenv("META", strings.TrimPrefix(server.URL, "http://"))
}

type scriptedMeta struct {
	mu     sync.Mutex
	reply  string // path
	log    io.Writer
	legacy bool // knows the older dialect's path only
}

// ServeHTTP answers heartbeats of both dialects. In the reply {{META}} stands
// for the server's own address. Without a reply file it is out of order.
func (m *scriptedMeta) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	_, _ = fmt.Fprintf(m.log, "%s %s %s\n", r.Method, r.URL.Path, body)
	if m.legacy && r.URL.Path != "/heartbeat" {
		http.NotFound(w, r)
		return
	}
	reply, err := os.ReadFile(m.reply)
	if err != nil || r.Method != http.MethodPost {
		http.Error(w, "out of order", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, strings.ReplaceAll(string(reply), "{{META}}", r.Host))
}
