// Package jitter spreads waits so that a fleet does not act in step.
package jitter

import (
	"math/rand/v2"
	"time"
)

// First is a random part of interval, for the wait before a first heartbeat.
func First(interval time.Duration) time.Duration { return scaleBy(interval, rand.Float64()) }

// Around is interval ±10 %.
func Around(interval time.Duration) time.Duration { return scaleBy(interval, 0.9+0.2*rand.Float64()) }

// Backoff is the wait before try n+1 after n failures: a random part of
// base·2ⁿ⁻¹, which is capped at limit ("full jitter"). It is never less than a
// tenth of the capped value, so that a lucky draw does not retry at once.
func Backoff(base, limit time.Duration, failures int) time.Duration {
	capped := limit
	if failures < 32 {
		if d := base << max(failures-1, 0); d > 0 && d < limit {
			capped = d
		}
	}
	return scaleBy(capped, 0.1+0.9*rand.Float64())
}

func scaleBy(d time.Duration, f float64) time.Duration { return time.Duration(float64(d) * f) }
