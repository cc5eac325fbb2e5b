package updater

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/ops-updater/ops-updater/internal/plainfile"
)

// ErrRunning says that another sidecar holds the var directory.
var ErrRunning = errors.New("another ops-updater is running")

// varLock is held by whoever may change what is in the var directory.
type varLock struct {
	file  *os.File
	aside []error // what was in the way and was set aside
}

// lockVar makes the var directory if it is missing and takes its lock, which
// the system gives back when this process ends, however it ends. had is the lock
// that another version of the sidecar held in this process, or nil.
func lockVar(dir string, had *os.File) (*varLock, error) {
	if err := makeVar(dir); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, lockName)
	f, aside, err := openLock(path, had)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		holder := make([]byte, 32)
		n, _ := f.ReadAt(holder, 0)
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w with %s, pid %s", ErrRunning, dir, strings.TrimSpace(string(holder[:n])))
		}
		return nil, fmt.Errorf("cannot lock %s: %w", path, err)
	}
	if err := f.Truncate(0); err == nil {
		_, _ = fmt.Fprintf(f, "%d\n", os.Getpid()) // for people; the lock itself is what counts
	}
	return &varLock{file: f, aside: append(aside, clearVar(dir)...)}, nil
}

// makeVar says what is in the way, also of a directory on the way to dir.
func makeVar(dir string) error {
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		return nil
	}
	at := dir
	if pe, ok := errors.AsType[*os.PathError](err); ok {
		at = pe.Path
	}
	if fi, statErr := os.Lstat(at); statErr == nil && !fi.IsDir() {
		return fmt.Errorf("cannot make var_dir %s: %s is %s; move it away, or set another var_dir", dir, at, plainfile.Kind(fi.Mode()))
	}
	return fmt.Errorf("cannot make var_dir: %w", err)
}

// cannotWrite: the disk is to blame, and nothing that is there.
func cannotWrite(err error) bool {
	for _, e := range []error{syscall.EROFS, syscall.ENOSPC, syscall.EDQUOT} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func (l *varLock) release() { _ = l.file.Close() }
