package process

import "os"

// StartNote says which process control start brought up, so that it is known
// again whatever its program is and wherever it works.
type StartNote struct {
	Version string `json:"version"`
	Boot    string `json:"boot"`
	Began   int64  `json:"began"` // when control start began; what is younger was started by it
	Pid     int    `json:"pid,omitempty"`
	Birth   string `json:"birth,omitempty"`

	// What descends from it shares these. They are 0 or "" where others do too.
	Session      int    `json:"session,omitempty"`
	SessionBirth string `json:"sessionBirth,omitempty"` // of the process that leads it
	Group        int    `json:"group,omitempty"`
	GroupBirth   string `json:"groupBirth,omitempty"`
	Cgroup       string `json:"cgroup,omitempty"`

	// By these it is known again after somebody else restarted it.
	UID       int    `json:"uid"`
	Program   string `json:"program,omitempty"`
	Directory string `json:"directory,omitempty"`
	Arguments string `json:"arguments,omitempty"` // their digest

	Prior *StartNote `json:"prior,omitempty"` // the last complete one, until this is
}

func (n StartNote) sameCgroup(p Process) bool { return n.Cgroup != "" && p.Cgroup == n.Cgroup }

func (n StartNote) sameProgram(p Process) bool {
	return n.Program != "" && p.Program == n.Program && p.Directory == n.Directory && p.UID == n.UID &&
		len(p.Arguments) > 0 && p.argumentsDigest() == n.Arguments
}

// ownSession is 0 for a session that others are in as well.
func (w Witness) ownSession(number int) (int, string) {
	leader, alive := w.Look(number)
	if number == 0 || !alive || leader.bornAtTick() < w.Note.Began {
		return 0, ""
	}
	return number, leader.Birth
}

// ownGroup also takes a group whose leader is gone: control start runs in a
// group of its own, and what it leaves behind stays in that.
func (w Witness) ownGroup(number int) (int, string) {
	leader, alive := w.Look(number)
	if number == 0 || alive && leader.bornAtTick() < w.Note.Began {
		return 0, ""
	}
	return number, leader.Birth
}

// CompleteNote is the note of the last start with p as what it brought up.
func (w Witness) CompleteNote(p Process) StartNote {
	n := w.Note
	n.Prior = nil
	n.Pid, n.Birth, n.UID = p.Pid, p.Birth, p.UID
	n.Program, n.Directory, n.Arguments = p.Program, p.Directory, p.argumentsDigest()
	n.Session, n.SessionBirth = w.ownSession(p.Session)
	n.Group, n.GroupBirth = w.ownGroup(p.Group)
	if p.Cgroup != cgroupOf(os.Getpid()) && p.Cgroup != "/" {
		n.Cgroup = p.Cgroup
	}
	return n
}
