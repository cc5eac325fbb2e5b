package agent

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/ops-updater/ops-updater/internal/host/control"
	"github.com/ops-updater/ops-updater/internal/host/process"
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

// pidFiles finds the files of version, and of the agent's directory beside its
// versions, that hold the number pid: named like a pid file, with nothing else
// in them.
func (d Dir) pidFiles(version string, pid int) (found []string) {
	d.walkPidFiles(version, func(path string) {
		if numberIn(path) == pid {
			found = append(found, path)
		}
	})
	return found
}

func (d Dir) walkPidFiles(version string, visit func(path string)) {
	tried := 0
	for _, root := range []string{d.file(version), d.Path} {
		_ = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
			if tried++; tried > maxPidFilesTried {
				return fs.SkipAll
			}
			if err != nil {
				return nil //nolint:nilerr // what cannot be read holds no number for us
			}
			if e.IsDir() {
				rest, _ := filepath.Rel(root, path)
				if strings.Count(rest, "/") >= maxPidFileDepth || root == d.Path && path != root && d.Complete(e.Name()) {
					return fs.SkipDir
				}
				return nil
			}
			if e.Type().IsRegular() && strings.Contains(strings.ToLower(e.Name()), "pid") && !strings.HasSuffix(path, staleSuffix) {
				visit(path)
			}
			return nil
		})
	}
}

// numberIn is the number that is all that the file holds, or 0.
func numberIn(path string) int {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return 0
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxPidFile))
	if err != nil {
		return 0
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return pid
}

// inPidFiles are the numbers in version's files that are named as pid files are
// and nothing else.
func (d Dir) inPidFiles(version string) (pids []int) {
	d.walkPidFiles(version, func(path string) {
		name := strings.ToLower(filepath.Base(path))
		if pid := numberIn(path); pid > 0 && (strings.HasSuffix(name, "pid") || strings.HasSuffix(name, "pidfile")) {
			pids = append(pids, pid)
		}
	})
	return pids
}

// strangerInPidFile is the stranger that a script without the verb pid takes
// for its agent: its pid files name strangers only, and no process lies in the
// version. Otherwise nobody is named, because which file counts is not known.
func (d Dir) strangerInPidFile(version string) (n named) {
	for _, pid := range d.inPidFiles(version) {
		m := d.identifyNamed("its pid file", version, pid)
		switch {
		case m.isStranger():
			n = m
		case m.pid != 0:
			return named{}
		}
	}
	if left, known := process.InDirectory(d.file(version)); n.pid == 0 || !known || len(left) > 0 {
		return named{}
	}
	return n
}

// onlyPidFile is the number in version's only pid file, for a script that
// cannot say it, or 0.
func (r Runner) onlyPidFile(version string) int {
	if r.saysPid(version) {
		return 0
	}
	if pids := r.Dir.inPidFiles(version); len(pids) == 1 {
		return pids[0]
	}
	return 0
}

// olderPidFile is the name of a pid file that was written before p began, so
// that it was never about p; "" when there is none.
func (d Dir) olderPidFile(version string, p process.Process) string {
	if p.Birth == "" {
		return ""
	}
	born := p.BornAt(time.Now())
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
func (d Dir) setAsidePidFiles(version string, stranger process.Process) {
	for _, path := range d.pidFiles(version, stranger.Pid) {
		_ = os.Rename(path, path+staleSuffix)
	}
}

// absolutePidFiles are the paths in a control script that look like pid files.
var absolutePidFiles = regexp.MustCompile(`(?i)/[^\s"'$;()<>|&` + "`" + `]*pid[^\s"'$;()<>|&` + "`" + `]*`)

// pidFileElsewhere is the file outside the agent's directory from which the
// script has the number pid: one that it names, or one in the usual places whose
// name has the agent's in it; "" when none of them holds that.
func (d Dir) pidFileElsewhere(version string, pid int) string {
	var tried []string
	for _, path := range absolutePidFiles.FindAll(control.ReadScript(d.file(version, scriptName)), maxPidFilesTried) {
		tried = append(tried, string(path))
	}
	for _, dir := range []string{"/run", "/run/" + d.Name, "/var/run", "/run/lock", "/tmp", "/var/tmp"} {
		found, _ := filepath.Glob(filepath.Join(dir, "*"+d.Name+"*pid*"))
		tried = append(tried, found...)
	}
	for _, path := range tried {
		if numberIn(path) == pid {
			return path
		}
	}
	return ""
}

// removeStalePidFile says which file is to be removed, with the command.
func (d Dir) removeStalePidFile(version string, stranger process.Process) string {
	if path := d.pidFileElsewhere(version, stranger.Pid); path != "" {
		return "remove the pid file that the script reads: rm -- " + shellWord(path)
	}
	return fmt.Sprintf("remove the pid file that the script reads, which is not below %s; to find it: grep -n -i pid %s",
		d.Path, shellWord(d.file(version, scriptName)))
}

// shellWord is s as a shell takes it for one word.
func shellWord(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool {
		return !strings.ContainsRune("/._-+@%", r) && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	}) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
