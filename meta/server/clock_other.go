//go:build !linux

package server

import "time"

// bootClock is not known here.
func bootClock() (boot string, since time.Duration) { return "", 0 }
