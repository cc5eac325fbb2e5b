package timespan

import (
	"fmt"
	"time"
)

// Say is how long d is, for people and as [Parse] reads it: 45s, 5m30s, 12m,
// 1h30m, 20h, 3d. What is less than ten of a unit has the next one with it, or, of
// days, is said in hours; what is below 0 lasts 0s.
func Say(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", max(d/time.Second, 0))
	case d < time.Hour:
		return sayTwo(d, time.Minute, time.Second, "m%ds")
	case d < 2*Day, d < 10*Day && d%Day >= time.Hour:
		return sayTwo(d, time.Hour, time.Minute, "h%dm")
	}
	return fmt.Sprintf("%dd", d/Day)
}

func sayTwo(d, large, small time.Duration, units string) string {
	n, rest := d/large, d%large/small
	if n >= 10 || rest == 0 {
		return fmt.Sprintf("%d%c", n, units[0])
	}
	return fmt.Sprintf("%d"+units, n, rest)
}

// Ago is when t was, or will be, seen from now: 12m ago, now, in 3d; never for
// the zero time.
func Ago(now, t time.Time) string {
	d := now.Sub(t)
	switch {
	case t.IsZero():
		return "never"
	case d < 0:
		return "in " + Say(-d)
	case d < 2*time.Second:
		return "now"
	}
	return Say(d) + " ago"
}
