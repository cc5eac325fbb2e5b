//go:build !linux

package backend

import "time"

// bootClock is not known here.
func bootClock() (boot string, since time.Duration) { return "", 0 }
