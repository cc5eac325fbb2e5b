package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/ops-updater/ops-updater/meta/api"
)

// result is how a command ended.
type result struct {
	code     int
	out, err string
}

// atHome gives a test a home of its own, and no word of any server.
func atHome(t *testing.T) (home string) {
	t.Helper()
	home = t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_CONFIG_HOME", home)
	for _, name := range []string{"SERVER", "TOKEN", "CA", "CERT", "KEY", "CONTEXT"} {
		t.Setenv("OPS_META_"+name, "")
	}
	return home
}

// ops runs a command line.
func ops(t *testing.T, args ...string) result {
	t.Helper()
	var out, err bytes.Buffer
	code := run(t.Context(), args, streams{strings.NewReader(""), &out, &err})
	return result{code, out.String(), err.String()}
}

// fakeServer answers what it has for a route, such as "GET /hosts", and notes
// what it was sent.
type fakeServer struct {
	URL    string
	routes map[string]any

	mu       sync.Mutex
	requests []string          // method, path and query
	bodies   map[string]string // the last one by method and path
	tokens   []string
}

func serveRoutes(t *testing.T, routes map[string]any) *fakeServer {
	t.Helper()
	f := &fakeServer{routes: routes, bodies: map[string]string{}}
	srv := httptest.NewServer(f)
	t.Cleanup(srv.Close)
	f.URL = srv.URL
	return f
}

func (f *fakeServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	path := strings.TrimPrefix(r.URL.Path, "/api/v1")
	route := r.Method + " " + path
	f.mu.Lock()
	f.requests = append(f.requests, r.Method+" "+strings.TrimPrefix(r.URL.RequestURI(), "/api/v1"))
	f.bodies[route] = string(body)
	f.tokens = append(f.tokens, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	f.mu.Unlock()
	reply, there := f.routes[route]
	if !there {
		reply = api.Problem{Type: "urn:ops-meta:notFound", Title: "Not Found", Status: http.StatusNotFound, Detail: "there is no " + path, Hint: "look again"}
	}
	if p, refused := reply.(api.Problem); refused {
		w.WriteHeader(p.Status)
	}
	_ = json.NewEncoder(w).Encode(reply)
}

// at are the flags that lead a command to the server.
func (f *fakeServer) at(args ...string) []string { return append(args, "--server", f.URL) }

// sent is what was sent to a route, with its fields in order.
func (f *fakeServer) sent(t *testing.T, route string) string {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(f.bodies[route]), &v); err != nil {
		t.Fatalf("%s was sent %q", route, f.bodies[route])
	}
	sorted, _ := json.Marshal(v)
	return string(sorted)
}

// pageOf is a listing of these.
func pageOf[T any](items ...T) api.Page[T] { return api.Page[T]{Items: items} }
