package updater

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/ops-updater/ops-updater/internal/faultpoint"
	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/job"
	"github.com/ops-updater/ops-updater/updater/plan"
)

// maxResumes is how often a transaction may be interrupted after the old
// version was stopped before it is undone: it may be what interrupts us.
const maxResumes = 3

// replaceVersion carries out a transaction from its beginning. A nil error means that
// it has ended, well or not; otherwise our own machinery failed, and the
// journal says where to go on.
func (k *keeper) replaceVersion(ctx context.Context, s plan.Situation, step plan.Step) error {
	t := &plan.Txn{Act: step.Act, Reason: step.Reason, From: step.From, To: step.To, Left: s.Left, Wish: s.Wish, Began: time.Now(), Notes: k.others}
	if t.Act == plan.ActRollback {
		t.Key = plan.RollbackKey(t.To.Version)
		return k.switchWhenReady(ctx, t)
	}
	t.Key = k.rec.ReleaseKey(s.Wish)
	k.forgetReplaced(s, t)
	if err := k.enterPhase(t, meta.PhaseDownloading); err != nil {
		return k.endAsFailed(ctx, t, err)
	}
	// In this order below: what the end of the sidecar interrupts, and what was given
	// up on purpose, has an error like any other and would be held against the
	// release.
	err := k.fetchRelease(ctx, t)
	switch {
	case ctx.Err() != nil:
		return ctx.Err() // the journal remembers; the next start begins again
	case !k.stillWanted(t):
		return k.endAsAbandoned(ctx, t, "something else is wanted by now")
	case errors.Is(err, context.Canceled):
		return k.endAsAbandoned(ctx, t, "somebody asked for a look meanwhile") // it begins again where it was
	case isOthers(err):
		return err
	case err != nil:
		return k.endAsFailed(ctx, t, err)
	}
	// Only the download told the digest of a release that is known by its address: it
	// may be one that has failed here before, under another address.
	if b, blocked := k.rec.BlockFor(t.Key, time.Now()); blocked {
		return k.endAsAbandoned(ctx, t, b.Explain())
	}
	return k.switchWhenReady(ctx, t)
}

// switchWhenReady stops nothing before everything that can be known about what
// comes after it is known.
func (k *keeper) switchWhenReady(ctx context.Context, t *plan.Txn) error {
	if k.isSelf() {
		return k.takeOver(ctx, t)
	}
	if err := k.readyToSwitch(ctx, t); ctx.Err() != nil {
		return ctx.Err()
	} else if isMachinery(err) {
		return err
	} else if err != nil {
		return k.endAsFailed(ctx, t, err)
	}
	return k.switchOver(ctx, t)
}

// enterPhase writes the intent into the journal before the act, and tells it.
func (k *keeper) enterPhase(t *plan.Txn, phase meta.Phase) error {
	t.Phase, t.Since = phase, time.Now()
	// In memory also when it cannot be written: the caller decides whether to go on,
	// and a rollback needs it either way.
	k.rec.Txn = t
	err := k.saveRecord()
	k.updateState(func(s *plan.State) {
		s.Phase, s.Since, s.Progress, s.Done, s.Total, s.Error = phase, t.Since.Unix(), 0, 0, 0, t.Failure
		s.Reason = t.Code
	})
	k.log().Info().Str("act", string(t.Act)).Str("phase", string(phase)).Str("from", t.From.Version).Str("to", t.To.Version).Msg("transaction")
	faultpoint.Hit("sidecar." + string(phase))
	return err
}

// mustEnterPhase is for phases that begin when there is no way back to doing
// nothing: with an agent stopped, a journal that cannot be written is said
// aloud and does not keep the agent down. Recovery from the phase before does
// the same again.
func (k *keeper) mustEnterPhase(t *plan.Txn, phase meta.Phase) {
	if err := k.enterPhase(t, phase); err != nil {
		k.log().Error().Err(err).Msg("going on without")
		k.tell(err.Error(), codeOf(err))
	}
}

// fetchRelease has the wanted version completed on disk, beside the running one.
func (k *keeper) fetchRelease(ctx context.Context, t *plan.Txn) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	k.mu.Lock()
	k.giveUp = cancel
	k.mu.Unlock()
	defer func() {
		k.mu.Lock()
		k.giveUp = nil
		k.mu.Unlock()
	}()
	// Whoever changed their mind before giveUp was set found nothing to give up.
	if !k.stillWanted(t) {
		return nil
	}
	r, err := k.installInTurn(ctx, t)
	if err != nil {
		return err
	}
	if source := t.Wish.Agent.MD5URL(t.Wish.Dialect, k.e.currentConfig().Arch); source != "" && r.Install.MD5 != "" {
		k.rec.Learned = plan.Learned{Source: plan.AddressDigest(source), MD5: strings.ToLower(r.Install.MD5)}
		t.Key = k.rec.ReleaseKey(t.Wish)
	}
	k.noteProofs(t, r.Install)
	return nil
}

// dropSuspect removes a directory of the wanted version that failed before: it
// is kept until then for those who look for the reason, but a digest that is
// tried again is also downloaded again.
func (k *keeper) dropSuspect(ctx context.Context, t *plan.Txn) error {
	if t.To.Version == t.From.Version || !k.rec.FailedBefore(t.To.Version) {
		return nil
	}
	return k.pruneVersions(ctx, t.To.Place, t.To.Version)
}

func (k *keeper) installJob(t *plan.Txn) job.Job {
	cfg := k.e.currentConfig()
	a := t.Wish.Agent
	j := k.newJob(job.OpInstall, t.To)
	j.Install = &job.Install{
		Agent: a.Name, Version: a.Version, Dir: j.Dir.Path,
		MD5: a.MD5Digest(t.Wish.Dialect), SHA256: strings.ToLower(a.SHA256), MD5URL: a.MD5URL(t.Wish.Dialect, cfg.Arch),
		Size: a.Size, Config: k.verifiedConfig(a), Limits: cfg.Limits, Route: cfg.Route,
		Tarballs: a.TarballURLs(t.Wish.Dialect, cfg.Arch), // a version that is there needs none
	}
	j.Install.Verify, j.Install.Anew = k.verifyRelease(t)
	return j
}

func remoteConfig(a meta.DesiredAgent) *job.RemoteConfig {
	if a.ConfigFileName == "" || a.ConfigRemoteURL == "" {
		return nil
	}
	return &job.RemoteConfig{FileName: a.ConfigFileName, URL: a.ConfigRemoteURL}
}

func (k *keeper) reportProgress(t *plan.Txn, p job.Progress) {
	if p.Phase == meta.PhaseStaging && t.Phase == meta.PhaseDownloading {
		k.mustEnterPhase(t, meta.PhaseStaging)
	}
	k.updateState(func(s *plan.State) {
		s.Done, s.Total = p.Done, p.Total
		if p.Total > 0 {
			s.Progress = min(float64(p.Done)/float64(p.Total), 1)
		}
	})
}

// stillWanted: neither the server nor an operator changed their mind.
func (k *keeper) stillWanted(t *plan.Txn) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.wish == t.Wish && k.e.holds.holdOf(k.name) == nil
}

// switchOver stops the old version and starts the new one. It is not
// interrupted by the end of the sidecar: what is stopped is also started.
func (k *keeper) switchOver(shutdown context.Context, t *plan.Txn) error {
	// Between stop and start nothing runs. A SIGTERM there, such as of a reboot, would
	// leave the host without its agent until the sidecar is back.
	ctx := context.WithoutCancel(shutdown)
	// Taken up again, the old version may have been stopped and, in another place, the
	// new one started, whatever the journal could still be told: nobody may be told
	// that what ran runs on, and start it beside the new one (I3).
	resumed := t.Resumed > 0
	if resumed {
		k.mustEnterPhase(t, t.Phase)
	} else if err := k.enterPhase(t, meta.PhaseStopping); err != nil {
		return k.endAsFailed(ctx, t, err)
	}
	if err := k.stopOld(ctx, t); isMachinery(err) {
		return err
	} else if err != nil && resumed && t.From.Place != t.To.Place {
		return machineryError{err}
	} else if err != nil {
		return k.endAsFailed(ctx, t, err)
	}
	faultpoint.Hit("sidecar.stopped")
	k.fallBackOnProven(t)
	// From here on nobody may be told that nothing was stopped: whoever finishes this
	// must start something.
	k.mustEnterPhase(t, meta.PhaseStarting)
	if _, err := k.runJob(ctx, t.To.RunUser, k.newJob(job.OpActivate, t.To), nil); isMachinery(err) {
		return err
	} else if err != nil {
		t.Code = codeOf(err)
		// That .version cannot be written says nothing about the release: no blame.
		return k.rollBack(ctx, t, err.Error(), false)
	}
	faultpoint.Hit("sidecar.activated")
	k.reportVersion(t.To.Version)
	if err := k.startTarget(ctx, t.To); isMachinery(err) {
		return err
	} else if err != nil {
		t.Code = cmp.Or(codeOf(err), plan.CodeNotStarted)
		// A release that this host cannot run, or that nobody vouched for, must not be in
		// quarantine once that is mended.
		return k.rollBack(ctx, t, err.Error(), !isHostFault(err) && !plan.IsSignatureCode(t.Code))
	}
	faultpoint.Hit("sidecar.started")
	return k.watchProbation(shutdown, t)
}

// reportVersion says what .version names now; the next look comes later.
func (k *keeper) reportVersion(version string) {
	k.updateState(func(s *plan.State) { s.Version = version })
}

// fallBackOnProven: what was superseded on probation has not proved itself, so
// a rollback passes it over and returns to the version before it. It has been
// stopped by now.
func (k *keeper) fallBackOnProven(t *plan.Txn) {
	unproven := k.rec.Unproven != "" && t.From.Version == k.rec.Unproven && t.From.Place == t.To.Place
	if unproven && k.rec.Previous != "" && k.rec.Previous != t.To.Version {
		t.From.Version = k.rec.Previous
	}
}

// stopOld makes sure that nothing of the agent runs, neither in the place that
// it leaves nor in the one that it goes to.
func (k *keeper) stopOld(ctx context.Context, t *plan.Txn) error {
	if t.Left != (plan.Place{}) {
		if err := k.evictPlace(ctx, t); err != nil {
			return err
		}
	}
	if t.From.Version != "" {
		if err := k.stopVersionAt(ctx, t, t.From); err != nil {
			return err
		}
	}
	// Where nothing is installed as far as .version says, something of an earlier
	// install may run all the same; two of one agent never do (I3).
	if t.From.Version == "" || t.From.Place != t.To.Place {
		return k.stopVersionAt(ctx, t, t.To)
	}
	return nil
}

// evictPlace ends what root runs in a place whose control script others can change.
func (k *keeper) evictPlace(ctx context.Context, t *plan.Txn) error {
	r, err := k.runJob(ctx, t.Left.RunUser, k.newJob(job.OpEvict, plan.Target{Place: t.Left}), nil)
	if err == nil && len(r.Stopped.Killed) > 0 {
		t.Notes = plan.JoinSentences(t.Notes, r.Stopped.String())
		k.log().Warn().Ints("killed", r.Stopped.Killed).Msg(r.Stopped.String())
	}
	return err
}

func (k *keeper) stopVersionAt(ctx context.Context, t *plan.Txn, old plan.Target) error {
	r, err := k.runJob(ctx, old.RunUser, k.newJob(job.OpStop, old), nil)
	if err != nil {
		return err
	}
	if r.Stopped.String() != "" {
		if len(r.Stopped.Killed) > 0 || r.Stopped.Spared != "" || t.Phase != meta.PhaseRollingBack { // else why it failed says as much
			t.Notes = plan.JoinSentences(t.Notes, r.Stopped.String())
		}
		k.log().Warn().Ints("killed", r.Stopped.Killed).Msg(r.Stopped.String())
	}
	k.updateState(func(s *plan.State) { s.Status, s.Timestamp = meta.StatusStopped, time.Now().Unix() })
	return nil
}

// commitTransaction ends a transaction with the new version in place: because it has
// proved itself, or because it was superseded before it could.
func (k *keeper) commitTransaction(ctx context.Context, t *plan.Txn, how string) error {
	faultpoint.Hit("sidecar.proved")
	// A new config for the same version leaves where a rollback goes.
	if t.From.Version != "" && t.From.Version != t.To.Version {
		k.rec.Previous = t.From.Version
	}
	if t.Act == plan.ActRollback {
		k.rec.Previous = "" // what we came from is what the operator did not want
	}
	k.rec.At, k.rec.Current, k.rec.Config, k.rec.Crash = t.To.Place, t.To.Version, t.Config, plan.CrashLog{}
	// A release can be blocked by what it is and by where it came from: having run
	// disproves both.
	k.rec.Unblock(t.Key)
	k.rec.Unblock(k.rec.FetchKey(t.Wish))
	trusted, _ := k.e.trustNow()
	k.rec.Unblock(k.rec.SignatureKey(t.Wish, trusted))
	k.log().Info().Str("act", string(t.Act)).Str("from", t.From.Version).Str("to", t.To.Version).Dur("took", time.Since(t.Began)).Msg("committed: " + how)
	k.endTransaction(ctx, t, plan.Outcome{Phase: meta.PhaseIdle, Error: t.Notes, Code: t.NoteCode})
	return nil
}

// endAsFailed ends a transaction before anything was stopped: the old version runs
// on.
func (k *keeper) endAsFailed(ctx context.Context, t *plan.Txn, cause error) error {
	if err := k.restoreConfigOf(ctx, t); err != nil {
		cause = errors.Join(cause, err)
	}
	release := false
	if je := (*job.Error)(nil); errors.As(cause, &je) {
		release = je.Permanent
	}
	key := t.Key
	// What failed is this source, not the content: the same release from a mended
	// address is tried at once.
	if t.Phase == meta.PhaseDownloading || t.Phase == meta.PhaseStaging {
		key = k.rec.FetchKey(t.Wish)
		if plan.IsSignatureCode(codeOf(cause)) {
			trusted, _ := k.e.trustNow()
			key = k.rec.SignatureKey(t.Wish, trusted)
		}
	}
	b := k.rec.AddFailure(plan.Fault{Key: key, Version: t.To.Version, Reason: cause.Error(), Code: codeOf(cause), Release: release}, time.Now())
	k.log().Error().Err(cause).Str("act", string(t.Act)).Str("to", t.To.Version).Time("notBefore", b.Until).Msg("failed; what ran runs on")
	k.tell(cause.Error(), codeOf(cause))
	k.endTransaction(ctx, t, plan.Outcome{Phase: meta.PhaseFailed, Key: key, Code: codeOf(cause), Error: plan.JoinSentences(cause.Error(), t.Notes)})
	return nil
}

// endAsAbandoned ends a transaction before anything was stopped, without blame.
func (k *keeper) endAsAbandoned(ctx context.Context, t *plan.Txn, why string) error {
	k.log().Info().Str("act", string(t.Act)).Str("to", t.To.Version).Msg("given up: " + why)
	k.endTransaction(ctx, t, k.rec.Last)
	return nil
}

// endTransaction writes the outcome, then cleans up, then has it reported.
func (k *keeper) endTransaction(ctx context.Context, t *plan.Txn, o plan.Outcome) {
	o.Version, o.At, o.Rollout, o.Since = t.To.Version, t.To.Place, t.Wish.Agent.Rollout, time.Now()
	k.rec.Last, k.rec.Txn = o, nil
	k.rec.NoteElsewhere(t.From, t.To)
	// The next look must not take our own change of .version for somebody else's.
	k.last, k.others = plan.Target{}, ""
	k.updateState(func(s *plan.State) {
		s.Phase, s.Error, s.Reason, s.Since, s.Progress = o.Phase, o.Error, o.Code, o.Since.Unix(), 0
		s.Blocks, s.PreviousVersion = slices.Clone(k.rec.Blocks), k.rec.Previous
	})
	k.saveRecordOrLog()
	faultpoint.Hit("sidecar.ended")
	if ended := k.e.currentConfig().Ended; ended != nil {
		ended(t.Act, o.Phase)
	}
	// After the outcome is on disk: a crash in between leaves rubbish, the other way
	// round a journal that goes back to a version which is gone.
	k.cleanUp(ctx, k.rec.At)
	k.e.wakeHeartbeat()
}
