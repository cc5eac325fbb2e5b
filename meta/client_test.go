package meta_test

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ops-updater/ops-updater/meta"
)

func client(t *testing.T, config meta.ClientConfig) *meta.Client {
	t.Helper()
	c, err := meta.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func answer(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }
}

const oneAgent = `{"errorMessage":"","desiredAgents":[{"name":"a","version":"1","tarball":"http://r.example/a","cmd":"start"}]}`

func TestBeatAnswers(t *testing.T) {
	cases := []struct {
		name    string
		handler http.HandlerFunc
		want    string // part of the error; empty: success
	}{
		{"one agent", answer(oneAgent), ""},
		{"one agent, called a page", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = io.WriteString(w, "\n"+oneAgent)
		}, ""},
		{"a page", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = io.WriteString(w, "sign in")
		}, "an HTML page"},
		{"null list", answer(`{"errorMessage":"","desiredAgents":null}`), ""},
		{"error message", answer(`{"errorMessage":"go away","desiredAgents":[]}`), "the server says: go away"},
		{"success false", answer(`{"success":false,"message":"hostname is blank"}`), "the server refused: hostname is blank"},
		{"no list at all", answer(`{}`), "no desiredAgents"},
		{"list of the wrong type", answer(`{"desiredAgents":{"a":1}}`), "neither a list nor null"},
		{"not JSON", answer(`hello`), "not a heartbeat's"},
		{"cut off", answer(oneAgent[:40]), "not a heartbeat's"},
		{"nothing", answer(``), "not a heartbeat's"},
		{"too deep", answer(`{"desiredAgents":` + strings.Repeat("[", 1e6)), "nested deeper than 16 levels"},
		{"depth inside a string does not count", answer(`{"errorMessage":"","x":"` + strings.Repeat("[", 100) + `\"[","desiredAgents":[]}`), ""},
		{"too many agents", answer(`{"desiredAgents":[` + strings.Repeat("0,", 1e6) + `0]}`), "more than 1000 agents"},
		{"too long", func(w http.ResponseWriter, _ *http.Request) {
			for range 6 << 10 {
				_, _ = w.Write([]byte(strings.Repeat(" ", 1<<10)))
			}
		}, "over 4194304 bytes"},
		{"gzip bomb", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			for range 64 << 10 {
				_, _ = z.Write(make([]byte, 4<<10))
			}
			_ = z.Close()
		}, "over 4194304 bytes"},
		{"gzip", func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Accept-Encoding") != "gzip" {
				w.WriteHeader(http.StatusNotAcceptable)
			}
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			_, _ = io.WriteString(z, oneAgent)
			_ = z.Close()
		}, ""},
		{"plain 500", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "boom\x1b[31m", 500) }, "HTTP 500: boom [31m"},
		{"problem+json", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"title":"Unauthorized","detail":"the token has expired"}`)
		}, "HTTP 401: the token has expired"},
		{"304 nobody asked for", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotModified) }, "not asked that"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			cl := client(t, meta.ClientConfig{Servers: []string{serve(t, c.handler)}, Dialect: meta.DialectV1})
			_, err := cl.Beat(t.Context(), meta.HeartbeatRequest{Hostname: "h"})
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Fatalf("error %v; want %q", err, c.want)
			}
		})
	}
}

func TestOneBrokenAgentLeavesTheOthersAlone(t *testing.T) {
	body := `{"desiredAgents":[
		{"name":"../etc","version":"1","cmd":"start"},
		{"name":"good","version":"1","tarball":"http://r.example","cmd":"start"},
		{"name":"wrongtype","version":7,"cmd":"start"},
		{"name":"good","version":"2","tarball":"http://r.example","cmd":"start"},
		{"name":"relative","version":"1","cmd":"start","workDir":"a/b"},
		17]}`
	r, rejected, err := meta.DecodeReply([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	if len(r.DesiredAgents) != 1 || r.DesiredAgents[0].Name != "good" || r.DesiredAgents[0].Version != "1" {
		t.Errorf("kept %+v; want good 1 alone", r.DesiredAgents)
	}
	var names []string
	for _, x := range rejected {
		names = append(names, x.Name)
		if x.Reason == "" {
			t.Errorf("%s was rejected without a reason", x.Name)
		}
	}
	if diff := cmp.Diff([]string{"../etc", "wrongtype", "good", "relative", ""}, names); diff != "" {
		t.Error(diff)
	}
}

func TestAutoDialectFallsBackRemembersAndReturns(t *testing.T) {
	var paths []string
	var upgraded atomic.Bool
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		paths = append(paths, r.URL.Path)
		if wantPath := map[bool]string{false: meta.PathLegacy, true: meta.PathV1}[upgraded.Load()]; r.URL.Path != wantPath {
			http.Redirect(w, r, "/user/login", http.StatusFound)
			return
		}
		_, _ = io.WriteString(w, oneAgent)
	})
	cl := client(t, meta.ClientConfig{Servers: []string{url}})
	beat := func(want meta.Dialect) {
		t.Helper()
		r, err := cl.Beat(t.Context(), meta.HeartbeatRequest{Hostname: "h"})
		if err != nil || r.Dialect != want {
			t.Fatalf("dialect %q, error %v; want %q", r.Dialect, err, want)
		}
	}
	beat(meta.DialectLegacy)
	beat(meta.DialectLegacy)
	upgraded.Store(true)
	beat(meta.DialectV1)
	beat(meta.DialectV1)
	want := []string{meta.PathV1, meta.PathLegacy, meta.PathLegacy, meta.PathLegacy, meta.PathV1, meta.PathV1}
	if diff := cmp.Diff(want, paths); diff != "" {
		t.Error(diff)
	}
}

func TestRedirectsAreNeverFollowedAndTheTokenStaysHome(t *testing.T) {
	var strangers atomic.Int32
	stranger := serve(t, func(http.ResponseWriter, *http.Request) { strangers.Add(1) })
	var tokens []string
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		tokens = append(tokens, r.Header.Get("Authorization"))
		http.Redirect(w, r, stranger+r.URL.Path, http.StatusTemporaryRedirect)
	})
	cl := client(t, meta.ClientConfig{Servers: []string{url}, Token: "secret"})
	_, err := cl.Beat(t.Context(), meta.HeartbeatRequest{Hostname: "h"})
	if err == nil || !strings.Contains(err.Error(), "not followed") {
		t.Errorf("error %v; want one that says the redirect is not followed", err)
	}
	if strangers.Load() != 0 {
		t.Error("the redirect was followed")
	}
	if diff := cmp.Diff([]string{"Bearer secret", "Bearer secret"}, tokens); diff != "" {
		t.Error(diff)
	}
}

func TestServersAreTriedInOrder(t *testing.T) {
	var firstUp, firstAsked atomic.Int32
	first := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		firstAsked.Add(1)
		if firstUp.Load() == 0 {
			http.Error(w, "down", http.StatusBadGateway)
			return
		}
		_, _ = io.WriteString(w, oneAgent)
	})
	var secondAsked atomic.Int32
	second := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if secondAsked.Add(1) > 2 {
			http.Error(w, "down too", http.StatusBadGateway)
			return
		}
		_, _ = io.WriteString(w, oneAgent)
	})
	cl := client(t, meta.ClientConfig{Servers: []string{first, second}})
	beat := func(server string, asked int32) {
		t.Helper()
		r, err := cl.Beat(t.Context(), meta.HeartbeatRequest{Hostname: "h"})
		if err != nil || r.Server != server || firstAsked.Load() != asked {
			t.Fatalf("answered by %q (first asked %d times), %v; want %q after %d", r.Server, firstAsked.Load(), err, server, asked)
		}
	}
	beat(second, 1)
	beat(second, 1) // the first is not waited for at every heartbeat
	firstUp.Store(1)
	beat(first, 2) // but it is when the second fails
}

func TestUnchangedOnlyForTheReplyLastHandedOut(t *testing.T) {
	tagged := func(tag string, fail *atomic.Bool) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", tag)
			switch {
			case fail.Load():
				http.Error(w, "down", http.StatusBadGateway)
			case r.Header.Get("If-None-Match") == tag:
				w.WriteHeader(http.StatusNotModified)
			default:
				_, _ = io.WriteString(w, oneAgent)
			}
		}
	}
	var fail1, fail2 atomic.Bool
	cl := client(t, meta.ClientConfig{Servers: []string{serve(t, tagged(`"1"`, &fail1)), serve(t, tagged(`"1"`, &fail2))}})
	beat := func(unchanged bool) {
		t.Helper()
		r, err := cl.Beat(t.Context(), meta.HeartbeatRequest{Hostname: "h"})
		if err != nil || r.Unchanged != unchanged {
			t.Fatalf("unchanged %v, %v; want %v", r.Unchanged, err, unchanged)
		}
	}
	beat(false)
	beat(true)
	fail1.Store(true)
	beat(false) // from the second server, whose tag happens to be equal
	beat(true)
	cl.Forget()
	beat(false)
	fail1.Store(false)
	fail2.Store(true)
	beat(false)
}

func TestRetryAfterIsReadInBothFormsCappedAndObeyed(t *testing.T) {
	date := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC) // the server's clock is what counts
	cases := []struct {
		name, header string
		want         time.Duration
	}{
		{"seconds", "120", 2 * time.Minute},
		{"date", date.Add(90 * time.Second).Format(http.TimeFormat), 90 * time.Second},
		{"date in the past", date.Add(-time.Minute).Format(http.TimeFormat), 0},
		{"far too long", "999999999", time.Hour},
		{"absurd", "99999999999999999999999", 0},
		{"nonsense", "soon", 0},
		{"none", "", 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var asked atomic.Int32
			url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				asked.Add(1)
				w.Header().Set("Date", date.Format(http.TimeFormat))
				if c.header != "" {
					w.Header().Set("Retry-After", c.header)
				}
				w.WriteHeader(http.StatusServiceUnavailable)
			})
			cl := client(t, meta.ClientConfig{Servers: []string{url}})
			for range 2 {
				_, err := cl.Beat(t.Context(), meta.HeartbeatRequest{Hostname: "h"})
				if got := meta.RetryAfter(err); got > c.want || got < c.want-10*time.Second {
					t.Fatalf("retry after %v, want %v (%v)", got, c.want, err)
				}
			}
			if want := map[bool]int32{true: 1, false: 2}[c.want > 0]; asked.Load() != want {
				t.Fatalf("asked %d times, want %d", asked.Load(), want)
			}
		})
	}
}

func TestBeatEndsAtOnceWhenTold(t *testing.T) {
	hang := make(chan struct{})
	url := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-hang
	})
	t.Cleanup(func() { close(hang) })
	cl := client(t, meta.ClientConfig{Servers: []string{url, url}})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	start := time.Now()
	_, err := cl.Beat(ctx, meta.HeartbeatRequest{Hostname: "h"})
	if !errors.Is(err, context.Canceled) || time.Since(start) > 10*time.Second {
		t.Fatalf("ended with %v after %v", err, time.Since(start))
	}
}

func TestSlowBytesEndAtTheTimeout(t *testing.T) {
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			_, _ = io.WriteString(w, " ")
			_ = http.NewResponseController(w).Flush()
			select {
			case <-r.Context().Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
	})
	cl := client(t, meta.ClientConfig{Servers: []string{url}, Timeout: 300 * time.Millisecond})
	if _, err := cl.Beat(t.Context(), meta.HeartbeatRequest{Hostname: "h"}); err == nil {
		t.Fatal("a reply of endless slow bytes was accepted")
	}
}

func TestProxyIsUsed(t *testing.T) {
	var asked atomic.Value
	proxy := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r.URL.String())
		_, _ = io.WriteString(w, oneAgent)
	})
	cl := client(t, meta.ClientConfig{Servers: []string{"meta.invalid:2000"}, Proxy: proxy})
	if _, err := cl.Beat(t.Context(), meta.HeartbeatRequest{Hostname: "h"}); err != nil {
		t.Fatal(err)
	}
	if asked.Load() != "http://meta.invalid:2000/api/heartbeat" {
		t.Errorf("the proxy was asked for %v", asked.Load())
	}
}

func TestServerURL(t *testing.T) {
	cases := []struct{ in, want string }{
		{"meta.example:2000", "http://meta.example:2000"},
		{"10.0.0.1:80", "http://10.0.0.1:80"},
		{"[::1]:2000", "http://[::1]:2000"},
		{"https://meta.example/", "https://meta.example"},
		{"https://meta.example/ops", "https://meta.example/ops"},
		{"ftp://meta.example", ""},
		{"http://user:secret@meta.example", ""},
		{"https://meta.example/?x=1", ""},
		{"${meta_server}:2000", ""},
		{"", ""},
		{"http://", ""},
	}
	for _, c := range cases {
		got, err := meta.ServerURL(c.in)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%q became %q, %v; want %q", c.in, got, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the error repeats the credential: %v", err)
		}
	}
}

// FuzzDecodeReply: whatever a server says, what comes out is valid and bounded.
func FuzzDecodeReply(f *testing.F) {
	for _, seed := range []string{
		oneAgent, `{"desiredAgents":null}`, `{"success":false,"message":"x"}`, `{"desiredAgents":[{"name":"a"},{"name":"a"},3]}`,
		`{"interval":-1,"desiredAgents":[{"name":"a","version":"1","cmd":"start","configFileName":"control"}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, rejected, err := meta.DecodeReply(data)
		if err != nil {
			return
		}
		if len(r.DesiredAgents)+len(rejected) > 1000 {
			t.Fatalf("%d agents were taken", len(r.DesiredAgents)+len(rejected))
		}
		seen := map[string]bool{}
		for _, a := range r.DesiredAgents {
			if a.Validate() != nil || seen[a.Name] {
				t.Fatalf("%+v was taken", a)
			}
			seen[a.Name] = true
		}
	})
}
