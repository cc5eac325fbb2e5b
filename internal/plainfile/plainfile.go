// Package plainfile opens files of which one expects that they are plain ones,
// and is not hurt when they are something else: a FIFO keeps nobody waiting, a
// device or a huge file fills no memory, and nothing is written through a link
// into a file elsewhere.
package plainfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// Error says that a file is not what it should be.
type Error struct {
	Path string
	Why  string
}

func (e *Error) Error() string { return "cannot use " + e.Path + ": " + e.Why }

const never = syscall.O_NONBLOCK | syscall.O_CLOEXEC

// Open opens path for reading, if it is a regular file and no link.
func Open(path string) (*os.File, error) { return openPlain(path, os.O_RDONLY|syscall.O_NOFOLLOW, 0) }

// Append opens path for reading and for writing at its end; it is made with
// mode 0600 when missing. A file that has other names as well is refused like
// a link.
func Append(path string) (*os.File, error) {
	f, err := Lockable(path)
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	if err == nil {
		err = checkNames(path, fi)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// Lockable is [Append] for a file in which nothing is written, so that its
// other names do no harm.
func Lockable(path string) (*os.File, error) {
	return openPlain(path, os.O_RDWR|os.O_APPEND|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
}

func openPlain(path string, flags int, perm os.FileMode) (*os.File, error) {
	f, err := os.OpenFile(path, flags|never, perm)
	switch {
	case errors.Is(err, syscall.ELOOP) && flags&syscall.O_NOFOLLOW != 0:
		return nil, &Error{path, "it is a symbolic link"}
	case errors.Is(err, syscall.EISDIR):
		return nil, &Error{path, "it is a directory"}
	case errors.Is(err, syscall.ENXIO):
		return nil, &Error{path, "it is no plain file"}
	case err != nil:
		return nil, err
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = &Error{path, "it is " + Kind(fi.Mode())}
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// IsPassing reports whether err says that descriptors or memory ran out while a file was
// opened or read: nothing is wrong with the file, which can be read later.
func IsPassing(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOMEM)
}

// Read is the content of path, which must be a regular file, no link, and have
// at most limit bytes.
func Read(path string, limit int64) ([]byte, error) {
	f, err := Open(path)
	if err != nil {
		return nil, err
	}
	return readAll(f, limit)
}

// ReadLinked is [Read] for files of an administrator, who may have put a link
// in their place.
func ReadLinked(path string, limit int64) ([]byte, error) {
	f, err := openPlain(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	return readAll(f, limit)
}

func readAll(f *os.File, limit int64) ([]byte, error) {
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		return nil, &Error{f.Name(), fmt.Sprintf("it has more than %d bytes", limit)}
	}
	return data, err
}

// Check returns an [*Error] when there is something at path that [Append]
// would refuse.
func Check(path string) error {
	fi, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !fi.Mode().IsRegular():
		return &Error{path, "it is " + Kind(fi.Mode())}
	}
	return checkNames(path, fi)
}

// CheckLinked returns an [*Error] when there is something at path, or where a
// link leads from there, that is no plain file.
func CheckLinked(path string) error {
	fi, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !fi.Mode().IsRegular():
		return &Error{path, "it is " + Kind(fi.Mode())}
	}
	return nil
}

func checkNames(path string, fi fs.FileInfo) error {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok && st.Nlink > 1 {
		return &Error{path, "it is the same file as another one (a hard link)"}
	}
	return nil
}

// Whole reports whether f, a regular file, has something in it. A power cut
// leaves files that were being written empty, or filled with NULs.
func Whole(f *os.File) bool {
	first := []byte{0}
	_, err := f.ReadAt(first, 0)
	return err == nil && first[0] != 0
}

// Kind is what a file of this mode is, with its article.
func Kind(m fs.FileMode) string {
	switch {
	case m.IsRegular():
		return "a file"
	case m.IsDir():
		return "a directory"
	case m&fs.ModeSymlink != 0:
		return "a symbolic link"
	case m&fs.ModeNamedPipe != 0:
		return "a FIFO"
	case m&fs.ModeSocket != 0:
		return "a socket"
	case m&fs.ModeDevice != 0:
		return "a device"
	}
	return "no plain file"
}

// SetAside moves what is at path out of the way, for those who look for the
// reason, and returns an error that says so with why.
func SetAside(path string, why error) error {
	aside := path + AsideMark + time.Now().UTC().Format("20060102T150405.000")
	if err := os.Rename(path, aside); err != nil {
		return errors.Join(why, fmt.Errorf("and it cannot be set aside: %w", err))
	}
	return &AsideError{Path: path, As: aside, Err: why}
}

// AsideMark is in the names of files that were set aside, before the time.
const AsideMark = ".corrupt-"

// AsideError says that what was at Path is at As now, and nothing at Path.
type AsideError struct {
	Path, As string
	Err      error
}

func (e *AsideError) Error() string {
	return fmt.Sprintf("%s was set aside as %s: %v", e.Path, e.As, e.Err)
}

// Unwrap gives the reason.
func (e *AsideError) Unwrap() error { return e.Err }
