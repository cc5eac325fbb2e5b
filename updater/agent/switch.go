package agent

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"
)

// killPatience is how long a killed agent may take to be gone.
const killPatience = 5 * time.Second

// Stopped is what it took to stop an agent.
type Stopped struct {
	Killed []int  `json:"killed,omitempty"` // processes whose groups had to be killed
	Why    string `json:"why,omitempty"`    // they had to be, or how else it did not go by the book
}

// String says what did not go by the book, or nothing.
func (s Stopped) String() string {
	if s.Why == "" {
		return ""
	}
	force := "no process of it was left to kill"
	if len(s.Killed) > 0 {
		force = "killed " + strings.Trim(fmt.Sprint(s.Killed), "[]")
	}
	return "stopping did not go by the book, " + force + ": " + s.Why
}

// Stop stops version and makes sure that no other version in the directory
// runs. It returns once status says stoped. When that does not happen in time,
// the process group of `control pid` is killed. An error means that something
// may still run: nothing else may be started then.
func (r Runner) Stop(ctx context.Context, version string) (Stopped, error) {
	var s Stopped
	others, err := r.Dir.Versions()
	if err != nil {
		return s, err
	}
	others = slices.DeleteFunc(others, func(v string) bool {
		return v == version || !r.Status(ctx, v).Started()
	})
	if r.Dir.Complete(version) {
		if err := r.stopOne(ctx, version, &s); err != nil {
			return s, err
		}
	}
	for _, v := range others {
		if err := r.stopOne(ctx, v, &s); err != nil {
			return s, err
		}
	}
	return s, nil
}

func (r Runner) stopOne(ctx context.Context, version string, s *Stopped) error {
	before := r.Status(ctx, version)
	if before.Stopped() {
		return nil
	}
	pid := r.Pid(ctx, version) // afterwards the script may have forgotten it
	deadline := time.Now().Add(r.Timeouts.Stop)
	o, err := r.run(ctx, version, VerbStop, r.Timeouts.Stop)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	last := before
	stopped := func() bool { last = r.Status(ctx, version); return last.Stopped() || ctx.Err() != nil }
	patience := time.Until(deadline)
	if err != nil || o.TimedOut || o.ExitCode != 0 {
		patience = min(patience, killPatience) // it has said that it will not
	}
	if pollUntil(patience, stopped) {
		return ctx.Err()
	}
	return r.kill(version, pid, s, stopFailure(o, err, &last), func() Status { stopped(); return last })
}

func stopFailure(o Outcome, err error, last *Status) string {
	why := "status is " + last.String() + " after control stop"
	switch {
	case err != nil:
		why = err.Error()
	case o.TimedOut || o.ExitCode != 0:
		why = o.explain("control stop")
	}
	return why
}

// kill ends what stop did not: the process group of pid, and where the script
// names none, the processes that lie in the version directory.
func (r Runner) kill(version string, pid int, s *Stopped, why string, ask func() Status) error {
	s.Why = strings.TrimPrefix(s.Why+"; "+version+": "+why, "; ")
	victims, known := []int{pid}, true
	if pid == 0 {
		victims, known = processesOf(r.Dir.file(version))
	}
	for _, v := range victims {
		if killGroup(v) {
			s.Killed = append(s.Killed, v)
		}
	}
	var last Status
	gone := func() bool {
		last = ask()
		// A broken script cannot say stoped; then it counts that no process is left.
		return last.Stopped() || !last.Started() && known && !r.anyLeft(version, victims)
	}
	if !pollUntil(killPatience, gone) {
		return fmt.Errorf("cannot stop %s %s, its status is %s: %s", r.Dir.Name, version, last, why)
	}
	return nil
}

func (r Runner) anyLeft(version string, victims []int) bool {
	left, known := processesOf(r.Dir.file(version))
	if !known || len(left) > 0 {
		return true
	}
	return slices.ContainsFunc(victims, func(pid int) bool { return birth(pid) != "" })
}

// killGroup kills the process group of pid, or only pid when the group is our
// own.
func killGroup(pid int) bool {
	pgid, err := syscall.Getpgid(pid)
	if err != nil {
		return false
	}
	own, err := syscall.Getpgid(0)
	if err != nil || pgid <= 1 || pgid == own {
		return syscall.Kill(pid, syscall.SIGKILL) == nil
	}
	return syscall.Kill(-pgid, syscall.SIGKILL) == nil
}

// Start starts version, unless it runs already, and returns once status says
// started. The error says what the script printed last.
func (r Runner) Start(ctx context.Context, version string) error {
	if r.Status(ctx, version).Started() {
		return nil
	}
	deadline := time.Now().Add(r.Timeouts.Start)
	o, err := r.run(ctx, version, VerbStart, r.Timeouts.Start)
	if err != nil {
		return err
	}
	var last Status
	started := func() bool { last = r.Status(ctx, version); return last.Started() || ctx.Err() != nil }
	patience := time.Until(deadline)
	if o.TimedOut || o.ExitCode != 0 {
		patience = 0 // it has said that it failed; only status may say otherwise
	}
	if pollUntil(patience, started) {
		return ctx.Err()
	}
	if o.TimedOut || o.ExitCode != 0 {
		return fmt.Errorf("cannot start %s %s: %s", r.Dir.Name, version, o.explain("control start"))
	}
	said := r.Dir.saidSince(o.Offset)
	if said != "" {
		said = "; it said: " + said
	}
	return fmt.Errorf("cannot start %s %s: status is %s%s, %v after control start%s", r.Dir.Name, version, last, last.wordHint(), r.Timeouts.Start, said)
}
