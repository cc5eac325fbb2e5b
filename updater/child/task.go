package child

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/ops-updater/ops-updater/internal/atomicfile"
	"github.com/ops-updater/ops-updater/updater/install"
	"github.com/ops-updater/ops-updater/updater/job"
)

func (t task) performJob(ctx context.Context, report func(job.Progress)) (r job.Result, err error) {
	switch t.Op {
	case job.OpObserve:
		r.Seen, err = t.run.Observe(ctx)
	case job.OpDisown:
		t.dir.Disown(*t.Owner)
	case job.OpDigest:
		r.Install.MD5, err = install.FetchMD5(ctx, t.Install.MD5URL, t.Install.Limits, t.Install.Route)
	case job.OpClaim:
		err = t.dir.Claim(t.Version)
	case job.OpInstall:
		r.Install, err = t.installVersion(ctx, report)
	case job.OpConfig:
		if err = t.run.InTurn(ctx, noChange); err == nil {
			r.Config, err = t.fetchConfig(ctx)
		}
	case job.OpRestoreConfig:
		err = t.run.InTurn(ctx, t.restoreConfig)
	case job.OpStop:
		r.Stopped, err = t.run.Stop(ctx, t.Version)
	case job.OpEvict:
		r.Stopped, err = t.dir.Evict(ctx)
	case job.OpStart:
		err = t.run.Start(ctx, t.Version)
	case job.OpProbe:
		r.Probe = t.run.Probe(ctx, t.Version)
	case job.OpReady:
		if err = t.dir.Ready(t.Version); err == nil {
			err = t.run.CanRun(ctx, t.Version)
		}
	case job.OpCanRun:
		err = t.run.CanRun(ctx, t.Version)
	case job.OpCanStop:
		err = t.run.CanStop(ctx, t.Version)
	case job.OpVersions:
		r.Seen, err = t.run.Look()
	case job.OpTryProgram:
		err = t.tryProgram(ctx)
	case job.OpCheck:
		err = t.run.CheckCurrent()
	case job.OpActivate:
		err = t.run.InTurn(ctx, func() error { return t.dir.Activate(t.Version) })
	case job.OpDeactivate:
		err = t.run.InTurn(ctx, t.dir.Deactivate)
	case job.OpOutput:
		r.Output, err = t.dir.Output()
	case job.OpLimitOutput:
		r.Freed = t.dir.LimitOutput(t.Pid)
	case job.OpPrune:
		r.Pruned, err = t.pruneVersions(ctx)
	default:
		err = fmt.Errorf("cannot do %q: this version of ops-updater does not know it", t.Op)
	}
	return r, err
}

// noChange is what a turn is for when it is only about whose the agent is: what
// takes long waits for nobody who only asks, and has a lock of its own.
func noChange() error { return nil }

// pruneVersions waits for an install to end, whose staging directory it would remove.
func (t task) pruneVersions(ctx context.Context) ([]string, error) {
	if err := t.run.InTurn(ctx, noChange); err != nil {
		return nil, err
	}
	if _, err := os.Lstat(t.dir.Path); errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	lock, err := install.Lock(ctx, t.dir.Path)
	if err != nil {
		return nil, err
	}
	defer lock.Remove()
	return t.dir.Prune(*t.Prune)
}

// installVersion reports at most ten times a second: the reader is a person.
func (t task) installVersion(ctx context.Context, report func(job.Progress)) (job.Installed, error) {
	if err := os.MkdirAll(t.dir.Path, 0o755); err != nil {
		return job.Installed{}, fmt.Errorf("cannot make the directory of %s: %w", t.dir.Name, err)
	}
	if err := t.dir.CheckRoots(t.Version); err != nil { // somebody else may have made it first
		return job.Installed{}, err
	}
	if err := t.run.InTurn(ctx, noChange); err != nil {
		return job.Installed{}, err
	}
	var last time.Time
	var phase job.Progress
	return install.Run(ctx, *t.Install, func(p job.Progress) {
		if now := time.Now(); p.Phase != phase.Phase || now.Sub(last) >= 100*time.Millisecond {
			last, phase = now, p
			report(p)
		}
	})
}

// maxConfig bounds the copy of a config file that is kept for a rollback.
const maxConfig = 16 << 20

// fetchConfig keeps the file that it replaces until the new one has proved itself.
func (t task) fetchConfig(ctx context.Context) (job.ConfigFetched, error) {
	file, kept := t.configFiles()
	before, err := os.ReadFile(file)
	if err == nil && len(before) <= maxConfig {
		err = atomicfile.Write(kept, before, 0o600)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return job.ConfigFetched{}, fmt.Errorf("cannot keep the config of %s: %w", t.dir.Name, err)
	}
	fetched, err := install.FetchConfig(ctx, t.dir.Path, t.Version, *t.Config, t.Limits)
	if err != nil || !fetched.Changed {
		_ = os.Remove(kept)
	}
	return fetched, err
}

// restoreConfig does nothing when no file is kept.
func (t task) restoreConfig() error {
	file, kept := t.configFiles()
	err := os.Rename(kept, file)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot restore the config of %s: %w", t.dir.Name, err)
	}
	return atomicfile.SyncDir(filepath.Dir(file))
}

func (t task) configFiles() (file, kept string) {
	return filepath.Join(t.dir.Path, t.Version, t.Config.FileName), filepath.Join(t.dir.Path, ".config-before-"+t.Version)
}
