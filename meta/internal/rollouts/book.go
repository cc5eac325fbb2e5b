package rollouts

import (
	"slices"
	"sync"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/rollout"
)

// overlap is how far back other replicas' grants are read again: they are
// stamped by those replicas' clocks.
const overlap = 20 * time.Second

// book is the rollouts in force and their grants, as known here.
type book struct {
	mu      sync.RWMutex
	entries map[string]*entry
}

type entry struct {
	rollout api.Rollout
	grants  map[string]note
	since   time.Time // grants made or judged after it may be missing
}

// note is what is remembered of a grant.
type note struct {
	granted uint32 // Unix seconds
	stage   int16
	outcome outcome
}

type outcome uint8

const (
	open outcome = iota
	succeeded
	failed
	takenBack // failed, and the host is told the release before again
)

func outcomeOf(s, reason string) outcome {
	switch {
	case s == api.OutcomeSucceeded:
		return succeeded
	case s == api.OutcomeFailed && rollout.TakesBack(reason):
		return takenBack
	case s == api.OutcomeFailed:
		return failed
	}
	return open
}

func (o outcome) text() string {
	return [...]string{open: "", succeeded: api.OutcomeSucceeded, failed: api.OutcomeFailed, takenBack: api.OutcomeFailed}[o]
}

func (n note) grantOf(id, host string) api.Grant {
	return api.Grant{Rollout: id, Host: host, Stage: int(n.stage), Granted: time.Unix(int64(n.granted), 0), Outcome: n.outcome.text()}
}

// putRollout enters a rollout as it was just read, and says since when its grants
// must be read and whether it was known.
func (b *book) putRollout(r api.Rollout) (since time.Time, known bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	x := b.entries[r.ID]
	if x == nil {
		b.entries[r.ID] = &entry{rollout: r, grants: make(map[string]note)}
		return time.Time{}, false
	}
	x.rollout = r
	return x.since, true
}

// noteLearned notes that the grants up to a time are known.
func (b *book) noteLearned(id string, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if x := b.entries[id]; x != nil {
		x.since = at.Add(-overlap)
	}
}

// followedSince is every rollout that other replicas may grant or judge, with the
// time since when.
func (b *book) followedSince() map[string]time.Time {
	b.mu.RLock()
	defer b.mu.RUnlock()
	since := make(map[string]time.Time)
	for id, x := range b.entries {
		if x.rollout.MayGrant() || rollout.InFlight(x.rollout) > 0 {
			since[id] = x.since
		}
	}
	return since
}

// noteGrant remembers a grant, and reports whether it is news: it was not known, or
// had been taken back.
func (b *book) noteGrant(g api.Grant) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	x := b.entries[g.Rollout]
	if x == nil {
		return false
	}
	was, known := x.grants[g.Host]
	is := outcomeOf(g.Outcome, g.Reason)
	x.grants[g.Host] = note{granted: uint32(g.Granted.Unix()), stage: int16(g.Stage), outcome: is}
	return !known || was.outcome == takenBack && is != takenBack
}

// lookUp finds a rollout, and a host's grant of it.
func (b *book) lookUp(id, host string) (r api.Rollout, n note, granted, known bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	x := b.entries[id]
	if x == nil {
		return r, n, false, false
	}
	n, granted = x.grants[host]
	return x.rollout, n, granted, true
}

// refreshRollout replaces a rollout that is still in the book by a newer reading.
func (b *book) refreshRollout(r api.Rollout) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if x := b.entries[r.ID]; x != nil {
		x.rollout = r
	}
}

// retainOnly drops every rollout that is not among those, and returns their ids.
func (b *book) retainOnly(rollouts []api.Rollout) (gone []string) {
	keep := make(map[string]bool, len(rollouts))
	for _, r := range rollouts {
		keep[r.ID] = true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for id := range b.entries {
		if !keep[id] {
			delete(b.entries, id)
			gone = append(gone, id)
		}
	}
	return gone
}

// rolloutsThat is every rollout in the book that passes.
func (b *book) rolloutsThat(pass func(api.Rollout) bool) []string {
	b.mu.RLock()
	defer b.mu.RUnlock()
	var ids []string
	for id, x := range b.entries {
		if pass(x.rollout) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// dropGrant follows the withdrawal of a grant.
func (b *book) dropGrant(k key) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if x := b.entries[k.rollout]; x != nil {
		delete(x.grants, k.host)
	}
}

// forgetHost drops the grants of a host that are not judged, and returns the
// rollouts whose grants it keeps.
func (b *book) forgetHost(host string) (kept []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, x := range b.entries {
		switch n, granted := x.grants[host]; {
		case granted && n.outcome == open:
			delete(x.grants, host)
		case granted && n.outcome != takenBack:
			kept = append(kept, id)
		}
	}
	return kept
}
