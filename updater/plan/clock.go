package plan

import "time"

// A host's clock may have been ahead when something was noted: after a battery
// failed, or before NTP answered. What was noted then lies in the future and
// would never end. Whatever ends further away than its own length, or began in
// the future, counts from now.

// AsOf is the record with no time in it that the clock cannot have seen by now.
func (r Record) AsOf(now time.Time) Record {
	r.Last.Since = notAfter(r.Last.Since, now)
	r.Crash = r.Crash.asOf(now)
	blocks := make([]Block, len(r.Blocks))
	for i, b := range r.Blocks {
		blocks[i] = b.asOf(now)
	}
	if r.Blocks != nil {
		r.Blocks = blocks
	}
	return r
}

func (c CrashLog) asOf(now time.Time) CrashLog {
	c.Last = notAfter(c.Last, now)
	c.Until = notAfter(c.Until, now.Add(doubledUpTo(crashBase, crashLimit, c.Starts)))
	return c
}

func (b Block) asOf(now time.Time) Block {
	b.Since = notAfter(b.Since, now)
	b.Until = notAfter(b.Until, now.Add(b.waitAfterFailure()))
	return b
}

// AsOf is the hold, moved when it began in the future.
func (h Hold) AsOf(now time.Time) Hold {
	ahead := h.Since.Sub(now)
	if ahead <= 0 {
		return h
	}
	h.Since = now
	if !h.Until.IsZero() {
		h.Until = h.Until.Add(-ahead)
	}
	return h
}

func notAfter(t, limit time.Time) time.Time {
	if t.After(limit) {
		return limit
	}
	return t
}
