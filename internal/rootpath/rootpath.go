// Package rootpath tells whether root may rely on what lies at a path: that
// nobody else can change what the path leads to, now or between a look and the
// use. Anyone who can write a directory can replace everything in it, and so
// everything below it.
//
// The path is walked from / downwards and each directory judged before it is
// entered. What has been judged is root's alone to change, so that looking
// again by name finds the same; that is why no descriptors need to be held.
//
// A POSIX ACL that lets others write shows in the group bits of the mode,
// which then are its mask.
package rootpath

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// maxLinks is how many symbolic links a path may lead through.
const maxLinks = 40

// Error says which file or directory others can change, and how to mend it.
type Error struct {
	Path string // as it was asked for
	At   string // what others can change
	Why  string
	Mend string
}

func (e *Error) Error() string {
	return fmt.Sprintf("root does not rely on %s: %s %s; %s", e.Path, e.At, e.Why, e.Mend)
}

// Check returns an [*Error] unless path, as far as it exists, can only be
// changed by root. Links are followed where only root can have made them. A
// directory such as /tmp, in which everybody may make files but not replace
// those of others, may lie on the way. What does not exist in it yet may be made
// by anybody first: the one that makes it checks again afterwards.
func Check(path string) error {
	w := walk{asked: path, at: "/"}
	if err := w.enterDir("/"); err != nil {
		return err
	}
	w.pushPath(path)
	for len(w.rest) > 0 {
		if done, err := w.walkStep(); done || err != nil {
			return err
		}
	}
	if w.shared {
		return w.errorAt(w.at, "can be written by everybody", "use a directory of root's below it")
	}
	return nil
}

// walk is on its way down a path.
type walk struct {
	asked  string
	at     string // judged, and free of links
	shared bool   // others may make files in at, but replace none of root's
	rest   []string
	links  int
}

// pushPath puts the components of path before what is left to be walked.
func (w *walk) pushPath(path string) {
	var parts []string
	for part := range strings.SplitSeq(path, "/") {
		if part != "" && part != "." {
			parts = append(parts, part)
		}
	}
	w.rest = append(parts, w.rest...)
}

// walkStep walks one component; done is true when there is nothing below.
func (w *walk) walkStep() (done bool, err error) {
	part := w.rest[0]
	w.rest = w.rest[1:]
	if part == ".." {
		return false, w.enterDir(filepath.Dir(w.at))
	}
	next := filepath.Join(w.at, part)
	fi, err := os.Lstat(next)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return true, nil
	case err != nil:
		return true, fmt.Errorf("cannot judge %s: %w", w.asked, err)
	case fi.Mode()&fs.ModeSymlink != 0:
		return false, w.followLink(next, fi)
	}
	return false, w.enterDir(next)
}

func (w *walk) followLink(link string, fi fs.FileInfo) error {
	if uid := ownerOf(fi); uid != 0 {
		return w.errorAt(link, "is a link of "+userName(uid), "remove it, or make it as root")
	}
	if w.links++; w.links > maxLinks {
		return w.errorAt(link, "leads through too many links", "use the directory's own path")
	}
	target, err := os.Readlink(link)
	if err != nil {
		return fmt.Errorf("cannot judge %s: %w", w.asked, err)
	}
	w.pushPath(target)
	if filepath.IsAbs(target) {
		return w.enterDir("/")
	}
	return nil
}

// enterDir judges a directory.
func (w *walk) enterDir(dir string) error {
	fi, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("cannot judge %s: %w", w.asked, err)
	}
	others := fi.Mode().Perm()&0o022 != 0
	switch uid := ownerOf(fi); {
	case !fi.IsDir():
		return w.errorAt(dir, "is not a directory", "remove it, or use another path")
	case uid != 0:
		return w.errorAt(dir, "belongs to "+userName(uid), "use a directory that only root can change, such as one below /opt")
	case others && fi.Mode()&fs.ModeSticky == 0:
		return w.errorAt(dir, "can be written by others than root", "take that away: chmod go-w "+dir)
	}
	w.at, w.shared = dir, others
	return nil
}

func (w *walk) errorAt(at, why, mend string) error {
	return &Error{Path: w.asked, At: at, Why: why, Mend: mend}
}

// CheckEntry returns an [*Error] unless the file, directory or link at path,
// whose directory has been judged, is root's and only root's to write. What
// does not exist is right.
func CheckEntry(path string) error {
	fi, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot judge %s: %w", path, err)
	}
	return checkInfo(path, fi)
}

func checkInfo(path string, fi fs.FileInfo) error {
	if uid := ownerOf(fi); uid != 0 {
		return &Error{path, path, "belongs to " + userName(uid), "look at it before you give it to root: chown root:root " + path}
	}
	if fi.Mode()&fs.ModeSymlink == 0 && fi.Mode().Perm()&0o022 != 0 {
		return &Error{path, path, "can be written by others than root", "take that away: chmod go-w " + path}
	}
	return nil
}

func ownerOf(fi fs.FileInfo) uint32 {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return st.Uid
	}
	return ^uint32(0) // it cannot be told, so it is not root
}

// userName is the user as people know it.
func userName(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return "uid " + id
}
