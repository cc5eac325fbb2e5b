package api

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// ParseSpan reads how long something lasts as people write it: 90d, 12h, 30m.
func ParseSpan(s string) (time.Duration, error) {
	s = strings.TrimSpace(s)
	if n, ok := strings.CutSuffix(s, "d"); ok {
		days, err := strconv.Atoi(n)
		if err != nil || days <= 0 || days > maxSpanDays {
			return 0, fmt.Errorf("%q is not a number of days", s)
		}
		return time.Duration(days) * 24 * time.Hour, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%q is not a time such as 90d, 12h or 30m", s)
	}
	return d, nil
}

// maxSpanDays is a century: more would not fit a [time.Duration] for long.
const maxSpanDays = 36500
