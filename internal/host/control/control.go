// Package control runs control scripts, within bounds: how long, how many
// processes, how much output. It knows beforehand whether a script can be run
// and which verbs it has, and reads what it answers. Where a program lies, and
// in which turn its script is run, is its caller's business.
package control

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

// Failed reports whether the script did not end well.
func (o Outcome) Failed() bool { return o.TimedOut || o.ExitCode != 0 || o.Crowded != "" }

// LastLine is the last line that says something.
func (o Outcome) LastLine() string { return lastLines(o.Tail, 1) }

// Explain says how the run called what failed.
func (o Outcome) Explain(what string) string {
	said := lastSaid(o.Head, o.Tail)
	if said != "" {
		said = ": " + said
	}
	switch {
	case o.Crowded != "":
		return what + " was ended: " + o.Crowded + said
	case o.TimedOut:
		return fmt.Sprintf("%s did not return within %s and was killed%s", what, Roundly(o.Limit), said)
	case o.ExitCode < 0:
		return what + " was killed" + said
	}
	return fmt.Sprintf("%s ended with exit code %d%s", what, o.ExitCode, said)
}

// Call is one run of a control script.
type Call struct {
	Script    string // its path
	Directory string // in which it runs
	Verb      string
	Args      []string // after the verb
	Timeout   time.Duration
	Env       []string // complete; see [Environment]
	Tasks     int      // processes and threads that it may have at once; 0: 1024
	Log       *os.File // of start: what a daemon is started with as its output, and may keep; closed by [Run]

	// Began, unless nil, is told of the script as soon as it runs; what it
	// returns is called when the script has ended.
	Began func(pid int) (ended func())
}

// Asks reports whether the verb changes nothing about the program.
func (c Call) Asks() bool { return c.Verb != VerbStart && c.Verb != VerbStop }

// Run runs a control script: by path and argument list, with the given
// environment only, input from /dev/null, in a process group of its own. A
// timeout or the end of ctx kills that group and only that group, so that a
// program that daemonised properly lives on; so does, of a script that only
// answers a question, the end of this process. The error says why the script
// could not be run at all.
func Run(ctx context.Context, c Call) (Outcome, error) {
	out, err := openOutputs(c)
	if err != nil {
		return Outcome{}, fmt.Errorf("cannot run %s %s: %w", c.Script, c.Verb, err)
	}
	cmd := exec.Command(c.Script, append([]string{c.Verb}, c.Args...)...) //nolint:noctx // the end of ctx must kill the group, not only the script
	cmd.Dir, cmd.Env = c.Directory, c.Env
	cmd.Stdout, cmd.Stderr = out.stdout, out.stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if c.Asks() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		process.DieWithParent(cmd.SysProcAttr)
	}
	began := time.Now()
	bound := newFence(cmp.Or(c.Tasks, maxTasks), c.Verb)
	if err := bound.startCommand(cmd); err != nil {
		out.finishReading()
		return Outcome{}, explainStart(c.Script, c.Env, err)
	}
	ended := func() {}
	if c.Began != nil {
		ended = c.Began(cmd.Process.Pid)
	}
	faultpoint.Hit("control." + c.Verb)
	timedOut, cause := waitForScript(ctx, cmd, c.Timeout)
	ended()
	o := Outcome{Offset: out.offset, ExitCode: cmd.ProcessState.ExitCode(), TimedOut: timedOut, Took: time.Since(began), Limit: c.Timeout}
	o.Crowded = bound.letOut(o.Failed(), timedOut || cause != nil)
	o.Head, o.Tail = out.finishReading()
	return o, cause
}

// waitForScript waits for the script itself, not for what it left running. Until the
// script is reaped at the end, its number and its group's are nobody else's.
func waitForScript(ctx context.Context, cmd *exec.Cmd, timeout time.Duration) (timedOut bool, err error) {
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

// outputs is where a script's output goes while it runs.
type outputs struct {
	stdout, stderr *os.File
	pipes          []*pipe
	log            *os.File
	offset         int64
	heard          *capture // standard output; with a log, both
	all            *capture // with pipes, standard error after it
}

// openOutputs: what starts a daemon writes to the log, which the daemon may
// keep; the other verbs write into pipes.
func openOutputs(c Call) (*outputs, error) {
	o := &outputs{heard: &capture{}, all: &capture{}}
	if c.Log != nil {
		o.log = c.Log
		o.offset = sizeOf(o.log)
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
		stdout.finishReading()
		return nil, err
	}
	o.pipes, o.stderr = append(o.pipes, stderr), stderr.w
	return o, nil
}

func (o *outputs) finishReading() (head, tail string) {
	for _, p := range o.pipes {
		p.finishReading()
	}
	if o.log != nil {
		addedSince(o.log, o.offset, o.heard)
		_ = o.log.Close()
	}
	head, end := o.heard.headAndTail()
	_, errs := o.all.headAndTail()
	if errs != "" && end != "" {
		return head, end + "\n" + errs
	}
	return head, end + errs
}
