package install

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// syncWhole syncs dir's filesystem. The call cannot be interrupted: when it
// takes too long it goes on in a thread of its own, which ends with the child.
func syncWhole(dir *os.File, patience time.Duration) error {
	fd := int(dir.Fd())
	return waitWithin(patience, func() error {
		err := unix.Syncfs(fd)
		if errors.Is(err, unix.ENOSYS) {
			return errNoSyncfs
		}
		return err
	})
}

// waitWithin waits for f, but not longer than patience; then f goes on alone.
func waitWithin(patience time.Duration, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		return errNoSyncfs
	}
}
