package agent

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Where pid files of an agent are looked for, and how large they may be.
const (
	maxPidFile       = 32
	maxPidFileDepth  = 2
	maxPidFilesTried = 2000
	staleSuffix      = ".stale"
)

// clockDoubt is by how much a file may be older than the process that it names
// and still be that process's: clocks of files are coarse.
const clockDoubt = 2 * time.Second

// pidFiles finds the files below a version that hold the number pid: named
// like a pid file, with nothing else in them.
func (d Dir) pidFiles(version string, pid int) []string {
	root, tried := d.file(version), 0
	var found []string
	_ = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if tried++; tried > maxPidFilesTried {
			return fs.SkipAll
		}
		if err != nil {
			return nil //nolint:nilerr // what cannot be read holds no number for us
		}
		if e.IsDir() {
			if rest, _ := filepath.Rel(root, path); strings.Count(rest, "/") >= maxPidFileDepth {
				return fs.SkipDir
			}
			return nil
		}
		if e.Type().IsRegular() && strings.Contains(strings.ToLower(e.Name()), "pid") && !strings.HasSuffix(path, staleSuffix) && holdsNumber(path, pid) {
			found = append(found, path)
		}
		return nil
	})
	return found
}

func holdsNumber(path string, pid int) bool {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxPidFile))
	return err == nil && strings.TrimSpace(string(text)) == strconv.Itoa(pid)
}

// olderPidFile is the name of a pid file that was written before p began, so
// that it was never about p; "" when there is none.
func (d Dir) olderPidFile(version string, p process) string {
	if p.Birth == "" {
		return ""
	}
	born := p.bornAt(time.Now())
	for _, path := range d.pidFiles(version, p.Pid) {
		if fi, err := os.Lstat(path); err == nil && born.Sub(fi.ModTime()) > clockDoubt {
			rest, _ := filepath.Rel(d.Path, path)
			return rest
		}
	}
	return ""
}

// setAsidePidFiles renames the pid files that name a stranger: control scripts
// that believe them would not start the agent, and would kill the stranger.
func (d Dir) setAsidePidFiles(version string, stranger process) {
	for _, path := range d.pidFiles(version, stranger.Pid) {
		_ = os.Rename(path, path+staleSuffix)
	}
}
