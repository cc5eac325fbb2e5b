package agent

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// pidSpace names the pid namespace of this process.
var pidSpace = sync.OnceValue(func() string {
	space, _ := os.Readlink("/proc/self/ns/pid")
	return space
})

// birth tells a process from a later one with the same number; "" when there
// is none, or only a zombie.
func birth(pid int) string {
	fields := statOf(pid)
	if fields == nil {
		return ""
	}
	return fields[19] // start time in ticks since boot
}

// parentOf is the process that pid was started by, or 0.
func parentOf(pid int) int {
	fields := statOf(pid)
	if fields == nil {
		return 0
	}
	parent, _ := strconv.Atoi(fields[1])
	return parent
}

// statOf is statFields of a process that is there and no zombie; otherwise nil.
func statOf(pid int) []string {
	fields := statFields(pid)
	if len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
		return nil
	}
	return fields
}

func argumentsOf(pid int) []string {
	args, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(args), "\x00"), "\x00")
}

// isChild reports whether pid is a sidecar's child, of whatever version.
func isChild(pid int) bool {
	args := argumentsOf(pid)
	return len(args) > 1 && args[1] == "child"
}

// dieWithParent has what is started with attr killed when this process dies.
// The caller must stay on its thread meanwhile.
func dieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }

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
		if err != nil || parentOf(pid) != parent {
			continue
		}
		args := argumentsOf(pid)
		for i, arg := range args {
			if within(arg, dir) && filepath.Base(arg) == control && i+1 < len(args) {
				return asking{script: arg, verb: args[i+1], since: startedAt(pid)}
			}
		}
	}
	return asking{}
}

// startedAt is when the process began, to the hundredth of a second in which
// Linux counts for user space.
func startedAt(pid int) time.Time {
	text, err := os.ReadFile("/proc/uptime")
	ticks, err2 := strconv.ParseFloat(birth(pid), 64)
	up, _, _ := strings.Cut(string(text), " ")
	uptime, err3 := strconv.ParseFloat(up, 64)
	if err != nil || err2 != nil || err3 != nil {
		return time.Time{}
	}
	return time.Now().Add(-time.Duration((uptime - ticks/100) * float64(time.Second)))
}

// statFields are those of /proc/PID/stat from the third one, the state, on.
func statFields(pid int) []string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	end := strings.LastIndex(string(stat), ") ") // the name before it may hold anything
	if end < 0 {
		return nil
	}
	return strings.Fields(string(stat[end+2:]))
}

// processesOf lists the processes whose program, working directory or
// arguments lie in dir. The second result is false where that cannot be known.
func processesOf(dir string) ([]int, bool) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, false
	}
	real, err := filepath.EvalSymlinks(dir) // which /proc names
	if err != nil {
		real = dir
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err == nil && pid != os.Getpid() && (belongs(pid, dir) || real != dir && belongs(pid, real)) {
			pids = append(pids, pid)
		}
	}
	return pids, true
}

// leftBehind lists the daemons of this user whose program or working directory
// lies in the directory.
func (d Dir) leftBehind() ([]int, bool) {
	pids, known := processesOf(d.Path)
	return slices.DeleteFunc(pids, func(pid int) bool {
		fi, err := os.Stat(filepath.Join("/proc", strconv.Itoa(pid)))
		if err != nil {
			return true
		}
		st, ok := fi.Sys().(*syscall.Stat_t)
		return !ok || int(st.Uid) != os.Geteuid() || !livesIn(pid, d.Path) || onTerminal(pid)
	}), known
}

// onTerminal: field 7 of stat is the controlling terminal.
func onTerminal(pid int) bool {
	fields := statFields(pid)
	return len(fields) < 5 || fields[4] != "0"
}

// livesIn: the program or the working directory of pid is in dir.
func livesIn(pid int, dir string) bool {
	for _, link := range []string{"exe", "cwd"} {
		if at, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), link)); err == nil && within(at, dir) {
			return true
		}
	}
	return false
}

func belongs(pid int, dir string) bool {
	if birth(pid) == "" {
		return false
	}
	if livesIn(pid, dir) {
		return true
	}
	return slices.ContainsFunc(argumentsOf(pid), func(arg string) bool { return within(arg, dir) })
}
