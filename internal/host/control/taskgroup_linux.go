package control

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ops-updater/ops-updater/internal/host/process"
)

// taskGroup is a control group in which one run of a control script may have
// only so many processes and threads.
type taskGroup struct {
	dir   string
	place taskPlace
}

// taskPlace is where such groups can be made.
type taskPlace struct {
	parent  string // directory
	home    string // where this process is, and where a daemon belongs
	unified bool   // cgroup v2
}

// endPatience is how long what was killed may take to be gone.
const endPatience = 5 * time.Second

// groupPrefix is followed by the child that made the group, and its birth.
const groupPrefix = "ops-updater-control-"

// ourTaskPlace is found once; what killed children left is tidied up then.
var ourTaskPlace = sync.OnceValue(func() taskPlace {
	p := findTaskPlace(string(process.ReadFile(os.Getpid(), "cgroup")), string(process.ReadFile(os.Getpid(), "mountinfo")))
	if p.parent != "" {
		p.endLeftovers()
	}
	return p
})

var groupsMade atomic.Int64

func newTaskGroup(limit int) *taskGroup {
	p := ourTaskPlace()
	if p.parent == "" {
		return nil
	}
	self, _ := process.Look(os.Getpid())
	g := &taskGroup{place: p, dir: filepath.Join(p.parent, fmt.Sprintf("%s%d-%s-%d", groupPrefix, self.Pid, self.Birth, groupsMade.Add(1)))}
	if os.Mkdir(g.dir, 0o755) != nil {
		return nil
	}
	if !g.writeFile("pids.max", strconv.Itoa(limit)) {
		_ = os.Remove(g.dir)
		return nil
	}
	return g
}

// findTaskPlace looks for a group in which others with a bound can be made, by
// this process's groups and mounts as in /proc: our own in cgroup v1, the one
// above it in v2. There a group that holds processes, as a systemd unit does, may
// hold no others: the kernel lets pids be handed down in it, but that makes it
// threaded, and nothing can be started in a group below.
func findTaskPlace(groups, mounts string) taskPlace {
	hierarchies := map[string]string{}
	for line := range strings.Lines(groups) {
		if parts := strings.SplitN(strings.TrimSpace(line), ":", 3); len(parts) == 3 {
			for controller := range strings.SplitSeq(parts[1], ",") {
				hierarchies[controller] = parts[2]
			}
		}
	}
	if path, legacy := hierarchies["pids"]; legacy {
		if home := cgroupDirectory(mounts, "cgroup", "pids", path); home != "" && isWritable(home) {
			return taskPlace{parent: home, home: home}
		}
	}
	path, unified := hierarchies[""]
	home := cgroupDirectory(mounts, "cgroup2", "", path)
	if !unified || home == "" {
		return taskPlace{}
	}
	parent := home
	if !isTopGroup(home) {
		parent = filepath.Dir(home)
	}
	if !handsDownPids(parent) && isTopGroup(parent) {
		_ = os.WriteFile(filepath.Join(parent, "cgroup.subtree_control"), []byte("+pids"), 0o644)
	}
	if !handsDownPids(parent) || !isWritable(parent) {
		return taskPlace{}
	}
	return taskPlace{parent: parent, home: home, unified: true}
}

func handsDownPids(dir string) bool {
	controllers, _ := os.ReadFile(filepath.Join(dir, "cgroup.subtree_control"))
	return slices.Contains(strings.Fields(string(controllers)), "pids")
}

// isTopGroup: of a whole v2 hierarchy, which alone has no type and may hold
// processes and groups. What a container sees as the top of its own has one.
func isTopGroup(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "cgroup.controllers"))
	_, typeErr := os.Stat(filepath.Join(dir, "cgroup.type"))
	return err == nil && errors.Is(typeErr, os.ErrNotExist)
}

func isWritable(dir string) bool { return unix.Access(dir, unix.W_OK) == nil }

// cgroupDirectory finds in which directory a group of a hierarchy can be seen.
func cgroupDirectory(mounts, kind, controller, path string) string {
	for line := range strings.Lines(mounts) {
		before, after, ok := strings.Cut(line, " - ")
		fields, kinds := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 5 || len(kinds) < 3 || kinds[0] != kind {
			continue
		}
		if controller != "" && !slices.Contains(strings.Split(kinds[2], ","), controller) {
			continue
		}
		if rest, inside := strings.CutPrefix(path, strings.TrimSuffix(fields[3], "/")); inside {
			return filepath.Join(fields[4], rest)
		}
	}
	return ""
}

func (g *taskGroup) writeFile(file, text string) bool {
	return os.WriteFile(filepath.Join(g.dir, file), []byte(text), 0o644) == nil
}

// startCommand has the script begin its life in the group: there is no moment in which
// it could fork outside.
func (g *taskGroup) startCommand(cmd *exec.Cmd) (err error) {
	if g.place.unified {
		err = g.startUnified(cmd)
	} else {
		onThisThread(func(tid int) { err = g.startFrom("tasks", tid, cmd) })
	}
	if err != nil {
		g.liftBound()
	}
	return err
}

// startUnified goes into the group as a whole where the kernel cannot start a
// process in another one (before 5.7, or forbidden in a container): nothing else
// is started here meanwhile.
func (g *taskGroup) startUnified(cmd *exec.Cmd) error {
	fd, err := unix.Open(g.dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return g.startFrom("cgroup.procs", os.Getpid(), cmd)
	}
	defer func() { _ = unix.Close(fd) }()
	attr := *cmd.SysProcAttr
	cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, fd
	err = startUnlessBusy(cmd)
	if !slices.ContainsFunc([]error{syscall.ENOSYS, syscall.EINVAL, syscall.EOPNOTSUPP}, func(e error) bool { return errors.Is(err, e) }) {
		return err
	}
	*cmd.SysProcAttr = attr
	return g.startFrom("cgroup.procs", os.Getpid(), cmd)
}

// startFrom has id, of a thread or a process, in the group while it starts cmd:
// what it forks is where it is.
func (g *taskGroup) startFrom(file string, id int, cmd *exec.Cmd) error {
	g.writeFile(file, strconv.Itoa(id))
	defer func() { _ = os.WriteFile(filepath.Join(g.place.home, file), []byte(strconv.Itoa(id)), 0o644) }()
	return startUnlessBusy(cmd)
}

func (g *taskGroup) countTasks() int {
	text, _ := os.ReadFile(filepath.Join(g.dir, "pids.current"))
	n, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return n
}

// wasRefused: the kernel counts how often the bound kept something from forking.
func (g *taskGroup) wasRefused() bool {
	text, _ := os.ReadFile(filepath.Join(g.dir, "pids.events"))
	words := strings.Fields(string(text))
	return len(words) >= 2 && words[0] == "max" && words[1] != "0"
}

func (g *taskGroup) listMembers() (pids []int) {
	text, _ := os.ReadFile(filepath.Join(g.dir, "cgroup.procs"))
	for word := range strings.FieldsSeq(string(text)) {
		if pid, err := strconv.Atoi(word); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// liftBound moves what lives on to where it belongs, and removes the group. It is
// repeated for what was forked meanwhile.
func (g *taskGroup) liftBound() {
	g.writeFile("pids.max", "max")
	for range maxRounds {
		members := g.listMembers()
		for _, pid := range members {
			_ = os.WriteFile(filepath.Join(g.place.home, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o644)
		}
		if len(members) == 0 {
			break
		}
	}
	_ = os.Remove(g.dir)
}

// endAll first takes from everyone the right to fork, then kills.
func (g *taskGroup) endAll() {
	g.writeFile("pids.max", "0")
	gone := func() bool {
		for _, pid := range g.listMembers() {
			_ = unix.Kill(pid, unix.SIGKILL) // it is in the group now, and nobody joins it
		}
		return os.Remove(g.dir) == nil
	}
	process.PollUntil(endPatience, gone)
}

// endLeftovers tidies up after children that were killed: what forks without
// end is ended, and a daemon let out.
func (p taskPlace) endLeftovers() {
	left, _ := filepath.Glob(filepath.Join(p.parent, groupPrefix+"*"))
	for _, dir := range left {
		owner := strings.Split(strings.TrimPrefix(filepath.Base(dir), groupPrefix), "-")
		pid, err := strconv.Atoi(owner[0])
		if now, alive := process.Look(pid); err != nil || len(owner) != 3 || alive && now.Birth == owner[1] {
			continue
		}
		g := &taskGroup{dir: dir, place: p}
		if g.wasRefused() {
			g.endAll()
			continue
		}
		g.liftBound()
	}
}
