package agent

import (
	"context"
	"errors"
	"fmt"

	"github.com/ops-updater/ops-updater/internal/host/control"
	"github.com/ops-updater/ops-updater/internal/host/process"
)

// CanRun reports whether the control script of version can be run at all, by
// this user, here and now. It is found out before anything is stopped: first by
// looking, which can say what is wrong, then by asking for the status, because
// only the kernel has the last word. What the script answers does not matter.
func (r Runner) CanRun(ctx context.Context, version string) error {
	if !r.Dir.Complete(version) {
		return fmt.Errorf("cannot run %s %s: %s is %w", r.Dir.Name, version, r.Dir.file(version), ErrIncomplete)
	}
	if err := control.Runnable(r.Dir.file(version, scriptName), r.Env); err != nil {
		return err
	}
	r, done, err := r.takeTurn(ctx, r.Timeouts.Status)
	if err != nil {
		return err
	}
	defer done()
	_, err = r.runVerb(ctx, version, control.VerbStatus, r.Timeouts.Status)
	return err
}

// CanStop is CanRun for a version that may run: without its script it cannot be
// stopped properly, nor come back. A version of which nothing runs is not in
// the way.
func (r Runner) CanStop(ctx context.Context, version string) error {
	if !r.Dir.Complete(version) {
		return nil
	}
	err := r.CanRun(ctx, version)
	if _, unrunnable := errors.AsType[*control.Unrunnable](err); unrunnable && !r.mayRun(version) {
		return nil
	}
	return err
}

// CheckCurrent is what can be known of the version that .version names without
// running anything. Nothing is to be said about an agent that is not here.
func (r Runner) CheckCurrent() error {
	version, err := r.Dir.reachVersion()
	if err != nil || version == "" || !r.Dir.Complete(version) {
		return err
	}
	if err := r.Dir.CheckRoots(version); err != nil {
		return err
	}
	return control.Runnable(r.Dir.file(version, scriptName), r.Env)
}

func (r Runner) mayRun(version string) bool {
	left, known := process.InDirectory(r.Dir.file(version))
	if !known || len(left) > 0 {
		return true
	}
	w := r.Dir.witness(version)
	noted, alive := process.Look(w.Note.Pid)
	return alive && w.IsNoted(noted)
}

// reachVersion is the version that .version names. What this user may not look into is
// not taken for missing: the agent in there may run.
func (d Dir) reachVersion() (version string, err error) {
	version, err = d.Current()
	file := d.file(versionFile)
	if version != "" {
		file = d.file(version, scriptName)
	}
	if closed := control.CheckReach(file); closed != nil {
		return version, closed
	}
	return version, err
}
