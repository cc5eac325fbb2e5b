package agent

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/ops-updater/ops-updater/internal/host/control"
	"github.com/ops-updater/ops-updater/internal/host/process"
	"github.com/ops-updater/ops-updater/internal/host/status"
	"github.com/ops-updater/ops-updater/updater/job"
)

// killPatience is how long a killed agent may take to be gone.
const killPatience = 5 * time.Second

// spareStranger notes a stranger that is not touched.
func spareStranger(s *job.Stopped, version string, n named) {
	s.Spared = strings.TrimPrefix(s.Spared+"; "+version+" had stopped, and nothing was done to the process that its pid file is about: "+n.String(), "; ")
}

// Stop stops version and makes sure that no other version in the directory
// runs. It returns once status says stoped. When that does not happen in time,
// the process group of `control pid` is killed. An error means that something
// may still run: nothing else may be started then.
func (r Runner) Stop(ctx context.Context, version string) (job.Stopped, error) {
	var s job.Stopped
	r, done, err := r.takeTurn(ctx, r.Timeouts.Stop)
	if err != nil {
		return s, fmt.Errorf("cannot stop %s %s: %w", r.Dir.Name, version, err)
	}
	defer done()
	r.Timeouts.Status = r.Timeouts.StatusWithin(r.Timeouts.Stop)
	if err := control.CheckReach(r.Dir.file(version, scriptName)); err != nil {
		return s, err
	}
	others, err := r.Dir.Versions()
	if err != nil {
		return s, err
	}
	others = slices.DeleteFunc(others, func(v string) bool {
		// What was noted at its start runs on, whatever a control script says that gets no
		// processor, or that has lost its pid file.
		return v == version || !r.Status(ctx, v).Started() && !r.Dir.notedProcess(v).runsOn()
	})
	if r.Dir.Complete(version) {
		if err := r.stopVersion(ctx, version, &s); err != nil {
			return s, err
		}
	}
	for _, v := range others {
		if err := r.stopVersion(ctx, v, &s); err != nil {
			return s, err
		}
	}
	r.Known = append(append(others, version), r.Known...)
	return s, r.endDeleted(ctx, &s)
}

// endDeleted ends what runs on of version directories that somebody removed: no
// control script knows of it any more.
func (r Runner) endDeleted(ctx context.Context, s *job.Stopped) error {
	_, victims := r.findDisplaced()
	if len(victims) == 0 {
		return nil
	}
	s.Why = strings.TrimPrefix(s.Why+"; the directory of what ran was removed", "; ")
	killed, gone := endProcesses(ctx, victims)
	s.Killed = append(s.Killed, killed...)
	if !gone {
		return fmt.Errorf("cannot stop %s: %s does not end", r.Dir.Name, victims[0])
	}
	return ctx.Err()
}

// endProcesses asks the victims to end, and kills those that do not.
func endProcesses(ctx context.Context, victims []process.Process) (killed []int, gone bool) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		for _, p := range victims {
			if process.Signal(p, signal) && !slices.Contains(killed, p.Pid) {
				killed = append(killed, p.Pid)
			}
		}
		if process.PollUntil(killPatience, func() bool { return !slices.ContainsFunc(victims, process.Process.IsStill) || ctx.Err() != nil }) {
			return killed, true
		}
	}
	return killed, false
}

func (r Runner) stopVersion(ctx context.Context, version string, s *job.Stopped) error {
	before, n := r.statusAndProcess(ctx, version)
	if before.Stopped() {
		if n.isStranger() {
			spareStranger(s, version, n)
		}
		return r.endForgotten(ctx, version, s)
	}
	if !before.Started() {
		n = r.namedProcess(ctx, version) // afterwards the script may have forgotten it
	}
	if n.pid == 0 {
		n = r.Dir.notedProcess(version)
	}
	last := before
	stopped := func() bool {
		last = r.Status(ctx, version)
		return last.Stopped() && !n.runsOn() || ctx.Err() != nil
	}
	ask := func() status.Status { stopped(); return last }
	if n.isStranger() { // a script that believes its pid file would kill it
		spareStranger(s, version, n)
		return r.killVersion(version, n, s, "control stop was not run, because "+n.String(), ask)
	}
	deadline := time.Now().Add(r.Timeouts.Stop)
	o, err := r.runVerb(ctx, version, control.VerbStop, r.Timeouts.Stop)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	patience := time.Until(deadline)
	if err != nil || o.Failed() {
		patience = min(patience, killPatience) // it has said that it will not
	}
	if process.PollUntil(patience, stopped) {
		return ctx.Err()
	}
	return r.killVersion(version, n, s, stopFailure(o, err, &last, n), ask)
}

// endForgotten makes sure that the process noted at the start of version has ended,
// of which its control script, which says stoped, may know nothing any more.
func (r Runner) endForgotten(ctx context.Context, version string, s *job.Stopped) error {
	n := r.Dir.notedProcess(version)
	if process.PollUntil(r.Timeouts.Stop, func() bool { return !n.runsOn() || ctx.Err() != nil }) {
		return ctx.Err()
	}
	ask := func() status.Status { return r.Status(ctx, version) }
	return r.killVersion(version, n, s, "status is stoped, but "+n.process.String()+" runs on", ask)
}

func stopFailure(o control.Outcome, err error, last *status.Status, n named) string {
	why := "status is " + last.String() + " after control stop"
	if last.Stopped() && n.runsOn() {
		why += ", but " + n.process.String() + " runs on"
	}
	switch {
	case err != nil:
		why = err.Error()
	case o.Failed():
		why = o.Explain("control stop")
	}
	return why
}

// killVersion ends what stop did not: the process that the script named, with its
// group, and where it named none of the agent's, the processes that lie in the
// version directory. Nothing else is ever killed.
func (r Runner) killVersion(version string, n named, s *job.Stopped, why string, ask func() status.Status) error {
	if n.pid != 0 && n.kin == process.Undecided {
		why += "; " + n.String() + " and was not killed"
	}
	s.Why = strings.TrimPrefix(s.Why+"; "+version+": "+why, "; ")
	victims, known := []int{n.pid}, true
	if n.isAgents() {
		s.Killed = append(s.Killed, r.Dir.witness(version).KillWithGroup(n.process)...)
	} else {
		victims, known = process.InDirectory(r.Dir.file(version))
		s.Killed = append(s.Killed, process.KillAll(process.LookAtAll(victims))...)
	}
	var last status.Status
	gone := func() bool {
		last = ask()
		// A broken script cannot say stoped; then it counts that no process is left.
		return last.Stopped() && !n.runsOn() || !last.Started() && known && !r.anyLeft(version, victims)
	}
	if !process.PollUntil(killPatience, gone) {
		return fmt.Errorf("cannot stop %s %s, its status is %s: %s", r.Dir.Name, version, last, why)
	}
	return nil
}

func (r Runner) anyLeft(version string, victims []int) bool {
	left, known := process.InDirectory(r.Dir.file(version))
	if !known || len(left) > 0 {
		return true
	}
	return slices.ContainsFunc(victims, func(pid int) bool { return pid != 0 && process.Birth(pid) != "" })
}

// Start starts version, unless it runs already, and returns once status says
// started. The error says what the script printed last.
func (r Runner) Start(ctx context.Context, version string) error {
	r, done, err := r.takeTurn(ctx, r.Timeouts.Start)
	if err != nil {
		return fmt.Errorf("cannot start %s %s: %w", r.Dir.Name, version, err)
	}
	defer done()
	r.Timeouts.Status = r.Timeouts.StatusWithin(r.Timeouts.Start)
	last, n := r.statusAndProcess(ctx, version)
	if last.Started() {
		return nil
	}
	if n.isStranger() {
		r.Dir.setAsidePidFiles(version, n.process)
	}
	r.Dir.noteBeginning(version)
	began := process.TickNow()
	deadline := time.Now().Add(r.Timeouts.Start)
	o, err := r.runVerb(ctx, version, control.VerbStart, r.Timeouts.Start)
	if err != nil {
		return err
	}
	started := func() bool { last, n = r.statusAndProcess(ctx, version); return last.Started() || ctx.Err() != nil }
	patience := time.Until(deadline)
	if o.Failed() {
		patience = 0 // it has said that it failed; only status may say otherwise
	}
	if process.PollUntil(patience, started) {
		r.Dir.noteStarted(version, cmp.Or(n.pid, r.onlyPidFile(version)))
		return ctx.Err()
	}
	err = r.startFailure(version, o, last, n)
	if last.Stopped() {
		err = r.endDenied(ctx, version, began, err)
	}
	return err
}

// endDenied ends what a start that failed brought up all the same: its control
// script says that nothing runs, and would stop none of it. It is said with err,
// the failure.
func (r Runner) endDenied(ctx context.Context, version string, began int64, err error) error {
	killed, gone := endProcesses(ctx, r.Dir.bornSince(version, began))
	if len(killed) == 0 {
		return err
	}
	said := "ended the processes that it had brought up although its status is stoped"
	if !gone {
		said = "processes that it had brought up do not end"
	}
	return fmt.Errorf("%w; %s: %s", err, said, strings.Trim(fmt.Sprint(killed), "[]"))
}

// bornSince lists this user's processes in the directory of version that began at
// the tick or later. A process on a terminal is a person who looks around.
func (d Dir) bornSince(version string, tick int64) []process.Process {
	pids, _ := process.InDirectory(d.file(version))
	dir, err := filepath.EvalSymlinks(d.file(version))
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(process.LookAtAll(pids), func(p process.Process) bool {
		return p.UID != os.Geteuid() || !p.BornSince(tick) || !process.LivesIn(p.Pid, dir) || process.OnTerminal(p.Pid)
	})
}

func (r Runner) startFailure(version string, o control.Outcome, last status.Status, n named) error {
	if why := last.Stranger(); why != "" {
		return control.HostFault(control.CodeStalePid, "cannot start %s %s, its control script takes a stranger for it: %s; %s", r.Dir.Name, version, why, r.Dir.removeStalePidFile(version, n.process))
	}
	if o.Failed() {
		return fmt.Errorf("cannot start %s %s: %s", r.Dir.Name, version, o.Explain("control start"))
	}
	said := r.Dir.saidSince(o.Offset)
	if said != "" {
		said = "; it said: " + said
	}
	return fmt.Errorf("cannot start %s %s: status is %s%s, %v after control start%s", r.Dir.Name, version,
		last, last.WordHint(), r.Timeouts.Start, said)
}
