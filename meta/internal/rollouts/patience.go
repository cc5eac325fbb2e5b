package rollouts

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/ops-updater/ops-updater/meta/api"
)

// Heartbeats wait for the database as long as their own context lets them. The
// work that they wait for is done once for all of them, beside them, and has
// bounds of its own; so that a database that stalls keeps neither heartbeats
// nor goroutines.
const (
	workWithin   = 3 * time.Second  // one transaction or look that heartbeats wait for
	learnWithin  = 20 * time.Second // reading the grants of a rollout
	retryStalled = time.Second      // how often a heartbeat tries a database that stalled
)

// errStalled has a heartbeat answered from memory at once.
var errStalled = &api.Error{Kind: api.KindUnavailable, Message: "the database did not answer a moment ago"}

// patience remembers that the database does not answer: then heartbeats do not
// wait for it at all, but for one now and then that tries.
type patience struct {
	log   zerolog.Logger
	until atomic.Int64 // Unix nanoseconds; nobody waits before it; 0: it answers
}

// try reports whether the database may be waited for now.
func (p *patience) try(now time.Time) bool {
	until := p.until.Load()
	return until == 0 || now.UnixNano() >= until && p.until.CompareAndSwap(until, now.Add(retryStalled).UnixNano())
}

// learnOutcome takes note of how work on the database ended.
func (p *patience) learnOutcome(err error, now time.Time) {
	switch stalled := err != nil && (errors.Is(err, context.DeadlineExceeded) || api.KindOf(err) == api.KindUnavailable); {
	case stalled && p.until.Swap(now.Add(retryStalled).UnixNano()) == 0:
		p.log.Warn().Err(err).Msg("the database does not answer: hosts that wait for a rollout wait on, and those that report what is not known here are told to stay as they are")
	case err == nil && p.until.Swap(0) != 0:
		p.log.Info().Msg("the database answers again")
	}
}

// sharedWork is work that those who come while it is done wait to have done again,
// once for all of them.
type sharedWork struct {
	mu      sync.Mutex
	waiting []chan error
	busy    bool
}

// joinWork adds a waiter, and reports whether somebody must begin to work.
func (w *sharedWork) joinWork() (done <-chan error, begin bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := make(chan error, 1)
	w.waiting = append(w.waiting, c)
	begin, w.busy = !w.busy, true
	return c, begin
}

// nextWaiters takes over who waits; when nobody does, nobody works.
func (w *sharedWork) nextWaiters() []chan error {
	w.mu.Lock()
	defer w.mu.Unlock()
	waiting := w.waiting
	w.waiting, w.busy = nil, len(waiting) > 0
	return waiting
}
