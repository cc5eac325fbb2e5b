package httpapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
)

const (
	feedKept   = 1024 // items a reader that comes back can continue from
	feedQueue  = 64   // items a reader may be behind
	feedTicker = 15 * time.Second

	// A stream costs up to 50 KiB. Who finds no place looks from time to time
	// instead.
	maxStreams    = 1024
	maxStreamsOne = 64 // of one token at one address
	streamsRetry  = 30 * time.Second
)

// Feed tells readers of the change stream what changed. It never waits for
// one: a reader that falls behind is told so with an item of kind "reset".
// The zero Feed is ready to use.
type Feed struct {
	mu      sync.Mutex
	seq     int64
	recent  []api.FeedItem               // the last feedKept, oldest first
	readers map[chan api.FeedItem]string // who reads
	streams map[string]int               // of each who
	closed  bool
}

// Publish tells every reader that something changed.
func (f *Feed) Publish(kind, name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seq++
	item := api.FeedItem{Seq: f.seq, Time: time.Now().UTC(), Kind: kind, Name: name}
	if len(f.recent) == feedKept {
		f.recent = append(f.recent[:0], f.recent[1:]...)
	}
	f.recent = append(f.recent, item)
	for reader := range f.readers {
		f.offerTo(reader, item)
	}
}

// offerTo empties the queue of a reader that is too far behind and leaves it a
// reset instead.
func (f *Feed) offerTo(reader chan api.FeedItem, item api.FeedItem) {
	select {
	case reader <- item:
		return
	default:
	}
	for len(reader) > 0 {
		select {
		case <-reader:
		default:
		}
	}
	reader <- api.FeedItem{Seq: item.Seq, Time: item.Time, Kind: "reset"}
}

// Close ends every reader's stream, so that a shutdown need not wait for
// them.
func (f *Feed) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	for reader := range f.readers {
		close(reader)
	}
	f.readers = nil
}

// subscribe returns the items after seq that are still known, and a queue of
// those that follow. Seq 0 means from now on, which an item of kind "open"
// says: what the reader looks at afterwards misses nothing.
func (f *Feed) subscribe(seq int64, who string) ([]api.FeedItem, chan api.FeedItem, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.readers) >= maxStreams || f.streams[who] >= maxStreamsOne {
		return nil, nil, &denied{
			status: http.StatusServiceUnavailable, message: "too many streams of changes are open",
			hint: "close some, or look from time to time", wait: streamsRetry,
		}
	}
	reader := make(chan api.FeedItem, feedQueue)
	if f.closed {
		close(reader)
		return nil, reader, nil
	}
	if f.readers == nil {
		f.readers, f.streams = map[chan api.FeedItem]string{}, map[string]int{}
	}
	f.readers[reader] = who
	f.streams[who]++
	return f.missedSince(seq), reader, nil
}

func (f *Feed) missedSince(seq int64) []api.FeedItem {
	if seq <= 0 {
		return []api.FeedItem{{Seq: f.seq, Time: time.Now().UTC(), Kind: "open"}}
	}
	if seq == f.seq {
		return nil
	}
	oldest := f.seq - int64(len(f.recent)) + 1
	if seq > f.seq || seq+1 < oldest {
		return []api.FeedItem{{Seq: f.seq, Time: time.Now().UTC(), Kind: "reset"}}
	}
	return append([]api.FeedItem(nil), f.recent[seq+1-oldest:]...)
}

func (f *Feed) unsubscribe(reader chan api.FeedItem) {
	f.mu.Lock()
	defer f.mu.Unlock()
	who, reads := f.readers[reader]
	if !reads {
		return
	}
	delete(f.readers, reader)
	if f.streams[who]--; f.streams[who] == 0 {
		delete(f.streams, who)
	}
}

// followFeed streams the feed as server-sent events until the caller goes away.
func (s *Server) followFeed(c *call) error {
	after, err := intParam(c.URL.Query().Get("after"), "after", 0)
	if err != nil {
		return err
	}
	if last := c.Header.Get("Last-Event-ID"); last != "" {
		if after, err = intParam(last, "Last-Event-ID", 0); err != nil {
			return err
		}
	}
	missed, items, err := s.feed.subscribe(int64(after), c.caller.TokenID+" "+c.caller.From)
	if err != nil {
		return err
	}
	defer s.feed.unsubscribe(items)
	out := newEventStream(c.w)
	out.sendComment("ops-meta changes")
	for _, item := range missed {
		out.sendItem(item)
	}
	tick := time.NewTicker(feedTicker)
	defer tick.Stop()
	for {
		if err := out.flush(); err != nil {
			return nil // the reader is gone
		}
		select {
		case <-c.Context().Done():
			return nil
		case <-tick.C:
			out.sendComment("still here")
		case item, open := <-items:
			if !open {
				return nil
			}
			out.sendItem(item)
		}
	}
}

// eventStream writes server-sent events.
type eventStream struct {
	w  http.ResponseWriter
	rc *http.ResponseController
}

func newEventStream(w http.ResponseWriter) eventStream {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	return eventStream{w, http.NewResponseController(w)}
}

func (s eventStream) sendComment(text string) { _, _ = fmt.Fprintf(s.w, ": %s\n\n", text) }

func (s eventStream) sendItem(item api.FeedItem) {
	data, _ := json.Marshal(item)
	_, _ = fmt.Fprintf(s.w, "id: %d\nevent: %s\ndata: %s\n\n", item.Seq, item.Kind, data)
}

func (s eventStream) flush() error {
	return s.rc.Flush()
}
