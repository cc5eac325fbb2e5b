package server

import (
	"testing"
	"time"
)

func TestAJumpOfTheClockIsWhatTheWallMovedBeyondTheTimeThatPassed(t *testing.T) {
	year := 365 * 24 * time.Hour
	for name, c := range map[string]struct{ wall, passed, want time.Duration }{
		"steady":                                 {time.Second, time.Second, 0},
		"corrected":                              {9 * time.Second, time.Second, 0},
		"corrected backwards":                    {-8 * time.Second, time.Second, 0},
		"hours ahead":                            {3*time.Hour + time.Second, time.Second, 3 * time.Hour},
		"years ahead":                            {10*year + time.Minute, time.Minute, 10 * year},
		"years back":                             {-10 * year, time.Second, -10*year - time.Second},
		"a process that was stopped for an hour": {time.Hour, time.Hour, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got := clockJump(c.wall, c.passed); got != c.want {
				t.Errorf("%s by the wall in %s: jumped by %s, want %s", c.wall, c.passed, got, c.want)
			}
		})
	}
}
