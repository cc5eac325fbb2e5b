package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// birth tells a process from a later one with the same number; "" when there
// is none, or only a zombie.
func birth(pid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	_, rest, ok := strings.Cut(string(stat), ") ") // the name before it may hold anything
	fields := strings.Fields(rest)
	if !ok || len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
		return ""
	}
	return fields[19] // start time in ticks since boot
}

// processesOf lists the processes whose program, working directory or
// arguments lie in dir. The second result is false where that cannot be known.
func processesOf(dir string) ([]int, bool) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, false
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err == nil && pid != os.Getpid() && belongs(pid, dir) {
			pids = append(pids, pid)
		}
	}
	return pids, true
}

func belongs(pid int, dir string) bool {
	if birth(pid) == "" {
		return false
	}
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	for _, link := range []string{"exe", "cwd"} {
		if at, err := os.Readlink(filepath.Join(proc, link)); err == nil && within(at, dir) {
			return true
		}
	}
	args, err := os.ReadFile(filepath.Join(proc, "cmdline"))
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

func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, dir+"/")
}
