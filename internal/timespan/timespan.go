// Package timespan reads and says how long something lasts as people write it:
// on a command line, in a file, in a form.
package timespan

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// The units in which a plain number may be meant.
const (
	Second = time.Second
	Day    = 24 * time.Hour
)

// longest is a century: more would not fit a [time.Duration] for long.
const longest = 36500 * Day

// Parse reads a time above 0 with its unit: 90s, 5m, 1h30m, 2d.
func Parse(text string) (time.Duration, error) {
	text = strings.TrimSpace(text)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n > 0 && n <= int(longest/Day) {
			return time.Duration(n) * Day, nil
		}
	} else if d, err := time.ParseDuration(text); err == nil && d > 0 && d <= longest {
		return d, nil
	}
	return 0, fmt.Errorf("%q is not a time such as 90s, 5m, 1h30m or 2d", text)
}

// In reads a time with its unit, or a plain number of units of 0 or more.
func In(unit time.Duration, text string) (time.Duration, error) {
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	switch {
	case err != nil:
		return Parse(text)
	case n < 0:
		return 0, fmt.Errorf("%d must not be negative", n)
	case n > math.MaxInt64/int64(unit):
		return 0, fmt.Errorf("%d is too long", n)
	}
	return time.Duration(n) * unit, nil
}

// Count reads a time as [In] does, as a whole number of units.
func Count(unit time.Duration, text string) (int, error) {
	d, err := In(unit, text)
	if err != nil {
		return 0, err
	}
	if d%unit != 0 {
		return 0, fmt.Errorf("%q is not a whole number of %s", text, map[time.Duration]string{Second: "seconds", Day: "days"}[unit])
	}
	return int(d / unit), nil
}
