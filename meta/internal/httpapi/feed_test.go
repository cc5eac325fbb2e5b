package httpapi_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/httpapi"
)

// patience is how long a test waits for what must come.
const patience = time.Minute

// feedServer serves a feed on the network.
func feedServer(t *testing.T) (*httpapi.Feed, string) {
	t.Helper()
	feed := &httpapi.Feed{}
	srv := httptest.NewServer(newFeedServer(t, feed))
	t.Cleanup(srv.Close)
	t.Cleanup(feed.Close) // before the server, which waits for its streams
	return feed, srv.URL
}

// stream is an open one, read line by line.
type stream struct {
	*http.Response
	lines *bufio.Scanner
}

func openStream(t *testing.T, server, query string, headers ...string) stream {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, server+"/api/v1/events"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer viewer")
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return stream{resp, bufio.NewScanner(resp.Body)}
}

// next is the next event as "id kind"; "" at the end.
func (s stream) next() string {
	var event []string
	for s.lines.Scan() {
		switch line := s.lines.Text(); {
		case line == "" && len(event) > 0:
			return strings.Join(event, " ")
		case strings.HasPrefix(line, "id: "), strings.HasPrefix(line, "event: "):
			_, value, _ := strings.Cut(line, ": ")
			event = append(event, value)
		}
	}
	return ""
}

func (s stream) want(t *testing.T, events ...string) {
	t.Helper()
	for _, want := range events {
		if got := s.next(); got != want {
			t.Fatalf("got event %q, want %q", got, want)
		}
	}
}

func TestTheFeedTellsWhatChanges(t *testing.T) {
	feed, server := feedServer(t)
	feed.Publish("host", "before")
	s := openStream(t, server, "")
	if got := s.Header.Get("Content-Type"); got != "text/event-stream" || s.Header.Get("Cache-Control") != "no-store" || s.Header.Get("X-Accel-Buffering") != "no" {
		t.Errorf("headers %v", s.Header)
	}
	s.want(t, "1 open")
	feed.Publish("agent", "a")
	feed.Publish("host", "h")
	s.want(t, "2 agent", "3 host")
	feed.Close()
	s.want(t, "")
	openStream(t, server, "").want(t, "") // a server that ends tells nobody anything more
}

func TestWhoComesBackMissesNothing(t *testing.T) {
	for name, tc := range map[string]struct {
		query  string
		header string
		want   []string
	}{
		"a little behind":       {"?after=1028", "", []string{"1029 host", "1030 host", "1031 agent"}},
		"as a browser says it":  {"?after=3", "Last-Event-ID: 1029", []string{"1030 host", "1031 agent"}},
		"up to date":            {"?after=1030", "", []string{"1031 agent"}},
		"the oldest known":      {"?after=6", "", []string{"7 host", "8 host"}},
		"older than that":       {"?after=5", "", []string{"1030 reset", "1031 agent"}},
		"of another server":     {"?after=5000", "", []string{"1030 reset", "1031 agent"}},
		"never here before":     {"?after=0", "", []string{"1030 open", "1031 agent"}},
		"as new by the browser": {"", "Last-Event-ID: 0", []string{"1030 open", "1031 agent"}},
	} {
		t.Run(name, func(t *testing.T) {
			feed, server := feedServer(t)
			for i := range 1030 { // 1024 are kept
				feed.Publish("host", fmt.Sprint(i))
			}
			var headers []string
			if tc.header != "" {
				headers = append(headers, tc.header)
			}
			s := openStream(t, server, tc.query, headers...)
			feed.Publish("agent", "a")
			s.want(t, tc.want...)
		})
	}
}

// A reader that does not read costs a queue and no more, and learns that it
// missed something.
func TestAReaderThatFallsBehindIsTold(t *testing.T) {
	feed := &httpapi.Feed{}
	s := newFeedServer(t, feed)
	w := &slowReader{ResponseRecorder: httptest.NewRecorder(), begun: make(chan struct{}), goOn: make(chan struct{})}
	r := httptest.NewRequest(http.MethodGet, "/api/v1/events", nil)
	r.Header.Set("Authorization", "Bearer viewer")
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.ServeHTTP(w, r)
	}()
	<-w.begun
	for i := range 100 { // more than a queue holds
		feed.Publish("host", fmt.Sprint(i))
	}
	feed.Close()
	close(w.goOn)
	<-done
	got := w.Body.String()
	if !strings.Contains(got, "event: open") || !strings.Contains(got, "id: 65\nevent: reset") || !strings.Contains(got, "id: 100\nevent: host") || strings.Contains(got, "id: 64\n") {
		t.Errorf("it was told\n%s", got)
	}
}

// slowReader takes its first bytes when it is told to.
type slowReader struct {
	*httptest.ResponseRecorder
	begun, goOn chan struct{}
	flushed     bool
}

// FlushError is what the feed waits for.
func (s *slowReader) FlushError() error {
	if !s.flushed {
		s.flushed = true
		close(s.begun)
		<-s.goOn
	}
	return nil
}

func newFeedServer(t *testing.T, feed *httpapi.Feed) *httpapi.Server {
	t.Helper()
	s, err := httpapi.New(httpapi.Config{
		Access: httpapi.NewAccess(httpapi.AccessConfig{Tokens: badge{}}), Feed: feed, Backend: newMemory().backend(), Log: zerolog.Nop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// One person with many open pages leaves room for the others, and a page that
// is closed gives its place back.
func TestStreamsOfOneAreBounded(t *testing.T) {
	_, server := feedServer(t)
	var open []stream
	for range 64 {
		s := openStream(t, server, "")
		s.want(t, "0 open")
		open = append(open, s)
	}
	refused := openStream(t, server, "")
	if refused.StatusCode != http.StatusServiceUnavailable || refused.Header.Get("Retry-After") != "31" {
		t.Errorf("the 65th stream: %d, Retry-After %q", refused.StatusCode, refused.Header.Get("Retry-After"))
	}
	other := openStream(t, server, "", "Authorization: Bearer operator")
	other.want(t, "0 open")
	_ = open[0].Body.Close()
	for deadline := time.Now().Add(patience); ; { // the server notices when it likes
		s := openStream(t, server, "")
		if s.StatusCode == http.StatusOK {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the place of a stream that was closed is not given back")
		}
	}
}

// What the client reads is what was published.
func TestTheClientFollows(t *testing.T) {
	feed, server := feedServer(t)
	c, err := api.NewClient(api.ClientConfig{Server: server, Token: "viewer"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var got []string
	err = c.Follow(ctx, 0, func(i api.FeedItem) {
		got = append(got, fmt.Sprintf("%d %s %s", i.Seq, i.Kind, i.Name))
		if i.Kind == "open" {
			feed.Publish("rollout", "r1")
			feed.Close()
		}
	})
	if err == nil || !strings.Contains(err.Error(), "ended") || !slices.Equal(got, []string{"0 open ", "1 rollout r1"}) {
		t.Errorf("got %q, %v", got, err)
	}
}
