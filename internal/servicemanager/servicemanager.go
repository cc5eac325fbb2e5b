// Package servicemanager tells systemd how the service that this process is fares, with
// the messages of sd_notify(3). Where nothing of the kind started it, nothing happens.
//
// What is said is advice to the service manager: that it could not be said is no failure
// of the service, and none is returned.
package servicemanager

import (
	"context"
	"fmt"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// Ready says that the service does its work from now on.
func Ready() { say(daemon.SdNotifyReady) }

// HandOver says that the process is about to go on as another program, which may know
// nothing of service managers: it counts as ready, and nobody waits for its signs of life
// until it begins to give them.
func HandOver() { say(daemon.SdNotifyReady + "\nWATCHDOG_USEC=0") }

// KeepAlive gives a sign of life three times in the length of the watchdog of this
// service's unit (WatchdogSec=), each once alive has returned, until ctx ends. Is alive
// stuck, there is none, and the service manager ends the service and starts it again.
// Without a watchdog it returns at once.
func KeepAlive(ctx context.Context, alive func()) {
	length, err := daemon.SdWatchdogEnabled(false)
	if err != nil || length <= 0 {
		return
	}
	say(fmt.Sprintf("WATCHDOG_USEC=%d", length.Microseconds()))
	tick := time.NewTicker(length / 3)
	defer tick.Stop()
	for {
		alive()
		say(daemon.SdNotifyWatchdog)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func say(state string) { _, _ = daemon.SdNotify(false, state) }
