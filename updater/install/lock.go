package install

import (
	"context"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	lockPatience = 15 * time.Second // a child whose parent was killed needs a moment to notice
	lockInterval = 50 * time.Millisecond
)

// lock takes the directory for this process until dir is closed. The kernel
// releases it when the process dies.
func lock(ctx context.Context, dir *os.File) error {
	deadline := time.Now().Add(lockPatience)
	for {
		err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ENOTSUP), errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EINVAL):
			return nil // a filesystem without locks: the sidecar starts one child at a time anyway
		case !errors.Is(err, unix.EWOULDBLOCK):
			return err
		case time.Now().After(deadline):
			return failed(ReasonBusy, "cannot install: another install of this agent goes on")
		}
		if err := pause(ctx, lockInterval); err != nil {
			return err
		}
	}
}
