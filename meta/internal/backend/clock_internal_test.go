package backend

import (
	"testing"
	"time"
)

// What the clocks said when a server last ran tells how far the wall clock
// jumped since, as far as anybody can know.
func TestAJumpWhileNoServerRanIsToldByTheClocksBeforeIt(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	last := clockNote{Time: at, Boot: "b1", SinceBoot: time.Hour}
	after := func(wall time.Duration, boot string, passed time.Duration) clockNote {
		return clockNote{Time: at.Add(wall), Boot: boot, SinceBoot: time.Hour + passed}
	}
	year := 365 * 24 * time.Hour
	for name, c := range map[string]struct {
		last, now clockNote
		want      time.Duration
	}{
		"never ran":                                {clockNote{}, after(0, "b1", 0), 0},
		"a day later":                              {last, after(24*time.Hour, "b1", 24*time.Hour), 0},
		"corrected":                                {last, after(8*time.Second, "b1", time.Second), 0},
		"a year ahead after a minute":              {last, after(year+time.Minute, "b1", time.Minute), year},
		"a year back after a minute":               {last, after(time.Minute-year, "b1", time.Minute), -year},
		"a year later, after a boot: it was off":   {last, after(year, "b2", -time.Hour), 0},
		"a year earlier, after a boot":             {last, after(-year, "b2", -time.Hour), -year},
		"where no clock since the boot is known":   {clockNote{Time: at}, clockNote{Time: at.Add(year)}, 0},
		"the same, and it is earlier than it was":  {clockNote{Time: at}, clockNote{Time: at.Add(-year)}, -year},
		"the same, and it was corrected backwards": {clockNote{Time: at}, clockNote{Time: at.Add(-time.Second)}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got := c.last.jumpUntil(c.now); got != c.want {
				t.Errorf("jumped by %s, want %s", got, c.want)
			}
		})
	}
	if boot, since := bootClock(); boot == "" || since <= 0 {
		t.Errorf("the clock since the boot is %q %s", boot, since)
	}
}

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
