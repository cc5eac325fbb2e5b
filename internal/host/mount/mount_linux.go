// Package mount tells how filesystems are mounted that agents lie on.
package mount

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

func mountedWith(flag int64, file string) (at string, is bool) {
	var st unix.Statfs_t
	if unix.Statfs(file, &st) != nil || int64(st.Flags)&flag == 0 { //nolint:unconvert // other machines have other types
		return "", false
	}
	return mountPointOf(file), true
}

// Noexec reports whether nothing can be executed below dir, and which
// mount is to blame. A directory that is not there yet is judged by the one
// that it would be made in.
func Noexec(dir string) (at string, is bool) {
	return mountedWith(unix.ST_NOEXEC, existingAbove(dir))
}

// ReadOnly reports the same of a filesystem that cannot be written.
func ReadOnly(dir string) (at string, is bool) {
	return mountedWith(unix.ST_RDONLY, existingAbove(dir))
}

func existingAbove(dir string) string {
	for {
		if _, err := os.Stat(dir); err == nil || dir == "/" {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}

// mountPointOf is the first directory up from file that lies on another device.
func mountPointOf(file string) string {
	if real, err := filepath.EvalSymlinks(file); err == nil {
		file = real
	}
	var here, above unix.Stat_t
	for file != "/" {
		parent := filepath.Dir(file)
		if unix.Stat(file, &here) != nil || unix.Stat(parent, &above) != nil || here.Dev != above.Dev {
			return file
		}
		file = parent
	}
	return file
}
