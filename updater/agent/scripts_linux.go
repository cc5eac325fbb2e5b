package agent

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/ops-updater/ops-updater/internal/host/process"
)

// isChild reports whether pid is a sidecar's child, of whatever version.
func isChild(pid int) bool {
	args := process.Arguments(pid)
	return len(args) > 1 && args[1] == "child"
}

// maxLocks bounds what is read of /proc/locks.
const maxLocks = 1 << 20

// lockHolder is the process that holds the lock on path, and the control
// script that it runs; 0 when that cannot be told.
func lockHolder(path string) (int, asking) {
	var st syscall.Stat_t
	if syscall.Stat(path, &st) != nil {
		return 0, asking{}
	}
	f, err := os.Open("/proc/locks")
	if err != nil {
		return 0, asking{}
	}
	defer func() { _ = f.Close() }()
	locks, _ := io.ReadAll(io.LimitReader(f, maxLocks))
	for line := range strings.Lines(string(locks)) {
		words := strings.Fields(line) // 1: FLOCK ADVISORY WRITE 1234 08:01:5678 0 EOF
		if len(words) < 6 || words[1] != "FLOCK" || !strings.HasSuffix(words[5], fmt.Sprintf(":%d", st.Ino)) {
			continue
		}
		if pid, err := strconv.Atoi(words[4]); err == nil && pid > 0 {
			return pid, scriptOf(pid, filepath.Dir(path))
		}
	}
	return 0, asking{}
}

// scriptOf finds the control script below dir that the process runs.
func scriptOf(parent int, dir string) asking {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return asking{}
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || process.Parent(pid) != parent {
			continue
		}
		args := process.Arguments(pid)
		for i, arg := range args {
			if process.Within(arg, dir) && filepath.Base(arg) == scriptName && i+1 < len(args) {
				return asking{script: arg, verb: args[i+1], since: process.StartedAt(pid)}
			}
		}
	}
	return asking{}
}

// leftBehind lists the daemons of this user whose program or working directory
// lies in the directory.
func (d Dir) leftBehind() ([]int, bool) {
	pids, known := process.InDirectory(d.Path)
	return slices.DeleteFunc(pids, func(pid int) bool {
		fi, err := os.Stat(filepath.Join("/proc", strconv.Itoa(pid)))
		if err != nil {
			return true
		}
		st, ok := fi.Sys().(*syscall.Stat_t)
		return !ok || int(st.Uid) != os.Geteuid() || !process.LivesIn(pid, d.Path) || process.OnTerminal(pid)
	}), known
}
