package updater

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// A download that brings less than this has no right to keep others waiting.
// Without anybody who waits it may take as long as it likes.
const (
	crawlRate  = 32 << 10 // bytes a second, since it got its slot
	crawlGrace = 10 * time.Second
	maxYields  = 6 // doublings of the time that it has before it yields again
	slotsWatch = time.Second
)

// errYielded ends a download that crawls, so that somebody else has its slot;
// what it has brought is kept for when it goes on.
var errYielded = errors.New("its slot was given to another install, because next to nothing arrived")

// slots bound how many installs are under way at once on this host.
type slots struct {
	mu      sync.Mutex
	size    int
	taken   []*slot
	waiting []*slot
}

// slot is the right to install, held or waited for.
type slot struct {
	agent  string
	grace  time.Duration // before it may be told to yield
	rate   int64         // bytes a second that are no crawl
	yields int           // how often it did already

	granted  chan struct{} // closed when it is held
	since    time.Time     // when that was
	done     int64         // bytes downloaded since; negative: it does not download any more
	began    int64         // bytes that were there at first
	yielding bool
	yield    context.CancelCauseFunc
}

func newSlots(size int) *slots { return &slots{size: size} }

// crawls decides whether s, at now, has no right to keep others waiting.
func (s *slot) crawls(now time.Time) bool {
	held := now.Sub(s.since)
	if s.done < 0 || held < s.grace<<min(s.yields, maxYields) {
		return false
	}
	return float64(s.done) < float64(s.rate)*held.Seconds()
}

// takeSlot waits for a slot for s. told is called now and then with the agents
// that have one meanwhile.
func (q *slots) takeSlot(ctx context.Context, s *slot, told func(holders []string)) error {
	s.granted = make(chan struct{})
	q.mu.Lock()
	q.waiting = append(q.waiting, s)
	q.grantSlots()
	q.mu.Unlock()
	tick := time.NewTicker(slotsWatch)
	defer tick.Stop()
	for {
		select {
		case <-s.granted:
			return nil
		case <-ctx.Done():
			q.leaveSlot(s)
			return ctx.Err()
		case now := <-tick.C:
			told(q.makeRoom(now))
		}
	}
}

// leaveSlot gives up what s holds or waits for.
func (q *slots) leaveSlot(s *slot) {
	q.mu.Lock()
	defer q.mu.Unlock()
	is := func(other *slot) bool { return other == s }
	q.taken, q.waiting = slices.DeleteFunc(q.taken, is), slices.DeleteFunc(q.waiting, is)
	q.grantSlots()
}

// grantSlots gives free slots to those who have waited longest; q.mu is held.
func (q *slots) grantSlots() {
	for len(q.taken) < q.size && len(q.waiting) > 0 {
		s := q.waiting[0]
		q.waiting = q.waiting[1:]
		q.taken = append(q.taken, s)
		s.since, s.done, s.began, s.yielding = time.Now(), 0, -1, false
		close(s.granted)
	}
}

// makeRoom tells downloads that crawl to yield, as many as others wait, and
// says who holds the slots.
func (q *slots) makeRoom(now time.Time) (holders []string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	room := len(q.waiting)
	for _, s := range q.taken {
		holders = append(holders, s.agent)
		if s.yielding {
			room--
		}
	}
	for _, s := range q.taken { // the one that has it longest first
		if room > 0 && !s.yielding && s.yield != nil && s.crawls(now) {
			s.yielding = true
			s.yield(errYielded)
			room--
		}
	}
	slices.Sort(holders)
	return holders
}

// noteDownloaded notes how far the download of s is; a negative total says that
// it is over.
func (q *slots) noteDownloaded(s *slot, total int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case total < 0:
		s.done = -1
	case s.began < 0:
		s.began = total
	default:
		s.done = max(total-s.began, 0)
	}
}

// onYield has f called when s is to yield.
func (q *slots) onYield(s *slot, f context.CancelCauseFunc) {
	q.mu.Lock()
	defer q.mu.Unlock()
	s.yield = f
}

// waitsFor is what an agent is told about while it waits.
func waitsFor(holders []string) string {
	const most = 5
	shown := strings.Join(holders[:min(len(holders), most)], ", ")
	if len(holders) > most {
		shown += fmt.Sprintf(" and %d more", len(holders)-most)
	}
	return "waits until an install of another agent ends or makes room: " + shown
}
