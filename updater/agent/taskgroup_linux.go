package agent

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
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

// groupPrefix is followed by the child that made the group, and its birth.
const groupPrefix = "ops-updater-control-"

// ourTaskPlace is found once; what killed children left is tidied up then.
var ourTaskPlace = sync.OnceValue(func() taskPlace {
	p := findTaskPlace()
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
	self, _ := lookAt(os.Getpid())
	g := &taskGroup{place: p, dir: filepath.Join(p.parent, fmt.Sprintf("%s%d-%s-%d", groupPrefix, self.Pid, self.Birth, groupsMade.Add(1)))}
	if os.Mkdir(g.dir, 0o755) != nil {
		return nil
	}
	if !g.write("pids.max", strconv.Itoa(limit)) {
		_ = os.Remove(g.dir)
		return nil
	}
	return g
}

// findTaskPlace looks for a group in which others with a bound can be made: our
// own or, where that may hold no others because it holds processes, as a
// systemd unit does, the one above it.
func findTaskPlace() taskPlace {
	hierarchies := map[string]string{}
	for line := range strings.Lines(string(readProc(os.Getpid(), "cgroup"))) {
		if parts := strings.SplitN(strings.TrimSpace(line), ":", 3); len(parts) == 3 {
			for controller := range strings.SplitSeq(parts[1], ",") {
				hierarchies[controller] = parts[2]
			}
		}
	}
	if path, legacy := hierarchies["pids"]; legacy {
		if home := cgroupDirectory("cgroup", "pids", path); home != "" && writable(home) {
			return taskPlace{parent: home, home: home}
		}
	}
	path, unified := hierarchies[""]
	home := cgroupDirectory("cgroup2", "", path)
	if !unified || home == "" {
		return taskPlace{}
	}
	_ = os.WriteFile(filepath.Join(home, "cgroup.subtree_control"), []byte("+pids"), 0o644)
	for _, parent := range []string{home, filepath.Dir(home)} {
		controllers, _ := os.ReadFile(filepath.Join(parent, "cgroup.subtree_control"))
		if slices.Contains(strings.Fields(string(controllers)), "pids") && writable(parent) {
			return taskPlace{parent: parent, home: home, unified: true}
		}
	}
	return taskPlace{}
}

func writable(dir string) bool { return unix.Access(dir, unix.W_OK) == nil }

// cgroupDirectory finds in which directory a group of a hierarchy can be seen.
func cgroupDirectory(kind, controller, path string) string {
	for line := range strings.Lines(string(readProc(os.Getpid(), "mountinfo"))) {
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

func (g *taskGroup) write(file, text string) bool {
	return os.WriteFile(filepath.Join(g.dir, file), []byte(text), 0o644) == nil
}

// start has the script begin its life in the group: there is no moment in which
// it could fork outside.
func (g *taskGroup) start(cmd *exec.Cmd) (err error) {
	if !g.place.unified {
		onThisThread(func(tid int) {
			g.write("tasks", strconv.Itoa(tid)) // what a thread forks is where the thread is
			err = startUnlessBusy(cmd)
			_ = os.WriteFile(filepath.Join(g.place.home, "tasks"), []byte(strconv.Itoa(tid)), 0o644)
		})
	} else {
		fd, openErr := unix.Open(g.dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if openErr != nil {
			err = startUnlessBusy(cmd)
		} else {
			err = startWithin(cmd, fd)
			_ = unix.Close(fd)
		}
	}
	if err != nil {
		g.lift()
	}
	return err
}

func (g *taskGroup) tasks() int {
	text, _ := os.ReadFile(filepath.Join(g.dir, "pids.current"))
	n, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return n
}

// refused: the kernel counts how often the bound kept something from forking.
func (g *taskGroup) refused() bool {
	text, _ := os.ReadFile(filepath.Join(g.dir, "pids.events"))
	words := strings.Fields(string(text))
	return len(words) >= 2 && words[0] == "max" && words[1] != "0"
}

func (g *taskGroup) members() (pids []int) {
	text, _ := os.ReadFile(filepath.Join(g.dir, "cgroup.procs"))
	for word := range strings.FieldsSeq(string(text)) {
		if pid, err := strconv.Atoi(word); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// lift moves what lives on to where it belongs, and removes the group. It is
// repeated for what was forked meanwhile.
func (g *taskGroup) lift() {
	g.write("pids.max", "max")
	for range maxRounds {
		members := g.members()
		for _, pid := range members {
			_ = os.WriteFile(filepath.Join(g.place.home, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o644)
		}
		if len(members) == 0 {
			break
		}
	}
	_ = os.Remove(g.dir)
}

// end first takes from everyone the right to fork, then kills.
func (g *taskGroup) end() {
	g.write("pids.max", "0")
	gone := func() bool {
		for _, pid := range g.members() {
			_ = unix.Kill(pid, unix.SIGKILL) // it is in the group now, and nobody joins it
		}
		return os.Remove(g.dir) == nil
	}
	pollUntil(killPatience, gone)
}

// endLeftovers tidies up after children that were killed: what forks without
// end is ended, and a daemon let out.
func (p taskPlace) endLeftovers() {
	left, _ := filepath.Glob(filepath.Join(p.parent, groupPrefix+"*"))
	for _, dir := range left {
		owner := strings.Split(strings.TrimPrefix(filepath.Base(dir), groupPrefix), "-")
		pid, err := strconv.Atoi(owner[0])
		if now, alive := lookAt(pid); err != nil || len(owner) != 3 || alive && now.Birth == owner[1] {
			continue
		}
		g := &taskGroup{dir: dir, place: p}
		if g.refused() {
			g.end()
			continue
		}
		g.lift()
	}
}
