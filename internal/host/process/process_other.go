//go:build !linux

package process

import (
	"context"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// psPatience bounds the system's own program.
const psPatience = 5 * time.Second

// psColumns are what is asked of ps: the start takes five words.
const psColumns = "pid=,ppid=,pgid=,uid=,lstart=,command="

// Look asks ps about the process with the number pid.
func Look(pid int) (Process, bool) {
	all := askPs("-p", strconv.Itoa(pid))
	if len(all) != 1 || all[0].Pid != pid {
		return Process{}, false
	}
	return all[0], true
}

func askPs(which ...string) []Process {
	ctx, cancel := context.WithTimeout(context.Background(), psPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/ps", append(which, "-ww", "-o", psColumns)...)
	cmd.Env = []string{"LC_ALL=C"}
	out, err := cmd.Output()
	if err != nil {
		return nil
	}
	var all []Process
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		if len(words) < 10 {
			continue
		}
		number := func(i int) int { n, _ := strconv.Atoi(words[i]); return n }
		all = append(all, Process{
			Pid: number(0), Parent: number(1), Group: number(2), UID: number(3),
			Birth: strings.Join(words[4:9], " "), Program: words[9], Arguments: words[9:], Name: words[9],
		})
	}
	return all
}

// All lists the numbers of all processes.
func All() []int {
	var pids []int
	for _, p := range askPs("-ax") {
		pids = append(pids, p.Pid)
	}
	return pids
}

// cgroupOf: there are none here.
func cgroupOf(int) string { return "" }

// Boot: a birth is a date here, which tells boots apart as well.
func Boot() string { return "-" }

// TickNow is the birth that a process has which begins now.
func TickNow() int64 { return time.Now().Unix() }

// BornAt is when p began by the clock as it is now.
func (p Process) BornAt(now time.Time) time.Time {
	at, err := time.ParseInLocation("Mon Jan 2 15:04:05 2006", p.Birth, time.Local)
	if err != nil {
		return now
	}
	return at
}

// AwaitExit waits for the end of the process; here it is reaped as well.
func AwaitExit(cmd *exec.Cmd) { _ = cmd.Wait() }

// Signal signals p, unless another has its number by now.
func Signal(p Process, signal syscall.Signal) bool {
	return p.IsStill() && syscall.Kill(p.Pid, signal) == nil
}
