package fleet

import "time"

// Silence is measured by the time between a host's heartbeats. A host that follows
// our interval is measured by that. The others keep a pace of their own, which
// is observed: sidecars that know nothing of our interval, and those that were
// told and go on as before.

// unknownPace is what a sidecar that keeps its own pace is taken for until two
// heartbeats have shown it: silence comes after three of them, and the original
// ones were heard every five minutes at the latest.
const unknownPace = 2 * time.Minute

// observePace learns from the time since the host was last heard. An absence of
// this server is not the host's pace.
func (h *host) observePace(now, started uint32) {
	if h.seen < started || now < h.seen {
		return
	}
	gap := min(now-h.seen, 1<<16-1)
	pace := uint32(h.pace)
	switch {
	case pace == 0, gap < pace && h.facts.Value().isSteered():
		pace = gap // it follows at once
	default:
		pace = (pace + gap + 1) / 2
	}
	h.pace = uint16(max(pace, 1))
}

// ownPace is the time between the heartbeats of a host that does not follow
// the interval, as observed; 0: it does, or is not known well enough.
func (h *host) ownPace(interval time.Duration) time.Duration {
	pace := time.Duration(h.pace) * time.Second
	if h.facts != zeroFacts && h.facts.Value().isSteered() && pace <= 2*interval {
		return 0
	}
	return pace
}

// paceOf is the time within which a host should be heard again.
func (h *host) paceOf(interval time.Duration) time.Duration {
	if h.paceUnknown() {
		return max(interval, unknownPace)
	}
	return max(interval, h.ownPace(interval))
}

func (h *host) paceUnknown() bool {
	return h.pace == 0 && h.facts != zeroFacts && !h.facts.Value().isSteered()
}

// silenceGrace is how long this server must be up before it may call a host silent
// that it has not heard: its own absence was not the host's.
func (h *host) silenceGrace(interval time.Duration) time.Duration {
	if h.paceUnknown() {
		return silentAfter * h.paceOf(interval)
	}
	return h.paceOf(interval) * 6 / 5 // with its jitter
}

// silentAt reports whether a host that was not heard since its last heartbeat
// is silent at a time.
func (h *host) silentAt(now time.Time, interval time.Duration) bool {
	return h.seen < clampSeconds(now.Add(-silentAfter*h.paceOf(interval)).Unix())
}
