package process

import (
	"fmt"
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

// Birth tells a process from a later one with the same number; "" when there
// is none, or only a zombie.
func Birth(pid int) string {
	fields := statOf(pid)
	if fields == nil {
		return ""
	}
	return fields[19] // start time in ticks since boot
}

// Parent is the process that pid was started by, or 0.
func Parent(pid int) int {
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

// Arguments are those of the process, its name first.
func Arguments(pid int) []string {
	args, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(args), "\x00"), "\x00")
}

// DieWithParent has what is started with attr killed when this process dies.
// The caller must stay on its thread meanwhile.
func DieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }

// StartedAt is when the process began, to the hundredth of a second in which
// Linux counts for user space.
func StartedAt(pid int) time.Time {
	text, err := os.ReadFile("/proc/uptime")
	ticks, err2 := strconv.ParseFloat(Birth(pid), 64)
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

// InDirectory lists the processes whose program, working directory or
// arguments lie in dir. The second result is false where that cannot be known.
func InDirectory(dir string) ([]int, bool) {
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
		if err == nil && pid != os.Getpid() && (belongsTo(pid, dir) || real != dir && belongsTo(pid, real)) {
			pids = append(pids, pid)
		}
	}
	return pids, true
}

// OnTerminal reports whether pid has a controlling terminal: field 7 of
// /proc/PID/stat. Of what cannot be read that is believed.
func OnTerminal(pid int) bool {
	fields := statFields(pid)
	return len(fields) < 5 || fields[4] != "0"
}

// LivesIn reports whether the program or the working directory of pid is in dir.
func LivesIn(pid int, dir string) bool {
	for _, link := range []string{"exe", "cwd"} {
		if at, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), link)); err == nil && Within(at, dir) {
			return true
		}
	}
	return false
}

func belongsTo(pid int, dir string) bool {
	if Birth(pid) == "" {
		return false
	}
	if LivesIn(pid, dir) {
		return true
	}
	return slices.ContainsFunc(Arguments(pid), func(arg string) bool { return Within(arg, dir) })
}
