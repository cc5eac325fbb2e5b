package install

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// exchange swaps two names in dir in one step, and reports whether this system can.
func exchange(dir *os.File, a, b string) (bool, error) {
	fd := int(dir.Fd())
	err := unix.Renameat2(fd, a, fd, b, unix.RENAME_EXCHANGE)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EINVAL) {
		return false, nil
	}
	return true, err
}
