package process

import (
	"slices"
	"syscall"
)

// KillWithGroup kills p, which is the agent's, and its process group: all at
// once when every member is the agent's, and otherwise only those that are. It
// returns the numbers by which that is told.
func (w Witness) KillWithGroup(p Process) []int {
	own, err := syscall.Getpgid(0)
	whole := err == nil && p.Group > 1 && p.Group != own
	var mine []Process
	for _, pid := range All() {
		m, alive := Look(pid)
		switch {
		case !alive || m.Group != p.Group:
		case m.Pid == p.Pid || w.belongsWith(m, p):
			mine = append(mine, m)
		default:
			whole = false
		}
	}
	if whole && p.IsStill() && syscall.Kill(-p.Group, syscall.SIGKILL) == nil {
		return []int{p.Pid}
	}
	return KillAll(mine)
}

// belongsWith: m, of p's group, is the agent's as p is.
func (w Witness) belongsWith(m, p Process) bool {
	ownGroup := p.Group == p.Pid || slices.ContainsFunc(w.bothNotes(), func(n StartNote) bool {
		return n.Boot == w.Boot && n.Group == p.Group
	})
	if ownGroup && m.bornAtTick() >= min(p.bornAtTick(), w.Note.Began) {
		return true
	}
	k, _ := w.Judge(m)
	return k == Related
}

// KillAll kills exactly these processes and says which it could.
func KillAll(victims []Process) (killed []int) {
	for _, v := range victims {
		if Signal(v, syscall.SIGKILL) {
			killed = append(killed, v.Pid)
		}
	}
	return killed
}

// LookAtAll looks at the processes with these numbers that are there.
func LookAtAll(pids []int) (all []Process) {
	for _, pid := range pids {
		if p, alive := Look(pid); alive {
			all = append(all, p)
		}
	}
	return all
}
