package agent

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// While a control script runs, .control.run says which process it is. When the
// child that waits for it is killed, the script lives on, and would start or
// stop the agent behind the back of whoever comes next: the next child ends it
// before it runs another one.

// orphanPatience bounds the wait for a killed script to be gone.
const orphanPatience = 5 * time.Second

func (d Dir) noteRun(pid int) {
	// Best effort: on a full disk the agent must still be started and stopped.
	_ = os.WriteFile(d.file(runFile), fmt.Appendf(nil, "%d %s\n", pid, birth(pid)), 0o644)
}

func (d Dir) forgetRun() { _ = os.Remove(d.file(runFile)) }

// endOldRun kills the process group of a control script that a killed child
// left running.
func (d Dir) endOldRun() error {
	line, err := os.ReadFile(d.file(runFile))
	if err != nil {
		return nil //nolint:nilerr // none was left, or nothing can be known about it
	}
	defer d.forgetRun()
	words := strings.Fields(string(line))
	if len(words) != 2 {
		return nil
	}
	pid, err := strconv.Atoi(words[0])
	if err != nil || pid <= 1 || birth(pid) != words[1] {
		return nil //nolint:nilerr // a number of something else
	}
	_ = syscall.Kill(-pid, syscall.SIGKILL)
	gone := func() bool { return birth(pid) != words[1] }
	if !pollUntil(orphanPatience, gone) {
		return fmt.Errorf("cannot end control script %d of %s, which an earlier run left", pid, d.Name)
	}
	return nil
}
