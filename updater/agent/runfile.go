package agent

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/ops-updater/ops-updater/internal/host/control"
	"github.com/ops-updater/ops-updater/internal/host/process"
)

// While a control script starts or stops an agent, .control.run says which
// process it is and which child waits for it. When that child is killed, the
// script lives on, and would start or stop the agent behind the back of
// whoever comes next: the next turn ends it. Questions leave no note, so that
// asking writes nothing; they die with the child that asked.

// orphanPatience bounds the wait for a killed script to be gone.
const orphanPatience = 5 * time.Second

// maxRunFile is far more than a note takes.
const maxRunFile = 4 << 10

// scriptRun is a control script at work.
type scriptRun struct {
	Verb    string     `json:"verb"`
	Version string     `json:"version"`
	Since   time.Time  `json:"since"`
	Script  process.ID `json:"script"`
	Owner   process.ID `json:"owner"` // the child that waits for it; none in the notes of older sidecars
}

func (s *scriptRun) String() string {
	what := "control " + s.Verb + " of " + s.Version
	if s.Verb == "" {
		what = "a control script (pid " + strconv.Itoa(s.Script.Pid) + ")"
	}
	by := "pid " + strconv.Itoa(s.Owner.Pid)
	if s.Owner.Pid == 0 {
		by = "a sidecar of an older version, pid " + strconv.Itoa(process.Parent(s.Script.Pid))
	}
	if s.Since.IsZero() {
		return what + " is being run by " + by
	}
	return what + " is being run by " + by + " since " + control.Roundly(max(time.Since(s.Since), 0))
}

// isLeftover reports whether whoever waited for the script is gone.
func (s *scriptRun) isLeftover() bool {
	if s.Owner.Pid != 0 {
		return s.Owner.Pid == os.Getpid() || !s.Owner.Alive()
	}
	parent := process.Parent(s.Script.Pid)
	return parent == os.Getpid() || !isChild(parent)
}

// noteRun is best effort: on a full disk the agent must still be started and
// stopped.
func (d Dir) noteRun(pid int, job ControlJob) {
	note, err := json.Marshal(scriptRun{
		Verb: job.Verb, Version: job.Version, Since: time.Now(), Script: process.Identify(pid), Owner: process.Identify(os.Getpid()),
	})
	if err != nil {
		return
	}
	const flags = os.O_WRONLY | os.O_CREATE | os.O_TRUNC | syscall.O_NOFOLLOW | syscall.O_NONBLOCK
	f, err := os.OpenFile(d.file(runFile), flags, 0o644)
	if err != nil {
		return
	}
	_, _ = f.Write(append(note, '\n'))
	_ = f.Close()
}

func (d Dir) forgetRun() { _ = os.Remove(d.file(runFile)) }

// scriptAtWork is what the note says, and whether that script still runs; nil
// without a note.
func (d Dir) scriptAtWork() (run *scriptRun, running bool) {
	f, err := os.OpenFile(d.file(runFile), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, false
	}
	defer func() { _ = f.Close() }()
	if fi, err := f.Stat(); err != nil || !fi.Mode().IsRegular() {
		return nil, false
	}
	text, err := io.ReadAll(io.LimitReader(f, maxRunFile))
	if err != nil {
		return nil, false
	}
	run = parseRun(text)
	return run, run.Script.Pid > 1 && run.Script.Alive()
}

// parseRun also reads the notes of older sidecars, a process number and its
// start time. What it does not understand names no process.
func parseRun(text []byte) *scriptRun {
	var run scriptRun
	if json.Unmarshal(text, &run) == nil {
		return &run
	}
	run = scriptRun{}
	if words := strings.Fields(string(text)); len(words) == 2 {
		run.Script.Pid, _ = strconv.Atoi(words[0])
		run.Script.Start, run.Script.Boot = words[1], process.Boot()
	}
	return &run
}

// endLeftover kills the process group of a script that nobody waits for.
func (d Dir) endLeftover(run *scriptRun) error {
	_ = syscall.Kill(-run.Script.Pid, syscall.SIGKILL)
	if !process.PollUntil(orphanPatience, func() bool { return !run.Script.Alive() }) {
		return fmt.Errorf("cannot end control script %d of %s, which an earlier run left", run.Script.Pid, d.Name)
	}
	d.forgetRun()
	return nil
}
