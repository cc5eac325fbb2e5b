package updater

import (
	"math"
	"testing"
	"time"
)

// TestPace draws each wait many times: it is random, within bounds that hold.
func TestPace(t *testing.T) {
	now := time.Now()
	base := pace{configured: time.Minute}
	failed := func(times int, after time.Duration) pace {
		p := base
		for range times {
			p = p.afterFailure(now, after)
		}
		return p
	}
	cases := []struct {
		name      string
		pace      pace
		low, high time.Duration
	}{
		{"steady", base, 54 * time.Second, 66 * time.Second},
		{"steered by the server", base.afterReply(10), 9 * time.Second, 11 * time.Second},
		{"steered beyond a day", base.afterReply(math.MaxInt), 21 * time.Hour, 27 * time.Hour},
		{"steered below zero is not steered", base.afterReply(-5), 54 * time.Second, 66 * time.Second},
		{"the server stops steering", base.afterReply(10).afterReply(0), 54 * time.Second, 66 * time.Second},
		{"one failure", failed(1, 0), 0, time.Second},
		{"three failures", failed(3, 0), 400 * time.Millisecond, 4 * time.Second},
		{"failures back off up to the interval", failed(100, 0), 6 * time.Second, time.Minute},
		{"a failure with a short interval", pace{configured: time.Second}.afterFailure(now, 0), 0, time.Second},
		{"Retry-After is the least", failed(1, 2*time.Minute), 2 * time.Minute, 132 * time.Second},
		{"Retry-After of the last failure counts", failed(1, time.Hour).afterFailure(now, 0), 0, 2 * time.Second},
		{"an answer ends the back-off", failed(9, time.Hour).afterReply(0), 54 * time.Second, 66 * time.Second},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for range 2000 {
				if d := c.pace.waitFrom(now); d < c.low || d > c.high {
					t.Fatalf("waits %v; want %v to %v", d, c.low, c.high)
				}
			}
		})
	}
}

func TestNewsGoOutSoonButNotIntoAnOutage(t *testing.T) {
	now := time.Now()
	next := now.Add(time.Hour)
	base := pace{configured: 2 * time.Hour}
	cases := []struct {
		name string
		pace pace
		next time.Time
		high time.Duration
	}{
		{"soon", base, next, reportSoon},
		{"sooner with a short interval", pace{configured: time.Second}, next, 100 * time.Millisecond},
		{"what is due first stays first", base, now, 0},
		{"the server is away", base.afterFailure(now, 0), next, time.Hour},
		{"the server asked for a pause", pace{configured: time.Minute, notBefore: now.Add(time.Minute)}, next, time.Hour},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			at := c.pace.moveForward(now, c.next)
			if d := at.Sub(now); d > c.high || c.high == time.Hour && d != time.Hour {
				t.Fatalf("goes out after %v; want %v", d, c.high)
			}
		})
	}
}
