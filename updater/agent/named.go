package agent

import (
	"context"

	"github.com/ops-updater/ops-updater/internal/host/control"
	"github.com/ops-updater/ops-updater/internal/host/process"
	"github.com/ops-updater/ops-updater/internal/host/status"
)

// named is the process that a control script takes for its agent, identified.
type named struct {
	pid     int    // 0: none
	by      string // what names it: the script, or its pid file where it has no verb for that
	process process.Process
	kin     process.Kinship
	why     string // it is a stranger
}

// isStranger: what is named certainly is not the agent.
func (n named) isStranger() bool { return n.pid != 0 && n.kin == process.Stranger }

// isAgents: a process of the agent is named.
func (n named) isAgents() bool { return n.pid != 0 && n.kin == process.Related }

// runsOn: a process of the agent is named, and has not ended.
func (n named) runsOn() bool { return n.isAgents() && n.process.IsStill() }

// String says who is named.
func (n named) String() string {
	s := n.by + " names " + n.process.String()
	switch n.kin {
	case process.Stranger:
		s += ", which " + n.why + " and is not the agent's"
	case process.Undecided:
		s += ", which cannot be shown to be the agent's"
	case process.Related:
	}
	return s
}

// namedProcess asks control pid and identifies what it names. Of a script that
// lacks the verb the pid file is read, since it believes that.
func (r Runner) namedProcess(ctx context.Context, version string) named {
	if !r.saysPid(version) {
		return r.Dir.strangerInPidFile(version)
	}
	return r.Dir.identifyNamed("control pid", version, r.Pid(ctx, version))
}

func (r Runner) saysPid(version string) bool {
	return control.Supports(r.Dir.file(version, scriptName), control.VerbPid)
}

func (d Dir) identifyNamed(by, version string, pid int) named {
	n := named{pid: pid, by: by, kin: process.Undecided}
	if pid == 0 {
		return n
	}
	var alive bool
	if n.process, alive = process.Look(pid); alive {
		n.kin, n.why = d.witness(version).Judge(n.process)
		return n
	}
	if n.process.Ended { // kill -0 finds it, and control scripts believe that
		n.kin, n.why = process.Stranger, "has ended, as far as its parent has not taken note of it,"
		return n
	}
	return named{} // what the script makes of that is its business
}

// statusAndProcess is the status, and the process that control pid names of an
// agent that says started. One that says so only because the number in its pid
// file is a stranger's by now counts as stopped.
func (r Runner) statusAndProcess(ctx context.Context, version string) (status.Status, named) {
	s := r.saidStatus(ctx, version)
	if !s.Started() {
		return s, named{}
	}
	n := r.namedProcess(ctx, version)
	if n.isStranger() {
		return status.StoppedAlthough("control status says started, but " + n.String()), n
	}
	return s, n
}

// notedProcess is the process that a control start of version brought up, where it
// is still there.
func (d Dir) notedProcess(version string) named {
	w := d.witness(version)
	note := w.Note
	if note.Version != version && note.Prior != nil {
		note = *note.Prior
	}
	p, alive := process.Look(note.Pid)
	if note.Version != version || !alive || !w.IsNoted(p) {
		return named{}
	}
	return named{pid: p.Pid, by: startFile, process: p, kin: process.Related}
}
