package updater

import (
	"cmp"
	"context"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/job"
	"github.com/ops-updater/ops-updater/updater/plan"
)

// startVersion starts the version that is there. That it is done is noted first, so
// that a crash that takes the host with it is backed off, too.
func (k *keeper) startVersion(ctx context.Context, s plan.Situation, step plan.Step) error {
	k.rec.Crash = k.rec.Crash.WithStart(time.Now())
	k.saveRecordOrLog()
	// Not cut off: a script that is ended halfway leaves nobody knows what running.
	err := k.startTarget(context.WithoutCancel(ctx), step.To)
	if isMachinery(err) {
		return err
	}
	if err != nil {
		k.recordOutcome(plan.Outcome{Phase: meta.PhaseFailed, Version: step.To.Version, Error: err.Error(), Code: cmp.Or(codeOf(err), plan.CodeNotStarted)})
		return nil
	}
	k.log().Info().Str("version", step.To.Version).Int("starts", k.rec.Crash.Starts).Msg("started")
	said := ""
	if stranger := s.Seen.Status.Detail; stranger != "" {
		said = "it was started again: " + stranger
	}
	if was := k.rec.Last.Phase; was == meta.PhaseFailed || was == meta.PhaseIdle && said != "" {
		k.recordOutcome(plan.Outcome{Phase: meta.PhaseIdle, Version: step.To.Version, Error: said})
	}
	k.e.wakeHeartbeat()
	return nil
}

// restoreVersion makes .version name again what it named before it was lost or damaged.
// What runs is not touched.
func (k *keeper) restoreVersion(ctx context.Context, step plan.Step) error {
	if _, err := k.runJob(ctx, step.To.RunUser, k.newJob(job.OpActivate, step.To), nil); err != nil {
		return err
	}
	k.log().Warn().Str("version", step.To.Version).Msg("restored: " + step.Reason)
	k.tell("restored: "+step.Reason, step.Code)
	k.last = plan.Target{} // the next look must not take our own change for somebody else's
	k.e.wakeHeartbeat()
	return nil
}

// stopVersion stops what runs; its directory stays.
func (k *keeper) stopVersion(ctx context.Context, step plan.Step) error {
	ctx = context.WithoutCancel(ctx)
	var r job.Result
	err := k.readyToStop(ctx, step.From)
	if err == nil {
		// Whoever does not know that a stop is wanted, and is told of an agent that runs,
		// would have it started again.
		k.updateState(func(s *plan.State) { s.Phase = meta.PhaseStopping })
		r, err = k.runJob(ctx, step.From.RunUser, k.newJob(job.OpStop, step.From), nil)
	}
	if isMachinery(err) {
		return err
	}
	if err != nil {
		// Backed off, or an agent that will not stop would be sent signals with every
		// round.
		k.rec.AddFailure(plan.Fault{Key: plan.StopKey(step.From.Version), Version: "stop of " + step.From.Version, Reason: err.Error(), Code: codeOf(err)}, time.Now())
		k.recordOutcome(plan.Outcome{Phase: meta.PhaseFailed, Version: step.From.Version, Error: err.Error(), Code: codeOf(err)})
		return nil
	}
	k.rec.Unblock(plan.StopKey(step.From.Version))
	k.rec.Crash = plan.CrashLog{}
	if r.Stopped.String() != "" {
		k.log().Warn().Ints("killed", r.Stopped.Killed).Msg(r.Stopped.String())
	}
	k.log().Info().Str("version", step.From.Version).Msg("stopped")
	k.recordOutcome(plan.Outcome{Phase: meta.PhaseIdle, Version: step.From.Version, Error: r.Stopped.String()})
	return nil
}

// checkConfig fetches the remote config; when it changed, the agent is
// restarted with it in a transaction, whose rollback brings the old file back.
// A failed fetch is reported and changes nothing.
func (k *keeper) checkConfig(ctx context.Context, s plan.Situation, step plan.Step) error {
	// Whatever comes of it: a server that is away is not asked with each round.
	k.configAt = time.Now()
	j := k.newJob(job.OpConfig, step.To)
	j.Config, j.Limits = k.verifiedConfig(s.Wish.Agent), k.e.currentConfig().Limits
	if j.Config != nil {
		j.Config.Route = k.e.currentConfig().Route
	}
	r, err := k.runJob(ctx, step.To.RunUser, j, nil)
	if ctx.Err() != nil {
		return nil
	}
	if isOthers(err) {
		return err
	}
	if err != nil {
		k.configFailed(step, "cannot refresh "+s.Wish.Agent.ConfigFileName+": "+err.Error(), codeOf(err))
		return nil
	}
	key := plan.ConfigDigestKey(r.Config.Digest)
	if b, blocked := k.rec.BlockFor(key, time.Now()); blocked && r.Config.Changed {
		// The job has put the new file in place already. What its content did before
		// is known, so the old one is back before anybody starts with it.
		j.Op = job.OpRestoreConfig
		_, err := k.runJob(ctx, step.To.RunUser, j, nil)
		k.configFailed(step, b.Explain(), b.Code)
		return err
	}
	if !r.Config.Changed && (k.rec.Config == "" || k.rec.Config == r.Config.Digest) {
		k.configFailed(step, "", "")
		if k.rec.Config != r.Config.Digest {
			k.rec.Config = r.Config.Digest
			k.saveRecordOrLog()
		}
		return nil
	}
	t := &plan.Txn{
		Act: plan.ActConfig, Reason: s.Wish.Agent.ConfigFileName + " changed", From: step.From, To: step.To,
		Wish: s.Wish, Key: key, Config: r.Config.Digest, Began: time.Now(),
	}
	k.noteUnverified(t, r.Config.Proof)
	return k.switchWhenReady(ctx, t)
}

// digestPatience is how many times as seldom as a remote config a quarantined
// release is looked at, when its digest is only known from the server.
const digestPatience = 5

// hasNewDigest looks whether the release that is in quarantine has another digest
// by now; then it is another release. A lookup that fails changes nothing.
func (k *keeper) hasNewDigest(ctx context.Context, s plan.Situation, step plan.Step) bool {
	w := s.Wish
	source := w.Agent.MD5URL(w.Dialect, k.e.currentConfig().Arch)
	if step.Block == nil || !step.Block.Quarantine || w.Agent.SHA256 != "" || source == "" || k.rec.Learned.Source != plan.AddressDigest(source) ||
		s.Now.Sub(k.digestAt) < digestPatience*k.e.currentConfig().ConfigEvery || s.Now.Sub(k.rec.Last.Since) < k.e.currentConfig().ConfigEvery {
		return false
	}
	k.digestAt = s.Now
	j := k.newJob(job.OpDigest, plan.Target{Place: w.Place})
	j.Install = &job.Install{MD5URL: source, Limits: k.e.currentConfig().Limits, Route: k.e.currentConfig().Route}
	r, err := k.runJob(ctx, w.Place.RunUser, j, nil)
	if err != nil || r.Install.MD5 == "" || r.Install.MD5 == k.rec.Learned.MD5 {
		return false
	}
	k.log().Info().Str("version", w.Agent.Version).Str("was", k.rec.Learned.MD5).Str("md5", r.Install.MD5).Msg("the release was published again; its quarantine does not apply any more")
	k.rec.Learned.MD5 = r.Install.MD5
	k.saveRecordOrLog()
	return true
}

// configFailed reports why the config is not as wanted, and its code, or with "" that it is.
func (k *keeper) configFailed(step plan.Step, why, code string) {
	last := k.rec.Last
	if last.Phase != meta.PhaseIdle || last.Error == why {
		return
	}
	if why != "" {
		k.log().Warn().Msg(why)
	}
	k.recordOutcome(plan.Outcome{Phase: meta.PhaseIdle, Version: step.To.Version, Error: why, Code: code})
}

// recordOutcome notes how something that is no transaction ended.
func (k *keeper) recordOutcome(o plan.Outcome) {
	o.Since = time.Now()
	k.rec.Last = o
	if o.Phase == meta.PhaseFailed {
		k.tell(o.Error, o.Code)
		k.log().Error().Str("version", o.Version).Msg(o.Error)
	}
	k.saveRecordOrLog()
	k.e.wakeHeartbeat()
}
