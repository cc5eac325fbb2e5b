package agent

import (
	"encoding/json"
	"io"
	"os"
	"syscall"

	"github.com/ops-updater/ops-updater/internal/atomicfile"
)

// startNote says which process control start brought up, so that it is known
// again whatever its program is and wherever it works.
type startNote struct {
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

	Prior *startNote `json:"prior,omitempty"` // the last complete one, until this is
}

// maxStartNote is far more than a note may have.
const maxStartNote = 4 << 10

func (n startNote) sameCgroup(p process) bool { return n.Cgroup != "" && p.Cgroup == n.Cgroup }

func (n startNote) sameProgram(p process) bool {
	return n.Program != "" && p.Program == n.Program && p.Directory == n.Directory && p.UID == n.UID &&
		len(p.Arguments) > 0 && p.argumentsDigest() == n.Arguments
}

// readStartNote is empty when there is none that can be read.
func (d Dir) readStartNote() (n startNote) {
	f, err := os.OpenFile(d.file(startFile), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return startNote{}
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxStartNote))
	if err != nil || json.Unmarshal(data, &n) != nil {
		return startNote{}
	}
	return n
}

// writeStartNote does its best: on a full disk the agent must still be started.
func (d Dir) writeStartNote(n startNote) {
	data, err := json.Marshal(n)
	if err == nil {
		_ = atomicfile.Write(d.file(startFile), append(data, '\n'), 0o644)
	}
}

// noteBeginning is written before control start runs.
func (d Dir) noteBeginning(version string) {
	prior := d.readStartNote()
	if prior.Pid == 0 && prior.Prior != nil {
		prior = *prior.Prior
	}
	n := startNote{Version: version, Boot: thisBoot(), Began: ticksNow()}
	if prior.Pid != 0 {
		prior.Prior = nil
		n.Prior = &prior
	}
	d.writeStartNote(n)
}

// noteStarted completes the note with the process that control pid names, where
// that is the agent's.
func (d Dir) noteStarted(version string, pid int) {
	if pid == 0 {
		return
	}
	w := d.witness(version)
	if w.note.Pid == pid || w.note.Boot != w.boot {
		return
	}
	p, alive := w.lookAt(pid)
	if k, _ := w.judge(p); !alive || k != related || p.ThreadOf != 0 {
		return
	}
	n := w.note
	n.Prior = nil
	n.Pid, n.Birth, n.UID = p.Pid, p.Birth, p.UID
	n.Program, n.Directory, n.Arguments = p.Program, p.Directory, p.argumentsDigest()
	n.Session, n.SessionBirth = w.ownSession(p.Session)
	n.Group, n.GroupBirth = w.ownGroup(p.Group)
	if p.Cgroup != cgroupOf(os.Getpid()) && p.Cgroup != "/" {
		n.Cgroup = p.Cgroup
	}
	d.writeStartNote(n)
}

// ownSession is 0 for a session that others are in as well.
func (w witness) ownSession(number int) (int, string) {
	leader, alive := w.lookAt(number)
	if number == 0 || !alive || leader.ticks() < w.note.Began {
		return 0, ""
	}
	return number, leader.Birth
}

// ownGroup also takes a group whose leader is gone: control start runs in a
// group of its own, and what it leaves behind stays in that.
func (w witness) ownGroup(number int) (int, string) {
	leader, alive := w.lookAt(number)
	if number == 0 || alive && leader.ticks() < w.note.Began {
		return 0, ""
	}
	return number, leader.Birth
}
