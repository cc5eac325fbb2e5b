// Package process tells processes of this host apart. A number in a pid file
// proves nothing: after a crash or a reboot it may be anybody's. Before a
// process counts as a program's, and before anything is killed, it is
// identified: an [ID] is one process for good, a [Witness] judges by what was
// noted at the start and by where a process lies, and a signal goes through a
// descriptor of the very process that was compared.
package process

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ops-updater/ops-updater/internal/printable"
)

// Process is what the system says about a process.
type Process struct {
	Pid, Parent, Group, Session int
	Birth                       string // tells it from a later process with its number
	UID                         int    // -1: not known
	Name                        string
	Program, Directory          string // "" when they may not be seen
	Arguments                   []string
	Cgroup                      string
	ThreadOf                    int  // the process that it is only a thread of, or 0
	Kernel                      bool // a thread of the kernel
	Ended                       bool // a zombie
}

// IsStill reports whether the process with p's number is p.
func (p Process) IsStill() bool {
	now, alive := Look(p.Pid)
	return alive && now.Birth == p.Birth
}

// BornSince reports whether p began at the tick of [TickNow] or later.
func (p Process) BornSince(tick int64) bool { return p.bornAtTick() >= tick }

func (p Process) bornAtTick() int64 {
	n, err := strconv.ParseInt(p.Birth, 10, 64)
	if err != nil {
		return p.BornAt(time.Now()).Unix()
	}
	return n
}

// String names p for people: process 4711 (/usr/sbin/sshd of root).
func (p Process) String() string {
	program := p.Program
	if program == "" {
		program = p.Name
	}
	if program == "" {
		program = "a program that may not be seen"
	}
	return fmt.Sprintf("process %d (%s of %s)", p.Pid, printable.Line(program), UserName(p.UID))
}

// UserName names a user for people.
func UserName(uid int) string {
	if uid < 0 {
		return "another user"
	}
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return u.Username
	}
	return "uid " + strconv.Itoa(uid)
}

func (p Process) argumentsDigest() string {
	sum := sha256.Sum256([]byte(strings.Join(p.Arguments, "\x00")))
	return hex.EncodeToString(sum[:8])
}

// Kinship is what a process has to do with an agent.
type Kinship int

// The kinds of it.
const (
	Stranger  Kinship = iota // it certainly is a stranger
	Undecided                // nothing shows that it is the agent's, nor that it is not
	Related                  // it is the agent's
)

// maxAncestors bounds the walk from a process to its first ancestor.
const maxAncestors = 64

// Lineage is this process and those that it descends from.
func Lineage() (self []Process) {
	for pid := os.Getpid(); pid > 0 && len(self) < maxAncestors; {
		p, alive := Look(pid)
		if !alive {
			break
		}
		self = append(self, p)
		pid = p.Parent
	}
	return self
}

// Witness is everything by which processes are identified: gathered once, so
// that the judgement itself asks for nothing but parents.
type Witness struct {
	Dirs    []string  // the agent's directory, as configured and without links
	Beside  string    // the work directory without links
	Note    StartNote // of the last start; its Prior of the one before, as long as that is not complete
	Boot    string
	UID     int
	Self    []Process // this process and those that it descends from
	Stale   func(p Process) string
	Look    func(pid int) (Process, bool)
	IsAgent func(dir string) bool
}

// Judge says what p has to do with the agent and, of a stranger, by what that
// is known.
//
// It is the agent's when it is the process that was noted after a start, or
// its program, its directory or an argument lies in the agent's directory, or
// it descends from what was started: a parent, the session, the process group
// or a control group of its own that was noted, or, right after a start,
// because it began after that; or because it is the same program with the same
// arguments in the same directory as what was noted.
//
// It is a stranger only on evidence of its own; what cannot be told is neither
// killed nor declared dead.
func (w Witness) Judge(p Process) (Kinship, string) {
	switch {
	case p.Kernel:
		return Stranger, "is a thread of the kernel"
	case p.Pid == 1:
		return Stranger, "is the system's first process"
	case slices.ContainsFunc(w.Self, func(s Process) bool { return s.Pid == p.Pid }):
		return Stranger, "runs the sidecar itself"
	case p.ThreadOf != 0:
		return w.judgeThread(p)
	case w.IsNoted(p) || w.liesInside(p) || w.descendsFromNoted(p):
		return Related, ""
	case w.UID != 0 && p.UID != w.UID:
		return Stranger, "belongs to another user"
	}
	if other := w.otherAgent(p); other != "" {
		return Stranger, "belongs to what lies in " + other
	}
	for _, n := range w.bothNotes() {
		if n.Pid != 0 {
			return Stranger, fmt.Sprintf("has nothing to do with process %d, which was noted when the agent was started", n.Pid)
		}
	}
	if file := w.Stale(p); file != "" {
		return Stranger, "began after " + file + " was written"
	}
	return Undecided, ""
}

func (w Witness) judgeThread(p Process) (Kinship, string) {
	owner, alive := w.Look(p.ThreadOf)
	if !alive || owner.ThreadOf != 0 {
		return Undecided, ""
	}
	if k, why := w.Judge(owner); k != Related {
		return k, why
	}
	return Related, ""
}

func (w Witness) bothNotes() []StartNote {
	if w.Note.Prior != nil {
		return []StartNote{w.Note, *w.Note.Prior}
	}
	return []StartNote{w.Note}
}

// IsNoted reports whether p is the very process that was noted after a start.
func (w Witness) IsNoted(p Process) bool {
	return slices.ContainsFunc(w.bothNotes(), func(n StartNote) bool {
		return n.Boot == w.Boot && n.Pid == p.Pid && n.Birth == p.Birth
	})
}

func (w Witness) liesInside(p Process) bool {
	return slices.ContainsFunc(w.Dirs, func(dir string) bool {
		return Within(p.Program, dir) || Within(p.Directory, dir) ||
			slices.ContainsFunc(p.Arguments, func(arg string) bool { return mentionsPath(arg, dir) })
	})
}

// Within reports whether path is dir, or lies in it.
func Within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, dir+"/")
}

// mentionsPath: arg is a path in dir, or holds one, as in --config=DIR/app.json.
func mentionsPath(arg, dir string) bool {
	for from := 0; ; {
		i := strings.Index(arg[from:], dir)
		if i < 0 {
			return false
		}
		start, end := from+i, from+i+len(dir)
		if (start == 0 || strings.IndexByte("=:,;@'\"", arg[start-1]) >= 0) && (end == len(arg) || arg[end] == '/') {
			return true
		}
		from = start + 1
	}
}

// descendsFromNoted: p was started by what control start ran.
func (w Witness) descendsFromNoted(p Process) bool {
	return w.hasNotedParent(p) || slices.ContainsFunc(w.bothNotes(), func(n StartNote) bool {
		return n.Boot == w.Boot && w.startedWith(n, p) || n.sameCgroup(p) || n.sameProgram(p)
	})
}

func (w Witness) startedWith(n StartNote, p Process) bool {
	if n.Pid == 0 { // control start is at work, or named nothing yet
		return n.Began != 0 && p.Birth != "" && p.bornAtTick() >= n.Began
	}
	if p.Pid == n.Pid { // its number, and not its birth
		return false
	}
	return n.Session != 0 && p.Session == n.Session && !w.takenByAnother(n.Session, n.SessionBirth) ||
		n.Group != 0 && p.Group == n.Group && !w.takenByAnother(n.Group, n.GroupBirth)
}

func (w Witness) hasNotedParent(p Process) bool {
	for parent, depth := p.Parent, 0; parent > 1 && depth < maxAncestors; depth++ {
		q, alive := w.Look(parent)
		if !alive {
			return false
		}
		if w.IsNoted(q) {
			return true
		}
		parent = q.Parent
	}
	return false
}

// takenByAnother: the number that led a noted session or group is another process's by now.
func (w Witness) takenByAnother(pid int, birth string) bool {
	p, alive := w.Look(pid)
	return alive && p.Birth != birth
}

// otherAgent is the directory of another agent in which p lies, or "".
func (w Witness) otherAgent(p Process) string {
	for _, path := range []string{p.Program, p.Directory} {
		rest, ok := strings.CutPrefix(path, w.Beside+"/")
		if !ok {
			continue
		}
		name, _, _ := strings.Cut(rest, "/")
		if dir := filepath.Join(w.Beside, name); w.IsAgent(dir) {
			return dir
		}
	}
	return ""
}
