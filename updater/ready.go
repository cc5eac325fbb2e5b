package updater

import (
	"context"
	"errors"
	"fmt"

	"github.com/ops-updater/ops-updater/updater/job"
	"github.com/ops-updater/ops-updater/updater/plan"
)

// Everything that can be known is known before anything is stopped: that the
// new version can take its place on disk, that its control script can be run
// here, and that the one of the version that runs can be: without that it could
// neither be stopped properly nor come back.

// readyToSwitch is an error where stopping what runs would lead nowhere. What is
// wrong with the version that runs is never held against the new one.
func (k *keeper) readyToSwitch(ctx context.Context, t *plan.Txn) error {
	if err := k.mayExecute(t.To); err != nil {
		return err
	}
	if _, err := k.runJob(ctx, t.To.RunUser, k.newJob(job.OpReady, t.To), nil); err != nil {
		return err
	}
	if t.From.Version == "" {
		return nil
	}
	return k.readyToStop(ctx, t.From)
}

// readyToStop is an error where the control script of what runs cannot be run.
func (k *keeper) readyToStop(ctx context.Context, now plan.Target) error {
	_, err := k.runJob(ctx, now.RunUser, k.newJob(job.OpCanStop, now), nil)
	je, ok := errors.AsType[*job.Error](err)
	if !ok {
		return err
	}
	said := fmt.Sprintf("%s runs on, because it could neither be stopped properly nor come back: %s", now.Version, je.Message)
	return &job.Error{Message: said, Code: je.Code, Host: true}
}

// waitForHost turns a fault of the host's into one that only delays what must
// be finished: somebody mends the host, and no release is blamed for it.
func waitForHost(doing string, err error) error {
	if isHostFault(err) {
		return machineryError{fmt.Errorf("cannot %s: %w", doing, err)}
	}
	if isMachinery(err) {
		return err
	}
	return nil
}

// isHostFault: neither the release nor we ourselves failed, but this host.
func isHostFault(err error) bool {
	je, ok := errors.AsType[*job.Error](err)
	return ok && je.Host
}

// readyToResume is an error while the host keeps an interrupted transaction
// from being finished, whichever way.
func (k *keeper) readyToResume(ctx context.Context, t *plan.Txn) error {
	return waitForHost("go on with "+t.To.Version, k.readyToSwitch(ctx, t))
}

// readyToRollBack: what failed may still run, badly; it is not stopped before
// the previous version can be started.
func (k *keeper) readyToRollBack(ctx context.Context, t *plan.Txn) error {
	if t.From.Version == "" {
		return nil
	}
	_, err := k.runJob(ctx, t.From.RunUser, k.newJob(job.OpCanRun, t.From), nil)
	if err := waitForHost("go back to "+t.From.Version, err); err != nil {
		return err
	}
	return waitForHost("stop "+t.To.Version, k.readyToStop(ctx, t.To))
}

// restoreConfigOf brings back the file that a transaction for a changed config
// replaced, when it ends before anything was stopped.
func (k *keeper) restoreConfigOf(ctx context.Context, t *plan.Txn) error {
	if t.Act != plan.ActConfig {
		return nil
	}
	j := k.newJob(job.OpRestoreConfig, t.To)
	j.Config = remoteConfig(t.Wish.Agent)
	_, err := k.runJob(ctx, t.To.RunUser, j, nil)
	return err
}
