//go:build !linux

package updater

import (
	"os/signal"
	"syscall"
)

func raiseLimits() {}

func wasIgnored(s syscall.Signal) bool { return signal.Ignored(s) }

func unblockSignals() {}
