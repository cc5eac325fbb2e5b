package rollout

import (
	"slices"

	"github.com/ops-updater/ops-updater/meta/api"
)

// Census is how the hosts of a rollout's scope stand, by stage. Of a stage
// only what a census can know is filled in.
type Census []api.StageCount

// Tally counts hosts into a [Census].
type Tally struct {
	rollout api.Rollout
	count   Census
	// pool is, per count stage, who could take its places.
	pool []pool
}

type pool struct{ able, held, silent, noArtifact int }

// NewTally begins a census for r.
func NewTally(r api.Rollout) *Tally {
	n := len(r.Strategy.Stages)
	return &Tally{rollout: r, count: make(Census, n), pool: make([]pool, n)}
}

// Rollout is what the hosts are counted for.
func (t *Tally) Rollout() api.Rollout { return t.rollout }

// Granted counts a host that has a grant of r.
func (t *Tally) Granted(h Host, g api.Grant) {
	if (h.Held || h.NoArtifact) && g.Outcome == "" && g.Stage < len(t.count) {
		t.count[g.Stage].HeldLate++
	}
}

// Waiting counts a host that has none.
func (t *Tally) Waiting(h Host) { t.WaitingAlike(h, 1) }

// WaitingAlike counts n hosts that have none and stand as h does, in the same stages.
func (t *Tally) WaitingAlike(h Host, n int) {
	share := Share(t.rollout.Salt, h.Name)
	for k, st := range t.rollout.Strategy.Stages {
		switch {
		case !h.inGroup(st.Group):
		case st.Percent > 0 && share < st.Percent:
			t.attribute(k, h, n)
			return
		case st.Count > 0 && h.OnTarget:
			counted := min(n, max(st.Count-t.count[k].Already, 0))
			t.count[k].Already += counted
			if n -= counted; n == 0 {
				return
			}
		case st.Count > 0:
			t.pool[k].add(h, n)
		}
	}
}

func (p *pool) add(h Host, n int) {
	switch {
	case h.NoArtifact:
		p.noArtifact += n
	case h.Held:
		p.held += n
	case h.Silent:
		p.silent += n
	default:
		p.able += n
	}
}

func (t *Tally) attribute(k int, h Host, n int) {
	p := &t.count[k]
	p.Size += n
	switch {
	case h.OnTarget:
		p.Already += n
	case h.NoArtifact:
		p.NoArtifact += n
	case h.Held:
		p.Held += n
	case h.Silent:
		p.Silent += n
	default:
		p.Waiting += n
	}
}

// Census is the result.
func (t *Tally) Census() Census {
	for k, st := range t.rollout.Strategy.Stages {
		if st.Count == 0 {
			continue
		}
		p, left := &t.count[k], roomInStage(t.rollout, k)
		for _, kind := range []struct{ to, from *int }{
			{&p.Waiting, &t.pool[k].able}, {&p.Held, &t.pool[k].held}, {&p.Silent, &t.pool[k].silent}, {&p.NoArtifact, &t.pool[k].noArtifact},
		} {
			*kind.to = min(*kind.from, left)
			left -= *kind.to
		}
		p.Size = p.Waiting + p.Held + p.Silent + p.NoArtifact + p.Already
	}
	return t.count
}

// into replaces what a census knows and keeps what is counted exactly. A nil
// census changes nothing.
func (c Census) into(r api.Rollout) api.Rollout {
	if len(c) != len(r.Progress) {
		return r
	}
	next := slices.Clone(c)
	for k := range next {
		exact := r.Progress[k]
		next[k].Size += exact.Granted
		next[k].Granted, next[k].Succeeded = exact.Granted, exact.Succeeded
		next[k].Failed, next[k].Forgiven = exact.Failed, exact.Forgiven
	}
	r.Progress = next
	return r
}
