package updater_test

import (
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/internal/agenttest"
)

// trickle is a server that sends next to nothing until it is let go.
type trickle struct {
	*httptest.Server
	behind http.Handler
	let    chan struct{}
	mu     sync.Mutex
	ranges []string
}

func newTrickle(t *testing.T, behind http.Handler) *trickle {
	tr := &trickle{behind: behind, let: make(chan struct{})}
	tr.Server = httptest.NewServer(tr)
	t.Cleanup(tr.Close)
	return tr
}

func (tr *trickle) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	tr.mu.Lock()
	tr.ranges = append(tr.ranges, r.Header.Get("Range"))
	tr.mu.Unlock()
	tr.behind.ServeHTTP(&slow{w, tr.let, r}, r)
}

type slow struct {
	http.ResponseWriter
	let chan struct{}
	r   *http.Request
}

// Write passes 4 KiB on ten times in a stall timeout of five seconds.
func (s *slow) Write(p []byte) (int, error) {
	for sent := 0; sent < len(p); {
		n, err := s.ResponseWriter.Write(p[sent:min(sent+4<<10, len(p))])
		if err != nil {
			return sent, err
		}
		sent += n
		s.ResponseWriter.(http.Flusher).Flush()
		select {
		case <-s.let:
		case <-time.After(500 * time.Millisecond):
		case <-s.r.Context().Done():
			return sent, s.r.Context().Err()
		}
	}
	return len(p), nil
}

func TestI6DownloadsThatCrawlMakeRoomForWhoeverWaits(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.cfg.Concurrency, h.cfg.Limits.StallTimeout, h.cfg.Limits.Retries = 2, 5*time.Second, 5
	tr := newTrickle(t, h.origin)
	noise := make([]byte, 1<<20)
	_, err := rand.Read(noise)
	must(t, err)
	h.boot()
	var crawl []meta.DesiredAgent
	for _, name := range []string{"crawl-a", "crawl-b"} {
		a := h.origin.publish(t, name, "1.0.0", agenttest.Habits{App: ": " + hex.EncodeToString(noise)})
		a.Tarball = tr.URL
		crawl = append(crawl, a)
	}
	h.apply(crawl...)
	downloading := func(a meta.RealAgent) bool { return a.Phase == meta.PhaseDownloading && a.Progress > 0 }
	h.await("crawl-a", "began", downloading)
	h.await("crawl-b", "began", downloading)

	h.apply(append(crawl, h.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{}))...)
	h.runs("falcon", "1.0.0")

	// Whoever yielded goes on where it was as soon as it can, and comes to its
	// end when its server does.
	close(tr.let)
	h.runs("crawl-a", "1.0.0")
	h.runs("crawl-b", "1.0.0")
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if all := strings.Join(tr.ranges, " "); !strings.Contains(all, "bytes=") {
		t.Errorf("requested ranges: %q; want a download that went on", tr.ranges)
	}
}

func TestWhoWaitsForAnInstallSaysSo(t *testing.T) {
	h := newHost(t)
	h.cfg.Concurrency = 1
	h.origin.gate = make(chan struct{})
	h.boot()
	first := h.origin.publish(t, "first", "1.0.0", agenttest.Habits{})
	h.apply(first)
	h.await("first", "began", func(a meta.RealAgent) bool { return a.Phase == meta.PhaseDownloading })
	h.apply(first, h.origin.publish(t, "second", "1.0.0", agenttest.Habits{}))
	a := h.await("second", "waited", func(a meta.RealAgent) bool { return a.Reason == "waiting" })
	if a.Phase != meta.PhaseDownloading || !strings.Contains(a.Error, "another agent") || !strings.Contains(a.Error, ": first") {
		t.Errorf("report: %+v", a)
	}
	close(h.origin.gate)
	h.runs("first", "1.0.0")
	if a := h.runs("second", "1.0.0"); a.Error != "" || a.Reason != "" {
		t.Errorf("report: %+v", a)
	}
}
