package agent

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
)

// A number in a pid file proves nothing: after a crash or a reboot it may be
// anybody's. Before a process counts as the agent's, and before anything is
// killed, it is identified.

// process is what the system says about a process.
type process struct {
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

// isStill reports whether the process with p's number is p.
func (p process) isStill() bool {
	now, alive := lookAt(p.Pid)
	return alive && now.Birth == p.Birth
}

func (p process) ticks() int64 {
	n, err := strconv.ParseInt(p.Birth, 10, 64)
	if err != nil {
		return p.bornAt(time.Now()).Unix()
	}
	return n
}

// String names p for people: process 4711 (/usr/sbin/sshd of root).
func (p process) String() string {
	program := p.Program
	if program == "" {
		program = p.Name
	}
	if program == "" {
		program = "a program that may not be seen"
	}
	return fmt.Sprintf("process %d (%s of %s)", p.Pid, shown(program), userName(p.UID))
}

func userName(uid int) string {
	if uid < 0 {
		return "another user"
	}
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return u.Username
	}
	return "uid " + strconv.Itoa(uid)
}

func (p process) argumentsDigest() string {
	sum := sha256.Sum256([]byte(strings.Join(p.Arguments, "\x00")))
	return hex.EncodeToString(sum[:8])
}

// kinship is what a process has to do with an agent.
type kinship int

const (
	unrelatedKnown kinship = iota // it certainly is a stranger
	unrelated                     // nothing shows that it is the agent's, nor that it is not
	related                       // it is the agent's
)

// maxAncestors bounds the walk from a process to its first ancestor.
const maxAncestors = 64

// witness is everything by which processes are identified: gathered once, so
// that the judgement itself asks for nothing but parents.
type witness struct {
	dirs    []string  // the agent's directory, as configured and without links
	beside  string    // the work directory without links
	note    startNote // of the last start; its Prior of the one before, as long as that is not complete
	boot    string
	uid     int
	self    []process // this process and those that it descends from
	stale   func(p process) string
	lookAt  func(pid int) (process, bool)
	isAgent func(dir string) bool
}

func (d Dir) witness(version string) witness {
	w := witness{dirs: []string{d.Path}, note: d.readStartNote(), boot: thisBoot(), uid: os.Geteuid(), lookAt: lookAt}
	if real, err := filepath.EvalSymlinks(d.Path); err == nil && real != d.Path {
		w.dirs = append(w.dirs, real)
	}
	w.beside = filepath.Dir(w.dirs[len(w.dirs)-1])
	for pid := os.Getpid(); pid > 0 && len(w.self) < maxAncestors; {
		p, alive := lookAt(pid)
		if !alive {
			break
		}
		w.self = append(w.self, p)
		pid = p.Parent
	}
	w.stale = func(p process) string { return d.olderPidFile(version, p) }
	w.isAgent = func(dir string) bool { _, err := os.Lstat(filepath.Join(dir, versionFile)); return err == nil }
	return w
}

// judge says what p has to do with the agent and, of a stranger, by what that
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
func (w witness) judge(p process) (kinship, string) {
	switch {
	case p.Kernel:
		return unrelatedKnown, "is a thread of the kernel"
	case p.Pid == 1:
		return unrelatedKnown, "is the system's first process"
	case slices.ContainsFunc(w.self, func(s process) bool { return s.Pid == p.Pid }):
		return unrelatedKnown, "runs the sidecar itself"
	case p.ThreadOf != 0:
		return w.judgeThread(p)
	case w.isNoted(p) || w.liesInside(p) || w.descends(p):
		return related, ""
	case w.uid != 0 && p.UID != w.uid:
		return unrelatedKnown, "belongs to another user"
	}
	if other := w.otherAgent(p); other != "" {
		return unrelatedKnown, "belongs to what lies in " + other
	}
	for _, n := range w.notes() {
		if n.Pid != 0 {
			return unrelatedKnown, fmt.Sprintf("has nothing to do with process %d, which was noted when the agent was started", n.Pid)
		}
	}
	if file := w.stale(p); file != "" {
		return unrelatedKnown, "began after " + file + " was written"
	}
	return unrelated, ""
}

func (w witness) judgeThread(p process) (kinship, string) {
	owner, alive := w.lookAt(p.ThreadOf)
	if !alive || owner.ThreadOf != 0 {
		return unrelated, ""
	}
	if k, why := w.judge(owner); k != related {
		return k, why
	}
	return related, ""
}

func (w witness) notes() []startNote {
	if w.note.Prior != nil {
		return []startNote{w.note, *w.note.Prior}
	}
	return []startNote{w.note}
}

func (w witness) isNoted(p process) bool {
	return slices.ContainsFunc(w.notes(), func(n startNote) bool {
		return n.Boot == w.boot && n.Pid == p.Pid && n.Birth == p.Birth
	})
}

func (w witness) liesInside(p process) bool {
	return slices.ContainsFunc(w.dirs, func(dir string) bool {
		return within(p.Program, dir) || within(p.Directory, dir) ||
			slices.ContainsFunc(p.Arguments, func(arg string) bool { return mentions(arg, dir) })
	})
}

func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, dir+"/")
}

// mentions: arg is a path in dir, or holds one, as in --config=DIR/app.json.
func mentions(arg, dir string) bool {
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

// descends: p was started by what control start ran.
func (w witness) descends(p process) bool {
	return w.hasNotedParent(p) || slices.ContainsFunc(w.notes(), func(n startNote) bool {
		return n.Boot == w.boot && w.startedWith(n, p) || n.sameCgroup(p) || n.sameProgram(p)
	})
}

func (w witness) startedWith(n startNote, p process) bool {
	if n.Pid == 0 { // control start is at work, or named nothing yet
		return n.Began != 0 && p.Birth != "" && p.ticks() >= n.Began
	}
	if p.Pid == n.Pid { // its number, and not its birth
		return false
	}
	return n.Session != 0 && p.Session == n.Session && !w.taken(n.Session, n.SessionBirth) ||
		n.Group != 0 && p.Group == n.Group && !w.taken(n.Group, n.GroupBirth)
}

func (w witness) hasNotedParent(p process) bool {
	for parent, depth := p.Parent, 0; parent > 1 && depth < maxAncestors; depth++ {
		q, alive := w.lookAt(parent)
		if !alive {
			return false
		}
		if w.isNoted(q) {
			return true
		}
		parent = q.Parent
	}
	return false
}

// taken: the number that led a noted session or group is another process's by now.
func (w witness) taken(pid int, birth string) bool {
	p, alive := w.lookAt(pid)
	return alive && p.Birth != birth
}

// otherAgent is the directory of another agent in which p lies, or "".
func (w witness) otherAgent(p process) string {
	for _, path := range []string{p.Program, p.Directory} {
		rest, ok := strings.CutPrefix(path, w.beside+"/")
		if !ok {
			continue
		}
		name, _, _ := strings.Cut(rest, "/")
		if dir := filepath.Join(w.beside, name); w.isAgent(dir) {
			return dir
		}
	}
	return ""
}
