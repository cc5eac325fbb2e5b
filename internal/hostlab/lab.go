package hostlab

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Patience is how long the lab waits for what has to come; far more than it takes.
const Patience = 4 * time.Minute

// Lab is a host. Below Dir are
//
//	cfg.json  of the program
//	program/  the program as it was installed, with its control script
//	disk/     a small filesystem: work/ and other/ for agents
//	var/      a small filesystem: what the program keeps
//	notes/    what agents note of themselves, on the filesystem of the machine
//	ctl/      how faults are called and let go
type Lab struct {
	T      testing.TB
	Dir    string
	Server *Server
	Disk   *Disk // of the agents
	Var    *Disk // of the program

	binary string
	cmd    *exec.Cmd
	ended  chan struct{}
	boots  int // how often the host went down
	group  string
	faults int
}

// Config is what the configuration of a lab says beside what every lab says.
type Config map[string]any

// Spec is what a lab is made of.
type Spec struct {
	Sidecar *Sidecar // the program
	Disk    int64    // bytes that there are for agents; 0: a few
	Config  Config
}

// New makes a host on which the program is installed. The test is skipped where there is
// no root, without whom there are no filesystems of its own.
func New(t testing.TB, spec Spec) *Lab {
	t.Helper()
	if os.Geteuid() != 0 {
		lack(t, "a host of its own needs root, for filesystems, users and control groups")
	}
	// Below a directory of root's alone: root runs nothing that others can change.
	dir, err := os.MkdirTemp("/opt", "ops-updater-lab-")
	if err != nil {
		lack(t, fmt.Sprintf("cannot work in /opt: %v", err))
	}
	must(t, os.Chmod(dir, 0o755))
	l := &Lab{T: t, Dir: dir}
	t.Cleanup(func() { l.tearDown() })
	l.Server = newServer(t)
	l.Disk, l.Var = newDisk(t, l.Path("disk"), cmp.Or(spec.Disk, smallDisk)), newDisk(t, l.Path("var"), smallDisk)
	for _, name := range []string{"disk/work", "disk/other"} {
		must(t, os.MkdirAll(l.Path(name), 0o755))
	}
	for _, name := range []string{"notes", "ctl"} {
		must(t, os.MkdirAll(l.Path(name), 0o755))
		must(t, os.Chmod(l.Path(name), 0o777))
	}
	l.install(spec.Sidecar)
	l.Configure(spec.Config)
	return l
}

// install puts the program there, which nobody writes: a link is enough.
func (l *Lab) install(s *Sidecar) {
	l.T.Helper()
	l.binary = l.Path("program/" + SelfName)
	must(l.T, os.Mkdir(l.Path("program"), 0o755))
	must(l.T, os.Link(s.Path, l.binary))
	must(l.T, os.WriteFile(l.Path("program/control"), s.Control, 0o755))
}

// Configure writes the configuration of the program.
func (l *Lab) Configure(more Config) {
	l.T.Helper()
	cfg := Config{
		"server": l.Server.URL, "interval": 1, "probation": "300ms", "work_dir": l.Path("disk/work"), "var_dir": l.Path("var"),
		"hostname": "lab", "start_timeout": "10s", "stop_timeout": "10s", "status_timeout": "5s", "reserve": 0, "retries": 0, "stall_timeout": "2s",
	}
	maps.Copy(cfg, more)
	data, err := json.Marshal(cfg)
	must(l.T, err)
	must(l.T, os.WriteFile(l.Path("cfg.json"), data, 0o600))
}

// Path is the path of what is called name below the lab's directory.
func (l *Lab) Path(name string) string { return filepath.Join(l.Dir, name) }

// Fault is where the program, or one of its children, is struck: it waits there
// until it is let go.
type Fault struct {
	l    *Lab
	file string
	Text string // for the environment of the program
}

// FaultAt is a fault at the point of that name: action wait or error. It happens once.
func (l *Lab) FaultAt(point, action string) *Fault {
	l.faults++
	file := l.Path(fmt.Sprintf("ctl/fault-%d", l.faults))
	return &Fault{l: l, file: file, Text: point + ":" + action + ":" + file}
}

// Happened reports whether a process has come to the point.
func (f *Fault) Happened() bool { return f.Pid() > 0 }

// Pid is the process that has come to the point.
func (f *Fault) Pid() int {
	text, _ := os.ReadFile(f.file)
	pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return pid
}

// Go lets who waits at the point go on.
func (f *Fault) Go() { must(f.l.T, os.WriteFile(f.file+".go", nil, 0o644)) }

// Start starts the program, with a fault or with nil.
func (l *Lab) Start(f *Fault) {
	l.T.Helper()
	if l.Running() {
		l.T.Fatal("the program runs already")
	}
	args := []string{l.binary, "-c", l.Path("cfg.json")}
	if l.boots > 0 {
		args = append(l.bootArgs(), args...)
	}
	cmd := exec.CommandContext(context.Background(), args[0], args[1:]...) // it outlives the test's, for a while
	cmd.Dir = l.Dir
	cmd.Env = append(os.Environ(), "OPS_UPDATER_FAULT=")
	if f != nil {
		cmd.Env = append(os.Environ(), "OPS_UPDATER_FAULT="+f.Text)
	}
	out, err := os.OpenFile(l.Path("output"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	must(l.T, err)
	cmd.Stdout, cmd.Stderr = out, out
	must(l.T, cmd.Start())
	_ = out.Close()
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }()
	l.cmd, l.ended = cmd, ended
}

// Running reports whether the program runs.
func (l *Lab) Running() bool {
	if l.cmd == nil {
		return false
	}
	select {
	case <-l.ended:
		return false
	default:
		return true
	}
}

// Pid of the program.
func (l *Lab) Pid() int { return l.cmd.Process.Pid }

// Kill ends the program with SIGKILL.
func (l *Lab) Kill() {
	l.T.Helper()
	_ = l.cmd.Process.Kill()
	<-l.ended
}

// End ends the program as a service manager does.
func (l *Lab) End() {
	l.T.Helper()
	if !l.Running() {
		return
	}
	_ = l.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-l.ended:
	case <-time.After(Patience):
		_ = l.cmd.Process.Signal(syscall.SIGQUIT)
		<-l.ended
		l.T.Error("the program did not end on SIGTERM")
	}
}

// Command runs one of the program's commands and returns what it prints.
func (l *Lab) Command(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, l.binary, append([]string{"-c", l.Path("cfg.json")}, args...)...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// Await waits until ok, and fails the test when it never is.
func (l *Lab) Await(what string, ok func() bool) {
	l.T.Helper()
	if !l.AwaitFor(Patience, ok) {
		l.T.Fatalf("never: %s", what)
	}
}

// AwaitFor waits until ok, for as long as patience, and reports whether it was.
func (l *Lab) AwaitFor(patience time.Duration, ok func() bool) bool {
	for deadline := time.Now().Add(patience); !ok(); pause(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// pause lets something else go on before it is looked at again.
func pause(d time.Duration) { <-time.After(d) }

func (l *Lab) tearDown() {
	if l.T.Failed() {
		for _, name := range []string{"var/app.log", "output"} {
			data, _ := os.ReadFile(l.Path(name))
			l.T.Logf("%s:\n%s", name, data)
		}
	}
	if l.Running() {
		l.Kill()
	}
	for range 3 { // a script at work may start something meanwhile
		for _, pid := range l.Processes() {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		pause(20 * time.Millisecond)
	}
	l.liftGroup()
	for _, d := range []*Disk{l.Disk, l.Var} {
		if d != nil {
			d.unmount()
		}
	}
	if err := os.RemoveAll(l.Dir); err != nil {
		l.T.Logf("left behind: %v", err)
	}
}

// lack skips a test for want of something; with CI=true that is a failure.
func lack(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("NOT TESTED: %s", what)
	}
	t.Skipf("SKIPPED: %s", what)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Processes are all whose directory, program or arguments lie below the lab, but for
// the test itself.
func (l *Lab) Processes() (pids []int) {
	entries, err := os.ReadDir("/proc")
	must(l.T, err)
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		cwd, _ := os.Readlink(filepath.Join("/proc", e.Name(), "cwd"))
		args, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if err == nil && (strings.HasPrefix(cwd, l.Dir) || strings.Contains(string(args), l.Dir+"/")) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Alive reports whether the process is there and no zombie.
func Alive(pid int) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if errors.Is(err, os.ErrNotExist) || err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(data), ") ")
	return !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}
