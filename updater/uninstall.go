package updater

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/rs/zerolog"

	"github.com/ops-updater/ops-updater/internal/plainfile"
	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/config"
	"github.com/ops-updater/ops-updater/updater/local"
	"github.com/ops-updater/ops-updater/updater/plan"
	"github.com/ops-updater/ops-updater/updater/takeover"
)

// UnitFile is where a script, or a person, puts the sidecar's systemd unit; packages have
// theirs elsewhere.
const UnitFile = "/etc/systemd/system/ops-updater.service"

// HasEnded reports whether no sidecar has the var directory any more. One that no longer
// answers may still be at work: it starts what it has stopped before it ends.
func HasEnded(varDir string) bool {
	if _, err := os.Stat(varDir); err != nil {
		return true
	}
	lock, err := lockVar(varDir, nil)
	if errors.Is(err, ErrRunning) {
		return false
	}
	if err == nil {
		lock.release()
	}
	return true
}

// StopAgents stops every agent of this host, held or not, without a sidecar: it refuses to
// run beside one ([ErrRunning]). What does not stop is an error that names it.
func StopAgents(ctx context.Context, c config.Config, log zerolog.Logger, show func([]Progress)) error {
	lock, err := lockVar(c.VarDir, nil)
	if err != nil {
		return err
	}
	defer lock.release()
	believed, _ := openBelief(c, ownState, log)
	engine, err := NewEngine(believed.lendKeys(NewEngineConfig(c, log)))
	if err != nil {
		return err
	}
	for _, k := range engine.allKeepers() {
		if engine.holds.holdOf(k.name) != nil {
			if err := engine.Unhold(k.name); err != nil {
				return err
			}
		}
	}
	stopped := engine.allStopped() // before keepers run, whose records it reads
	work, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- engine.Run(work) }()
	err = engine.Apply(stopped)
	if err == nil {
		engine.waitForLooks(ctx)
		err = watchUntilSettled(ctx, engine, show)
	}
	stop()
	if err = errors.Join(err, <-ended); err != nil {
		return err
	}
	var failed []error
	for _, s := range engine.States() {
		if s.Name != plan.SelfName && s.Version != "" && !s.Seen.Status.Stopped() {
			failed = append(failed, fmt.Errorf("%s %s is not stopped: %s", s.Name, s.Version, plan.JoinSentences(s.Seen.Status.String(), s.Error, s.Step.Reason)))
		}
	}
	return errors.Join(failed...)
}

// allStopped is what was wanted last, with everything stopped, also what is wanted no more.
func (e *Engine) allStopped() plan.Desired {
	e.mu.Lock()
	defer e.mu.Unlock()
	d := plan.Desired{Dialect: e.desired.Dialect, Mark: e.desired.Mark}
	for _, a := range e.desired.Agents {
		if a.Name != plan.SelfName {
			a.Cmd = meta.CmdStop
			d.Agents = append(d.Agents, a)
		}
	}
	for name, k := range e.keepers {
		listed := slices.ContainsFunc(d.Agents, func(a meta.DesiredAgent) bool { return a.Name == name })
		if listed || name == plan.SelfName || k.rec.At == (plan.Place{}) {
			continue
		}
		d.Agents = append(d.Agents, meta.DesiredAgent{Name: name, Version: k.rec.Current, RunUser: k.rec.At.RunUser, WorkDir: k.rec.At.WorkDir, Cmd: meta.CmdStop})
	}
	return d
}

// Installation is what lies on this host of the sidecar itself.
type Installation struct {
	Files []string // and directories, that are the sidecar's alone
	Unit  bool     // one of Files is its systemd unit
	// Left are directories of agents. They belong to those, with what they keep there.
	Left []string

	dirs []string // that go when they are empty
}

// ownFiles are what a sidecar keeps in its var directory.
var ownFiles = []string{
	journalName, desiredName, holdsName, heardName, takeover.StateName, "takeover.lock", "watcher.lock", LogName, "app-*.log*", crashName, pidName, lockName,
	local.SocketName, "credential", "*" + plainfile.AsideMark + "*", ".*.tmp-*",
}

// FindInstallation looks for what a sidecar with c has on this host.
func FindInstallation(c config.Config) (Installation, error) {
	program, err := os.Executable()
	if err != nil {
		return Installation{}, err
	}
	if s, err := takeover.Load(c.VarDir); err == nil && s.Installed.Path != "" {
		program = s.Installed.Path
	}
	var found Installation
	add := func(paths ...string) {
		for _, path := range paths {
			if _, err := os.Lstat(path); err == nil && !slices.Contains(found.Files, path) {
				found.Files = append(found.Files, path)
			}
		}
	}
	if unit, err := os.ReadFile(UnitFile); err == nil && bytes.Contains(unit, []byte(program)) && bytes.Contains(unit, []byte(c.Path)) {
		found.Unit = true
		add(UnitFile)
	}
	// Only what is ours by name: a var_dir may be anything, also the directory of agents.
	for _, pattern := range ownFiles {
		files, _ := filepath.Glob(filepath.Join(c.VarDir, pattern))
		add(files...)
	}
	found.dirs = append(found.dirs, c.VarDir)
	// Its own versions; the directory of a sidecar may have that name, too.
	own := filepath.Join(c.WorkDir, plan.SelfName)
	_, named := os.Lstat(filepath.Join(own, ".version"))
	if _, configured := os.Lstat(filepath.Join(own, "cfg.json")); named == nil && errors.Is(configured, fs.ErrNotExist) && own != c.VarDir {
		add(own)
	}
	if dir := filepath.Dir(c.Path); filepath.Dir(program) == dir { // as ./control has it
		add(filepath.Join(dir, "control"), filepath.Join(dir, "cfg.example.json"))
	}
	if c.TLS.CAFile == filepath.Join(filepath.Dir(c.Path), "ca.pem") { // as the install script has it
		add(c.TLS.CAFile)
	}
	add(c.Path, program)
	found.dirs = append(found.dirs, filepath.Dir(c.Path))
	entries, err := os.ReadDir(filepath.Join(c.VarDir, journalName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return found, err
	}
	e, err := openEngine(NewEngineConfig(c, zerolog.Nop()), readState)
	if err != nil || len(entries) == 0 {
		return found, nil //nolint:nilerr // no agent is known
	}
	for _, k := range e.allKeepers() {
		if at := k.rec.At.WorkDir; at != "" && k.name != plan.SelfName {
			found.Left = append(found.Left, filepath.Join(at, k.name))
		}
	}
	return found, nil
}

// Remove takes the files away, and the directories of programs and configuration that are
// empty then. What cannot be removed is in the error; the rest is gone all the same.
func (i Installation) Remove() error {
	var failed []error
	for _, path := range i.Files {
		if err := os.RemoveAll(path); err != nil {
			failed = append(failed, err)
		}
	}
	for _, dir := range i.dirs {
		if dir != filepath.Dir(dir) {
			_ = os.Remove(dir) // only when it is empty
		}
	}
	return errors.Join(failed...)
}
