package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ops-updater/ops-updater/meta/api"
)

func newClient(t *testing.T, server string, rt http.RoundTripper) *api.Client {
	t.Helper()
	c, err := api.NewClient(api.ClientConfig{Server: server, Token: "secret", Transport: rt})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestClientSaysWhatItWants(t *testing.T) {
	var got string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Method + " " + r.RequestURI + " " + r.Header.Get("If-Match") + " " + r.Header.Get("Authorization")
		_, _ = io.WriteString(w, `{}`)
	}))
	defer srv.Close()
	c := newClient(t, strings.TrimPrefix(srv.URL, "http://"), nil)
	for name, tc := range map[string]struct {
		call func(context.Context) error
		want string
	}{
		"guarded write": {func(ctx context.Context) error {
			_, err := c.PutAgent(ctx, api.Agent{Name: "a", Revision: 7})
			return err
		}, `PUT /api/v1/agents/a "7" Bearer secret`},
		"scope in the path": {func(ctx context.Context) error {
			_, err := c.PutAssignment(ctx, api.Assignment{Agent: "a", Scope: api.Scope{Kind: api.ScopeGroup, Name: "w/b"}})
			return err
		}, `PUT /api/v1/agents/a/assignments/group:w%2Fb  Bearer secret`},
		"filter": {func(ctx context.Context) error {
			_, err := c.Hosts(ctx, api.HostQuery{Search: "x y", Failing: true, Limit: 5})
			return err
		}, `GET /api/v1/hosts?failing=true&limit=5&q=x+y  Bearer secret`},
	} {
		t.Run(name, func(t *testing.T) {
			if err := tc.call(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got != tc.want {
				t.Errorf("server saw %s, want %s", got, tc.want)
			}
		})
	}
}

func TestClientTellsProblemsApart(t *testing.T) {
	for name, tc := range map[string]struct {
		answer  http.HandlerFunc
		message string
		hint    string
	}{
		"problem": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(409)
			_ = json.NewEncoder(w).Encode(api.Problem{Title: "conflict", Detail: "it changed", Hint: "read it again"})
		}, "it changed", "read it again"},
		"proxy": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(502)
			_, _ = io.WriteString(w, "<html>")
		}, "without saying why", "check that the address"},
		"no TLS to a server that speaks it": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(400)
			_, _ = io.WriteString(w, "Client sent an HTTP request to an HTTPS server.\n")
		}, "speaks TLS", "https://"},
		"redirect to a login page": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/login", http.StatusFound)
		}, "302", "check that the address"},
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(tc.answer)
			defer srv.Close()
			_, err := newClient(t, srv.URL, nil).Agent(t.Context(), "a")
			var p *api.Problem
			if !errors.As(err, &p) || !strings.Contains(p.Error(), tc.message) || !strings.Contains(p.Hint, tc.hint) {
				t.Errorf("got %#v, want a problem saying %q with hint %q", err, tc.message, tc.hint)
			}
		})
	}
}

func TestClientNamesTheServerItCannotReach(t *testing.T) {
	_, err := newClient(t, "127.0.0.1:1", nil).Version(t.Context())
	var u *api.Unreachable
	if !errors.As(err, &u) || !strings.Contains(err.Error(), "http://127.0.0.1:1") {
		t.Errorf("got %v", err)
	}
}

func TestAllFollowsPages(t *testing.T) {
	got, err := api.All(func(cursor string) (api.Page[string], error) {
		next := map[string]string{"": "b", "b": "c"}[cursor]
		return api.Page[string]{Items: []string{"item" + cursor}, Next: next}, nil
	})
	if err != nil || fmt.Sprint(got) != "[item itemb itemc]" {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestScopeReadsWhatItWrites(t *testing.T) {
	for _, s := range []api.Scope{{Kind: api.ScopeEveryone}, {Kind: api.ScopeGroup, Name: "a:b"}, {Kind: api.ScopeHost, Name: "h"}} {
		if got, err := api.ParseScope(s.String()); err != nil || got != s {
			t.Errorf("%v came back as %v, %v", s, got, err)
		}
	}
	for _, bad := range []string{"", "all", "group", "group:", "everyone:x"} {
		if got, err := api.ParseScope(bad); err == nil {
			t.Errorf("%q was taken as %v", bad, got)
		}
	}
}

// The page speaks to its own process; a change feed must stream through.
func TestFollowThroughAHandler(t *testing.T) {
	gone := make(chan struct{})
	var addr string
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(gone)
		addr = r.RemoteAddr
		fmt.Fprintf(w, ": hello\n\nid: 3\ndata: {\"seq\":3,\"kind\":\"host\",\"name\":\"h1\"}\n\n")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(api.WithRemoteAddr(t.Context(), "192.0.2.7:99"))
	var got api.FeedItem
	err := newClient(t, "in-process", api.HandlerTransport(h)).Follow(ctx, 0, func(i api.FeedItem) {
		got = i
		cancel()
	})
	if !errors.Is(err, context.Canceled) || got.Name != "h1" || addr != "192.0.2.7:99" {
		t.Errorf("got %+v from %s, %v", got, addr, err)
	}
	<-gone
}

func TestHandlerTransportSurvivesAPanic(t *testing.T) {
	h := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("broken") })
	_, err := newClient(t, "in-process", api.HandlerTransport(h)).Agent(t.Context(), "a")
	var p *api.Problem
	if !errors.As(err, &p) || p.Status != 500 {
		t.Errorf("got %v, want status 500", err)
	}
}
