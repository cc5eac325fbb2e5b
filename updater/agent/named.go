package agent

import (
	"context"
	"slices"
	"syscall"
)

// named is the process that `control pid` names, identified.
type named struct {
	pid     int // 0: none
	process process
	kin     kinship
	why     string // it is a stranger
}

// stranger: control pid names a process that certainly is not the agent's.
func (n named) stranger() bool { return n.pid != 0 && n.kin == unrelatedKnown }

// agents: control pid names a process of the agent.
func (n named) agents() bool { return n.pid != 0 && n.kin == related }

// String says whom control pid names.
func (n named) String() string {
	s := "control pid names " + n.process.String()
	switch n.kin {
	case unrelatedKnown:
		s += ", which " + n.why + " and is not the agent's"
	case unrelated:
		s += ", which cannot be shown to be the agent's"
	case related:
	}
	return s
}

// namedProcess asks control pid and identifies what it names.
func (r Runner) namedProcess(ctx context.Context, version string) named {
	n := named{pid: r.Pid(ctx, version), kin: unrelated}
	if n.pid == 0 {
		return n
	}
	var alive bool
	if n.process, alive = lookAt(n.pid); !alive {
		n.pid = 0 // what the script makes of that is its business
		return n
	}
	n.kin, n.why = r.Dir.witness(version).judge(n.process)
	return n
}

// statusAndProcess is the status, and the process that control pid names of an
// agent that says started. One that says so only because the number in its pid
// file is a stranger's by now counts as stopped.
func (r Runner) statusAndProcess(ctx context.Context, version string) (Status, named) {
	s := r.saidStatus(ctx, version)
	if !s.Started() {
		return s, named{}
	}
	n := r.namedProcess(ctx, version)
	if n.stranger() {
		return stoppedAlthough("control status says started, but " + n.String()), n
	}
	return s, n
}

// killWithGroup kills p, which is the agent's, and its process group: all at
// once when every member is the agent's, and otherwise only those that are. It
// returns the numbers by which that is told.
func (w witness) killWithGroup(p process) []int {
	own, err := syscall.Getpgid(0)
	whole := err == nil && p.Group > 1 && p.Group != own
	var mine []process
	for _, pid := range everyProcess() {
		m, alive := lookAt(pid)
		switch {
		case !alive || m.Group != p.Group:
		case m.Pid == p.Pid || w.follows(m, p):
			mine = append(mine, m)
		default:
			whole = false
		}
	}
	if whole && p.isStill() && syscall.Kill(-p.Group, syscall.SIGKILL) == nil {
		return []int{p.Pid}
	}
	return killAll(mine)
}

// follows: m, of p's group, is the agent's as p is.
func (w witness) follows(m, p process) bool {
	ownGroup := p.Group == p.Pid || slices.ContainsFunc(w.notes(), func(n startNote) bool {
		return n.Boot == w.boot && n.Group == p.Group
	})
	if ownGroup && m.ticks() >= min(p.ticks(), w.note.Began) {
		return true
	}
	k, _ := w.judge(m)
	return k == related
}

func killAll(victims []process) (killed []int) {
	for _, v := range victims {
		if signalProcess(v, syscall.SIGKILL) {
			killed = append(killed, v.Pid)
		}
	}
	return killed
}
