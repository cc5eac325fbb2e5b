package release

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/ops-updater/ops-updater/internal/plainfile"
)

const incomingPrefix = "incoming-"

// createIncoming makes the file that arriving content is written to. It stays
// locked while it is open, which tells it from what a crash left behind.
func createIncoming(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, incomingPrefix)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(err, discardIncoming(f))
	}
	return f, nil
}

// discardIncoming closes f and removes it unless it has been moved away.
func discardIncoming(f *os.File) error {
	err := os.Remove(f.Name())
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, f.Close())
}

// sweepIncoming removes incoming files that nobody holds, and says how many.
func sweepIncoming(dir string) (int, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, fmt.Errorf("cannot sweep incoming artifacts: %w", err)
	}
	removed := 0
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), incomingPrefix) || !e.Type().IsRegular() {
			continue
		}
		gone, err := removeAbandoned(filepath.Join(dir, e.Name()))
		if err != nil {
			return removed, fmt.Errorf("cannot sweep incoming artifacts: %w", err)
		}
		if gone {
			removed++
		}
	}
	return removed, nil
}

func removeAbandoned(path string) (bool, error) {
	f, err := plainfile.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return false, nil // somebody is still writing it
	}
	err = os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
