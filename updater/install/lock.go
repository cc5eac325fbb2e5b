package install

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"github.com/ops-updater/ops-updater/internal/filelock"
)

// lockFile is held by whoever makes or removes parts, staging directories and
// versions of an agent, so that nobody tidies away what somebody else is
// making. It is a file of the agent's user alone: a lock on the directory
// itself could be held by everybody who may read it.
const lockFile = ".install.lock"

// lockPatience is long enough for a child whose parent was killed to notice.
const lockPatience = 15 * time.Second

// Lock takes the files of the agent in dir, which need not exist, for this
// process; the kernel gives them back when it dies.
func Lock(ctx context.Context, dir string) (*filelock.Lock, error) {
	l, err := filelock.Take(ctx, filelock.Request{Path: filepath.Join(dir, lockFile), Create: true, Patience: lockPatience})
	if errors.Is(err, filelock.ErrHeld) {
		return nil, failedBecause(CodeBusy, "cannot change the files below %s: another install of this agent goes on", dir)
	}
	return l, err
}
