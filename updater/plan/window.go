package plan

import "time"

// Window is a time of the week in which versions may change.
type Window struct {
	Days     [7]bool        // on which it opens, by time.Weekday
	From, To time.Duration  // since midnight; To up to From: on the next day
	Zone     *time.Location // whose midnight
	Text     string         // as somebody wrote it
}

// on is the window that opens on the day of t, if there is one.
func (w Window) on(t time.Time) (from, to time.Time, opens bool) {
	at := func(since time.Duration, days int) time.Time {
		// By the clock on the wall, also on a day of 23 or 25 hours.
		return time.Date(t.Year(), t.Month(), t.Day()+days, 0, int(since/time.Minute), 0, 0, w.Zone)
	}
	days := 0
	if w.To <= w.From {
		days = 1
	}
	return at(w.From, 0), at(w.To, days), w.Days[t.Weekday()]
}

// next is when the window opens that ends after now: at or before now when it is open.
// A window without days never does.
func (w Window) next(now time.Time) (from time.Time, ever bool) {
	now = now.In(w.Zone)
	for day := -1; day <= 8; day++ {
		from, to, opens := w.on(time.Date(now.Year(), now.Month(), now.Day()+day, 12, 0, 0, 0, w.Zone))
		if opens && to.After(now) && to.After(from) {
			return from, true
		}
	}
	return time.Time{}, false
}

// opensAt is when versions may change: not after now when they may now, and also where
// no windows are set.
func opensAt(windows []Window, now time.Time) (at time.Time) {
	for _, w := range windows {
		from, ever := w.next(now)
		if ever && (at.IsZero() || from.Before(at)) {
			at = from
		}
	}
	if at.IsZero() {
		return now
	}
	return at
}
