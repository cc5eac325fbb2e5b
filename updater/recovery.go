package updater

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ops-updater/ops-updater/internal/faultpoint"
	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/job"
	"github.com/ops-updater/ops-updater/updater/plan"
)

// resumeTransaction finishes or undoes the transaction that the journal says is half
// done, after a restart or after our own machinery failed.
func (k *keeper) resumeTransaction(ctx context.Context) error {
	t := k.rec.Txn
	if k.isSelf() {
		return k.resumeTakeover(ctx, t)
	}
	// Once for each process: later rounds repeat what our machinery failed at, and the
	// host is where this process left it.
	if !k.resumed {
		if why := k.whyOutdated(ctx, t); why != "" {
			return k.dropTransaction(ctx, t, why)
		}
		// What another version of the sidecar interrupted by taking over was not
		// interrupted by the agent.
		if !k.e.became {
			t.Resumed++
		}
	}
	k.resumed = true
	switch t.Phase {
	case meta.PhaseDownloading, meta.PhaseStaging:
		// Nothing was stopped, and by now something else may be wanted: the next plan
		// begins anew, from the part that was kept.
		return k.endAsAbandoned(ctx, t, "interrupted before anything was stopped")
	case meta.PhaseRollingBack:
		// Never turned around, even if the new version ran by now: the previous one
		// may have been started already, and both would run (I3).
		return k.rollBack(ctx, t, t.Failure, t.Blame)
	case meta.PhaseStopping, meta.PhaseStarting, meta.PhaseProbation:
	case meta.PhaseIdle, meta.PhaseRolledBack, meta.PhaseFailed, meta.PhaseHeld:
		return k.endAsAbandoned(ctx, t, "the journal has it in phase "+string(t.Phase)+", which is no phase to resume")
	default:
		return k.endAsAbandoned(ctx, t, fmt.Sprintf("the journal has it in phase %q, which is unknown", t.Phase))
	}
	if t.Resumed > maxResumes {
		t.Code = plan.CodeInterrupted
		return k.rollBack(ctx, t, fmt.Sprintf("interrupted %d times", t.Resumed), true)
	}
	if err := k.readyToResume(ctx, t); err != nil {
		return err
	}
	over, err := k.alreadyOver(ctx, t)
	switch {
	case err != nil:
		return err
	case over:
		return k.watchProbation(ctx, t)
	}
	return k.switchOver(ctx, t)
}

// alreadyOver: the new version was started before the interruption and still
// runs. Then it is not stopped again, it only has to prove itself. The error
// says that somebody else's run of the control script was in the way.
func (k *keeper) alreadyOver(ctx context.Context, t *plan.Txn) (bool, error) {
	// With two places a look at one says nothing about the other: only stopping both
	// makes sure that one runs (I3).
	if t.Phase == meta.PhaseStopping || t.From.Place != t.To.Place && t.From.Version != "" {
		return false, nil
	}
	r, err := k.runJob(ctx, t.To.RunUser, k.newJob(job.OpObserve, t.To), nil)
	if err == nil && (r.Seen.Busy || r.Seen.OwnedBy != "") {
		return false, machineryError{errors.New(r.Seen.Status.String())}
	}
	return err == nil && r.Seen.Version == t.To.Version && r.Seen.Status.Started(), nil
}

// rollBack stops the new version and starts the previous one. Until the new
// one is certainly stopped, nothing is started beside it.
func (k *keeper) rollBack(shutdown context.Context, t *plan.Txn, why string, blame bool) error {
	ctx := context.WithoutCancel(shutdown)
	// Into the journal with the phase: whoever finishes this after a crash must give
	// the same reason and blame the same.
	t.Failure, t.Blame = why, blame
	k.mustEnterPhase(t, meta.PhaseRollingBack)
	if err := k.readyToRollBack(ctx, t); err != nil {
		return err
	}
	if err := k.stopVersionAt(ctx, t, t.To); err != nil {
		return machineryError{fmt.Errorf("cannot stop the failed version, so nothing else is started: %w", err)}
	}
	// Before the start: should the host die in between, .version names what is to run,
	// not what failed.
	if err := k.flipBack(ctx, t); err != nil {
		return err
	}
	faultpoint.Hit("sidecar.flippedBack")
	var startErr error
	if t.From.Version != "" {
		if startErr = k.startTarget(ctx, t.From); isMachinery(startErr) {
			return startErr
		}
	}
	faultpoint.Hit("sidecar.restarted")
	return k.endAsRolledBack(ctx, t, startErr)
}

// flipBack makes disk and config what they were. A disk that cannot be written
// does not keep the previous version down: it is started first, and flipping
// is tried again later.
func (k *keeper) flipBack(ctx context.Context, t *plan.Txn) error {
	if t.Act == plan.ActConfig {
		j := k.newJob(job.OpRestoreConfig, t.To)
		j.Config = remoteConfig(t.Wish.Agent)
		if _, err := k.runJob(ctx, t.To.RunUser, j, nil); err != nil {
			return machineryError{err}
		}
	}
	op, target := job.OpActivate, t.From
	switch {
	case t.From.Version == "":
		op, target = job.OpDeactivate, t.To
	case t.From.Place != t.To.Place && t.From.WorkDir != t.To.WorkDir:
		return nil // the place it comes from was never touched
	}
	_, err := k.runJob(ctx, target.RunUser, k.newJob(op, target), nil)
	je := (*job.Error)(nil)
	switch {
	case err == nil:
		k.reportVersion(t.From.Version)
		return nil
	case errors.As(err, &je) && je.Code == job.CodeIncomplete:
		// The previous version is gone: better nothing than the failed one.
		t.Failure = plan.JoinSentences(t.Failure, err.Error())
		// This calls itself once at most: without a version to go back to nothing can
		// be incomplete.
		t.From = plan.Target{}
		return k.flipBack(ctx, t)
	case op == job.OpActivate:
		// A full or read-only disk may last for days; the agent need not be down as
		// long.
		return machineryError{errors.Join(err, k.startTarget(ctx, target))}
	}
	return machineryError{err}
}

func (k *keeper) endAsRolledBack(ctx context.Context, t *plan.Txn, startErr error) error {
	now := time.Now()
	o := plan.Outcome{Phase: meta.PhaseRolledBack, Key: t.Key, Error: plan.JoinSentences(t.Failure, t.Notes), Code: t.Code}
	switch {
	case t.From.Version == "":
		o.Phase = meta.PhaseFailed
	case startErr != nil:
		o.Phase = meta.PhaseFailed
		o.Error = plan.JoinSentences(o.Error, "and the previous version did not come back: "+startErr.Error())
		// It counts as a start that did not last, so that the next ones are backed off
		// instead of made with each round.
		k.rec.Crash = k.rec.Crash.WithStart(now)
	}
	k.rec.Current = t.From.Version
	b := k.rec.AddFailure(plan.Fault{Key: t.Key, Version: t.To.Version, Reason: t.Failure, Code: t.Code, Release: t.Blame}, now)
	k.log().Error().Str("act", string(t.Act)).Str("failed", t.To.Version).Str("back", t.From.Version).
		Time("notBefore", b.Until).AnErr("start", startErr).Msg(string(o.Phase) + ": " + t.Failure)
	k.updateState(func(s *plan.State) { // a report may go out before the next look
		s.Version = t.From.Version
		if t.From.Version != "" {
			s.RunUser, s.WorkDir = t.From.RunUser, t.From.WorkDir
		}
	})
	k.tell(t.Failure, t.Code)
	k.endTransaction(ctx, t, o)
	return nil
}
