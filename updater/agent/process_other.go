//go:build !linux

package agent

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

// lookAt asks ps about the process with the number pid.
func lookAt(pid int) (process, bool) {
	all := ps("-p", strconv.Itoa(pid))
	if len(all) != 1 || all[0].Pid != pid {
		return process{}, false
	}
	return all[0], true
}

func ps(which ...string) []process {
	ctx, cancel := context.WithTimeout(context.Background(), psPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/ps", append(which, "-ww", "-o", psColumns)...)
	cmd.Env = []string{"LC_ALL=C"}
	out, err := cmd.Output()
	if err != nil {
		return nil
	}
	var all []process
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		if len(words) < 10 {
			continue
		}
		number := func(i int) int { n, _ := strconv.Atoi(words[i]); return n }
		all = append(all, process{
			Pid: number(0), Parent: number(1), Group: number(2), UID: number(3),
			Birth: strings.Join(words[4:9], " "), Program: words[9], Arguments: words[9:], Name: words[9],
		})
	}
	return all
}

func everyProcess() []int {
	var pids []int
	for _, p := range ps("-ax") {
		pids = append(pids, p.Pid)
	}
	return pids
}

// cgroupOf: there are none here.
func cgroupOf(int) string { return "" }

// thisBoot: a birth is a date here, which tells boots apart as well.
func thisBoot() string { return "-" }

func ticksNow() int64 { return time.Now().Unix() }

func (p process) bornAt(now time.Time) time.Time {
	at, err := time.ParseInLocation("Mon Jan 2 15:04:05 2006", p.Birth, time.Local)
	if err != nil {
		return now
	}
	return at
}

// awaitExit waits for the end of the process; here it is reaped as well.
func awaitExit(cmd *exec.Cmd) { _ = cmd.Wait() }

func signalProcess(p process, signal syscall.Signal) bool {
	return p.isStill() && syscall.Kill(p.Pid, signal) == nil
}
