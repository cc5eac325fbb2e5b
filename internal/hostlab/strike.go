package hostlab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const pidsGroups = "/sys/fs/cgroup/pids"

// RefuseForks lets the program and its children start nothing more, neither processes nor
// threads, until [Lab.LiftForks].
func (l *Lab) RefuseForks() {
	l.T.Helper()
	if l.group == "" {
		group, err := os.MkdirTemp(pidsGroups, "ops-updater-lab-")
		if err != nil {
			lack(l.T, fmt.Sprintf("no control group that counts processes: %v", err))
		}
		l.group = group
		for range 2 { // what was started in between
			for _, pid := range l.family(l.Pid()) {
				_ = os.WriteFile(filepath.Join(group, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o644)
			}
		}
	}
	must(l.T, os.WriteFile(filepath.Join(l.group, "pids.max"), []byte("1"), 0o644))
}

// LiftForks ends [Lab.RefuseForks].
func (l *Lab) LiftForks() {
	if l.group != "" {
		_ = os.WriteFile(filepath.Join(l.group, "pids.max"), []byte("max"), 0o644)
	}
}

func (l *Lab) liftGroup() {
	if l.group == "" {
		return
	}
	l.LiftForks()
	// Groups of control scripts may be below it.
	_ = filepath.WalkDir(l.group, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			data, _ := os.ReadFile(filepath.Join(path, "cgroup.procs"))
			for pid := range strings.FieldsSeq(string(data)) {
				_ = os.WriteFile(filepath.Join(pidsGroups, "cgroup.procs"), []byte(pid), 0o644)
			}
		}
		return nil
	})
	for range 10 {
		below, _ := filepath.Glob(l.group + "/*/")
		for _, dir := range below {
			_ = syscall.Rmdir(dir)
		}
		if syscall.Rmdir(l.group) == nil {
			return
		}
		pause(20 * time.Millisecond)
	}
	l.T.Logf("left behind: %s", l.group)
}

// family are pid and its children.
func (l *Lab) family(pid int) []int {
	pids := []int{pid}
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	must(l.T, err)
	for _, file := range files {
		text, _ := os.ReadFile(file)
		_, rest, _ := strings.Cut(string(text), ") ")
		var state string
		var parent int
		if _, err := fmt.Sscan(rest, &state, &parent); err == nil && parent == pid {
			child, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			pids = append(pids, child)
		}
	}
	return pids
}

// Children of the program.
func (l *Lab) Children() []int { return l.family(l.Pid())[1:] }

// ExhaustFiles lets the process open nothing more, until lift is called.
func (l *Lab) ExhaustFiles(pid int) (lift func()) {
	l.T.Helper()
	var usual unix.Rlimit
	err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &usual)
	if err == nil {
		err = unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: usual.Max}, nil)
	}
	// It has ended meanwhile; or it is another user's, whose limits not every machine
	// lets root change: then the program alone is struck.
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EPERM) && pid != l.Pid() {
		return func() {}
	}
	must(l.T, err)
	return func() { _ = unix.Prlimit(pid, unix.RLIMIT_NOFILE, &usual, nil) }
}

// Reboot takes the host down: every process of it ends at once. The next [Lab.Start] is
// on another boot. What it had written lies an hour in the future then, as after a clock
// that went back, when clockBack is said.
func (l *Lab) Reboot(clockBack bool) {
	l.T.Helper()
	if l.Running() {
		l.Kill()
	}
	l.Await("every process of the host has ended", func() bool {
		pids := l.Processes()
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		return len(pids) == 0
	})
	pids, err := filepath.Glob(l.Path("notes/*.pid")) // as a /run that is empty after a boot
	must(l.T, err)
	for _, file := range pids {
		must(l.T, os.Remove(file))
	}
	l.boots++
	if clockBack {
		l.intoTheFuture(time.Hour)
	}
}

// Boots is how often the host went down.
func (l *Lab) Boots() int { return l.boots }

// bootArgs are what a program is started with so that it sees another boot: a mount
// namespace in which the kernel's name of the boot is a file of ours.
func (l *Lab) bootArgs() []string {
	id := fmt.Sprintf("00000000-0000-4000-8000-%012d", l.boots)
	file := l.Path("ctl/boot-id")
	must(l.T, os.WriteFile(file, []byte(id+"\n"), 0o444))
	return []string{"unshare", "--mount", "--propagation", "slave", "sh", "-c", `mount --bind "$0" /proc/sys/kernel/random/boot_id && exec "$@"`, file}
}

// rfc3339 is a time with its date, as JSON has it.
var rfc3339 = regexp.MustCompile(`"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"`)

// intoTheFuture makes everything that was written later by d. A clock cannot be put
// back for one host of many on a machine; to the program both are the same.
func (l *Lab) intoTheFuture(d time.Duration) {
	l.T.Helper()
	for _, top := range []string{l.Path("var"), l.Path("disk")} {
		err := filepath.WalkDir(top, func(path string, e os.DirEntry, err error) error {
			if err != nil || e.Type()&os.ModeSymlink != 0 {
				return err
			}
			fi, err := e.Info()
			if err != nil {
				return err
			}
			if filepath.Ext(path) == ".json" && fi.Mode().IsRegular() {
				if err := shiftTimes(path, d); err != nil {
					return err
				}
			}
			at := fi.ModTime().Add(d)
			return os.Chtimes(path, at, at)
		})
		must(l.T, err)
	}
}

func shiftTimes(path string, d time.Duration) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	later := rfc3339.ReplaceAllFunc(data, func(text []byte) []byte {
		at, err := time.Parse(`"`+time.RFC3339Nano+`"`, string(text))
		if err != nil || at.Year() < 2000 { // no time at all
			return text
		}
		return []byte(at.Add(d).Format(`"` + time.RFC3339Nano + `"`))
	})
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0) // owner and mode stay
	if err != nil {
		return err
	}
	if _, err := f.Write(later); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}
