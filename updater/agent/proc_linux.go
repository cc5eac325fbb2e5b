package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// birth tells a process from a later one with the same number; "" when there
// is none, or only a zombie.
func birth(pid int) string {
	fields := statFields(pid)
	if len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
		return ""
	}
	return fields[19] // start time in ticks since boot
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
	args, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
	if err != nil {
		return false
	}
	for arg := range strings.SplitSeq(string(args), "\x00") {
		if within(arg, dir) {
			return true
		}
	}
	return false
}
