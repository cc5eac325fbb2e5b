package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/ops-updater/ops-updater/internal/host/control"
)

// ControlJob is one run of an agent's control script.
type ControlJob struct {
	Version string
	Verb    string
	Timeout time.Duration
	Env     []string // complete; see [control.Environment]
	Tasks   int      // processes and threads that it may have at once; 0: 1024
}

// Control runs the control script of a version in its directory; see [control.Run]. The
// caller has a turn of the queue.
func (d Dir) Control(ctx context.Context, job ControlJob) (control.Outcome, error) {
	call := control.Call{
		Script: d.file(job.Version, scriptName), Directory: d.file(job.Version),
		Verb: job.Verb, Timeout: job.Timeout, Env: job.Env, Tasks: job.Tasks,
	}
	if err := d.CheckRoots(job.Version); err != nil {
		return control.Outcome{}, fmt.Errorf("cannot run %s: %w", call.Script, err)
	}
	if job.Verb == control.VerbStart {
		call.Log = d.openLog()
	}
	if !call.Asks() {
		call.Began = func(pid int) func() {
			d.noteRun(pid, job)
			return d.forgetRun
		}
	}
	return control.Run(ctx, call)
}
