// Package filelock takes kernel locks (flock) on files in directories that
// another user may have prepared: it follows no link, waits on no FIFO, and
// the kernel gives a lock back when its process ends, however it ends.
//
// The file has mode 0600, so that nobody but its owner can hold it up. Where a
// lock cannot be had at all, because the filesystem knows none, is read-only
// or full, [Take] goes on without: the caller must stay safe then by what
// else it knows, and an agent is not kept down for want of a lock.
package filelock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ops-updater/ops-updater/internal/pause"
)

// ErrHeld is returned when another process kept the lock for longer than the
// caller could wait.
var ErrHeld = errors.New("another process holds the lock")

// interval is how often a lock that is held is tried again.
const interval = 25 * time.Millisecond

// Request says which lock is wanted.
type Request struct {
	Path     string
	Create   bool          // make the file when it is missing; otherwise there is nothing to wait for
	Patience time.Duration // how long another holder is waited for
}

// Lock is a lock that is held, or the lack of one where none can be had.
type Lock struct {
	file *os.File
	path string
}

// Take waits for the lock. The error is [ErrHeld], ctx's, or about a file that
// cannot be a lock.
func Take(ctx context.Context, r Request) (*Lock, error) {
	deadline := time.Now().Add(r.Patience)
	for {
		f, err := openLockFile(r.Path, r.Create)
		if err != nil || f == nil {
			return &Lock{}, err
		}
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil && stillNamed(f, r.Path) {
			return &Lock{f, r.Path}, nil
		}
		_ = f.Close()
		switch {
		case err == nil, errors.Is(err, unix.EINTR): // replaced meanwhile, or interrupted
			continue
		case !errors.Is(err, unix.EWOULDBLOCK):
			return &Lock{}, nil // a filesystem without locks
		case !time.Now().Before(deadline):
			return nil, fmt.Errorf("cannot lock %s: %w", r.Path, ErrHeld)
		}
		if !pause.For(ctx, max(time.Millisecond, min(interval, time.Until(deadline)))) {
			return nil, ctx.Err()
		}
	}
}

// Release gives the lock back.
func (l *Lock) Release() {
	if l.file != nil {
		_ = l.file.Close()
	}
}

// Remove gives the lock back and removes its file, which those who wait for it
// notice.
func (l *Lock) Remove() {
	if l.file != nil {
		_ = os.Remove(l.path)
		_ = l.file.Close()
	}
}

// openLockFile returns nil, nil where no lock can be had.
func openLockFile(path string, create bool) (*os.File, error) {
	flags := os.O_RDWR | unix.O_NOFOLLOW | unix.O_NONBLOCK
	if create {
		flags |= os.O_CREATE
	}
	f, err := os.OpenFile(path, flags, 0o600)
	if create && errors.Is(err, fs.ErrPermission) && removeForeign(path) {
		f, err = os.OpenFile(path, flags, 0o600)
	}
	switch {
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.EISDIR), errors.Is(err, unix.ENXIO):
		return nil, fmt.Errorf("cannot lock %s: it is not a regular file; remove it", path)
	case err != nil:
		return nil, nil //nolint:nilerr // missing, read-only, full, not allowed: see the package's comment
	}
	if fi, err := f.Stat(); err != nil || !fi.Mode().IsRegular() {
		_ = f.Close()
		return nil, fmt.Errorf("cannot lock %s: it is not a regular file; remove it", path)
	}
	return f, nil
}

// removeForeign removes the lock file of another user, who worked here before:
// possible only where the directory is ours.
func removeForeign(path string) bool {
	var st unix.Stat_t
	return unix.Lstat(path, &st) == nil && int(st.Uid) != os.Geteuid() && os.Remove(path) == nil
}

// stillNamed reports whether path still names f: it may have been removed between
// opening and locking.
func stillNamed(f *os.File, path string) bool {
	mine, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Lstat(path)
	return err == nil && os.SameFile(mine, there)
}
