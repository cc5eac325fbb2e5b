package agent

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"github.com/ops-updater/ops-updater/internal/faultpoint"
	"github.com/ops-updater/ops-updater/internal/host/process"
)

// Verbs of a control script. Every agent has the first three.
const (
	VerbStart  = "start"
	VerbStop   = "stop"
	VerbStatus = "status"
	VerbPid    = "pid"
	VerbHealth = "health"
)

// ControlJob is one run of an agent's control script.
type ControlJob struct {
	Version string
	Verb    string
	Timeout time.Duration
	Env     []string // complete; see [Environment]
	Tasks   int      // processes and threads that it may have at once; 0: 1024
}

// asks: the run changes nothing about the agent.
func (j ControlJob) asks() bool { return j.Verb != VerbStart && j.Verb != VerbStop }

// Outcome is how a control script ended and what it printed.
type Outcome struct {
	ExitCode int
	Head     string // the beginning of standard output
	Tail     string // the end of all output
	TimedOut bool   // and was killed with its process group
	Took     time.Duration
	Limit    time.Duration // the timeout it had
	Crowded  string        // it forked without end, and was killed with all that it started
	Offset   int64         // in .control.out where it began to write, of start
}

func (o Outcome) failed() bool { return o.TimedOut || o.ExitCode != 0 || o.Crowded != "" }

// LastLine is the last line that says something.
func (o Outcome) LastLine() string { return lastLines(o.Tail, 1) }

// explain says how the run called what failed.
func (o Outcome) explain(what string) string {
	said := lastSaid(o.Head, o.Tail)
	if said != "" {
		said = ": " + said
	}
	switch {
	case o.Crowded != "":
		return what + " was ended: " + o.Crowded + said
	case o.TimedOut:
		return fmt.Sprintf("%s did not return within %s and was killed%s", what, roundly(o.Limit), said)
	case o.ExitCode < 0:
		return what + " was killed" + said
	}
	return fmt.Sprintf("%s ended with exit code %d%s", what, o.ExitCode, said)
}

// Control runs the control script of a version: by path and argument list, in
// the version directory, with the given environment only, input from
// /dev/null, in a process group of its own. A timeout or the end of ctx kills
// that group and only that group, so that an agent that daemonised properly
// lives on; so does, of a script that only answers a question, the end of this
// process. The caller has a turn of the queue. The error says why the script
// could not be run at all.
func (d Dir) Control(ctx context.Context, job ControlJob) (Outcome, error) {
	script := d.file(job.Version, control)
	if err := d.CheckRoots(job.Version); err != nil {
		return Outcome{}, fmt.Errorf("cannot run %s: %w", script, err)
	}
	out, err := d.openOutput(job.Verb)
	if err != nil {
		return Outcome{}, fmt.Errorf("cannot run %s %s: %w", script, job.Verb, err)
	}
	cmd := exec.Command(script, job.Verb) //nolint:noctx // the end of ctx must kill the group, not only the script
	cmd.Dir = d.file(job.Version)
	cmd.Env = job.Env
	cmd.Stdout, cmd.Stderr = out.stdout, out.stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if job.asks() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		process.DieWithParent(cmd.SysProcAttr)
	}
	began := time.Now()
	bound := newFence(cmp.Or(job.Tasks, maxTasks), job.Verb)
	if err := bound.start(cmd); err != nil {
		out.finish()
		return Outcome{}, d.explainStart(job.Version, job.Env, err)
	}
	d.noteRun(cmd.Process.Pid, job)
	faultpoint.Hit("control." + job.Verb)
	timedOut, cause := d.wait(ctx, cmd, job.Timeout)
	if !job.asks() {
		d.forgetRun()
	}
	o := Outcome{Offset: out.offset, ExitCode: cmd.ProcessState.ExitCode(), TimedOut: timedOut, Took: time.Since(began), Limit: job.Timeout}
	o.Crowded = bound.open(o.failed(), timedOut || cause != nil)
	o.Head, o.Tail = out.finish()
	return o, cause
}

// wait waits for the script itself, not for what it left running. Until the
// script is reaped at the end, its number and its group's are nobody else's.
func (d Dir) wait(ctx context.Context, cmd *exec.Cmd, timeout time.Duration) (timedOut bool, err error) {
	ended := make(chan struct{})
	go func() {
		process.AwaitExit(cmd)
		close(ended)
	}()
	defer func() { _ = cmd.Wait() }() // what matters is in ProcessState
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-ended:
		return false, nil
	case <-timer.C:
		timedOut = true
	case <-ctx.Done():
		err = ctx.Err()
	}
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	<-ended
	return timedOut, err
}

// output is where a script's output goes while it runs.
type output struct {
	stdout, stderr *os.File
	pipes          []*pipe
	log            *os.File
	offset         int64
	heard          *capture // standard output
	all            *capture
}

// openOutput: what starts a daemon writes to .control.out, which the daemon
// may keep; the other verbs write into pipes.
func (d Dir) openOutput(verb string) (*output, error) {
	o := &output{heard: &capture{}, all: &capture{}}
	if verb == VerbStart {
		o.log = d.openLog()
		o.offset = size(o.log)
		o.stdout, o.stderr = o.log, o.log
		return o, nil
	}
	stdout, err := newPipe(o.heard)
	if err != nil {
		return nil, err
	}
	o.pipes, o.stdout = append(o.pipes, stdout), stdout.w
	stderr, err := newPipe(o.all)
	if err != nil {
		stdout.finish()
		return nil, err
	}
	o.pipes, o.stderr = append(o.pipes, stderr), stderr.w
	return o, nil
}

func (o *output) finish() (head, tail string) {
	for _, p := range o.pipes {
		p.finish()
	}
	if o.log != nil {
		addedSince(o.log, o.offset, o.heard)
		_ = o.log.Close()
	}
	head, end := o.heard.strings()
	_, errs := o.all.strings()
	if errs != "" && end != "" {
		return head, end + "\n" + errs
	}
	return head, end + errs
}
