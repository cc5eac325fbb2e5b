//go:build !linux

package updater

import (
	"os/signal"
	"syscall"
)

func raiseLimits() {}

func ignored(s syscall.Signal) bool { return signal.Ignored(s) }

func unblockSignals() {}
