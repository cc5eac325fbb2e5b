package agent

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/ops-updater/ops-updater/internal/host/process"
	"github.com/ops-updater/ops-updater/updater/job"
)

// evictPatience is how long an agent may take to end after SIGTERM when its
// control script cannot be asked.
const evictPatience = 10 * time.Second

// Evict ends this user's processes that were started from the directory,
// without running or reading anything there: others can change it by now. A
// process on a terminal is a person who looks around, and not ended.
func (d Dir) Evict(ctx context.Context) (job.Stopped, error) {
	s := job.Stopped{Why: "its control script in " + d.Path + " is not to be trusted any more"}
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		victims, known := d.leftBehind()
		if !known {
			return s, fmt.Errorf("cannot stop %s: which processes are in %s cannot be known on this system; end them, then say ops-updater clear %s", d.Name, d.Path, d.Name)
		}
		for _, p := range process.LookAtAll(victims) {
			if process.Signal(p, signal) && !slices.Contains(s.Killed, p.Pid) {
				s.Killed = append(s.Killed, p.Pid)
			}
		}
		gone := func() bool { left, _ := d.leftBehind(); return len(left) == 0 || ctx.Err() != nil }
		if process.PollUntil(evictPatience, gone) {
			return s, ctx.Err()
		}
	}
	left, _ := d.leftBehind()
	return s, fmt.Errorf("cannot stop %s: processes %s do not end", d.Name, strings.Trim(fmt.Sprint(left), "[]"))
}
