package sim

import (
	"math/bits"
	"time"
)

// Report is what a run showed.
type Report struct {
	Heartbeats   int64
	NotModified  int64         // answered with 304
	Errors       int64         // no answer, or an answer that could not be read
	Refused      int64         // answered with another status than 200 and 304
	Elapsed      time.Duration // from the first heartbeat to the last answer
	P50          time.Duration // of answered heartbeats, from sending to answer
	P99          time.Duration //
	Max          time.Duration //
	DisturbedP99 time.Duration // of those sent while the server was disturbed; see [Sim.Disturb]
	DisturbedMax time.Duration
	Late         time.Duration  // the most that a heartbeat was sent after it was due
	FirstError   string         // empty: none
	Versions     map[string]int // hosts by agent@version at the end
	Phases       map[string]int // agents by phase at the end
	Statuses     map[int]int64  // answers by status
}

// PerSecond is the rate of heartbeats that were answered.
func (r Report) PerSecond() float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(r.Heartbeats-r.Errors) / r.Elapsed.Seconds()
}

// histogram counts durations in buckets an eighth of their size wide.
type histogram struct {
	buckets [64 * 8]int64
	count   int64
	max     time.Duration
}

func (h *histogram) add(d time.Duration) {
	h.buckets[bucketOf(d)]++
	h.count++
	h.max = max(h.max, d)
}

func bucketOf(d time.Duration) int {
	us := uint64(max(d.Microseconds(), 1))
	top := bits.Len64(us) - 1
	return top*8 + int(us<<3>>top&7)
}

// upperOf is the upper end of a bucket.
func upperOf(i int) time.Duration {
	return time.Duration(uint64(8+i%8+1)<<(i/8)>>3) * time.Microsecond
}

func (h *histogram) merge(o *histogram) {
	for i, n := range o.buckets {
		h.buckets[i] += n
	}
	h.count += o.count
	h.max = max(h.max, o.max)
}

func (h *histogram) quantile(q float64) time.Duration {
	left := int64(q * float64(h.count))
	for i, n := range h.buckets {
		if left < n {
			return min(upperOf(i), h.max)
		}
		left -= n
	}
	return h.max
}
