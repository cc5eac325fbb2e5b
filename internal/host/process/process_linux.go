package process

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ticksPerSecond is in what Linux counts the age of processes for user space,
// on every architecture that the sidecar is built for.
const ticksPerSecond = 100

// maxProcFile bounds what is read of one file in /proc.
const maxProcFile = 64 << 10

// Look reads what the system says about the process with the number pid. The
// second result is false when there is none, or only a zombie.
func Look(pid int) (Process, bool) {
	stat := bytes.Fields(fieldsAfterName(ReadFile(pid, "stat")))
	if pid <= 0 || len(stat) < 20 {
		hidden := errors.Is(syscall.Kill(pid, 0), syscall.EPERM) && len(stat) == 0 // hidepid
		return Process{Pid: pid, UID: -1}, hidden && pid > 0
	}
	if stat[0][0] == 'Z' || stat[0][0] == 'X' {
		return Process{Pid: pid, UID: -1, Name: strings.TrimSpace(string(ReadFile(pid, "comm"))), Ended: true}, false
	}
	number := func(field []byte) int { n, _ := strconv.Atoi(string(field)); return n }
	p := Process{
		Pid: pid, Parent: number(stat[1]), Group: number(stat[2]), Session: number(stat[3]), Birth: string(stat[19]),
		UID: -1, Cgroup: cgroupOf(pid), Name: strings.TrimSpace(string(ReadFile(pid, "comm"))),
	}
	for line := range strings.Lines(string(ReadFile(pid, "status"))) {
		words := strings.Fields(line)
		switch {
		case len(words) > 1 && words[0] == "Uid:":
			p.UID, _ = strconv.Atoi(words[1])
		case len(words) > 1 && words[0] == "Tgid:":
			p.ThreadOf, _ = strconv.Atoi(words[1])
		}
	}
	if p.ThreadOf == pid {
		p.ThreadOf = 0
	}
	p.Program, _ = os.Readlink(File(pid, "exe"))
	p.Directory, _ = os.Readlink(File(pid, "cwd"))
	if args := strings.TrimSuffix(string(ReadFile(pid, "cmdline")), "\x00"); args != "" {
		p.Arguments = strings.Split(args, "\x00")
	}
	p.Kernel = p.Arguments == nil && (p.Parent == 2 || pid == 2)
	return p, true
}

// File is the path of a file in /proc about the process.
func File(pid int, name string) string {
	return filepath.Join("/proc", strconv.Itoa(pid), name)
}

// ReadFile is the beginning of such a file; nothing where it cannot be read.
func ReadFile(pid int, name string) []byte {
	f, err := os.Open(File(pid, name))
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	buf := make([]byte, maxProcFile)
	n := 0
	for n < len(buf) {
		more, err := f.Read(buf[n:])
		if n += more; err != nil || more == 0 {
			break
		}
	}
	return buf[:n]
}

// fieldsAfterName is what follows the name in a stat file, which may hold anything.
func fieldsAfterName(stat []byte) []byte {
	return stat[bytes.LastIndexByte(stat, ')')+1:]
}

// cgroupOf is the process's group of the unified hierarchy or, on a host
// without it, of systemd's.
func cgroupOf(pid int) string {
	var named string
	for line := range strings.Lines(string(ReadFile(pid, "cgroup"))) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		switch {
		case len(parts) == 3 && parts[0] == "0" && parts[2] != "/":
			return parts[2]
		case len(parts) == 3 && parts[1] == "name=systemd":
			named = parts[2]
		}
	}
	return named
}

// All lists the numbers of all processes.
func All() []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var pids []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Boot tells one boot of the host from another.
func Boot() string {
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(id))
}

// TickNow is the birth that a process has which begins now.
func TickNow() int64 { return int64(uptimeSeconds() * ticksPerSecond) }

func uptimeSeconds() float64 {
	text, _ := os.ReadFile("/proc/uptime")
	up, _, _ := strings.Cut(string(text), " ")
	seconds, _ := strconv.ParseFloat(up, 64)
	return seconds
}

// BornAt is when p began by the clock as it is now.
func (p Process) BornAt(now time.Time) time.Time {
	age := uptimeSeconds() - float64(p.bornAtTick())/ticksPerSecond
	return now.Add(-time.Duration(age * float64(time.Second)))
}

// AwaitExit waits for the end of the process without reaping it.
func AwaitExit(cmd *exec.Cmd) {
	for errors.Is(unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil), unix.EINTR) {
	}
}

// Signal signals exactly p, and nothing that has its number by now: a
// descriptor keeps pointing at the process for which its birth was compared.
func Signal(p Process, signal syscall.Signal) bool {
	fd, err := unix.PidfdOpen(p.Pid, 0)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) { // before Linux 5.3, or forbidden
		return p.IsStill() && syscall.Kill(p.Pid, signal) == nil
	}
	if err != nil {
		return false
	}
	defer func() { _ = unix.Close(fd) }()
	return p.IsStill() && unix.PidfdSendSignal(fd, signal, nil, 0) == nil
}

// Threads is how many threads the process has.
func Threads(pid int) int {
	fields := strings.Fields(string(fieldsAfterName(ReadFile(pid, "stat"))))
	if len(fields) < 18 {
		return 0
	}
	n, _ := strconv.Atoi(fields[17])
	return n
}
