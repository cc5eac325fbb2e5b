package jitter_test

import (
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/internal/jitter"
)

func TestRanges(t *testing.T) {
	cases := []struct {
		name      string
		draw      func() time.Duration
		low, high time.Duration
	}{
		{"first", func() time.Duration { return jitter.First(time.Minute) }, 0, time.Minute},
		{"around", func() time.Duration { return jitter.Around(time.Minute) }, 54 * time.Second, 66 * time.Second},
		{"one failure", func() time.Duration { return jitter.Backoff(time.Second, time.Minute, 1) }, 100 * time.Millisecond, time.Second},
		{"four failures", func() time.Duration { return jitter.Backoff(time.Second, time.Minute, 4) }, 800 * time.Millisecond, 8 * time.Second},
		{"capped", func() time.Duration { return jitter.Backoff(time.Second, time.Minute, 1000) }, 6 * time.Second, time.Minute},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			least, most := time.Duration(1<<62), time.Duration(0)
			for range 5000 {
				d := c.draw()
				least, most = min(least, d), max(most, d)
			}
			if least < c.low || most > c.high {
				t.Fatalf("drew %v to %v; want within %v to %v", least, most, c.low, c.high)
			}
			if spread := c.high - c.low; most-least < spread*8/10 {
				t.Fatalf("drew only %v to %v of %v to %v", least, most, c.low, c.high)
			}
		})
	}
}
