package rollout

import (
	"fmt"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
)

// Create begins r, whose immutable part the caller has filled in: as a draft,
// or with its first stage.
func Create(r api.Rollout, draft bool, now time.Time) (api.Rollout, Step) {
	r.Progress = make([]api.StageCount, len(r.Strategy.Stages))
	r.CreatedAt, r.State = now, api.RolloutDraft
	if draft {
		return stepTo(r, api.RolloutDraft, ReasonCreated, now, "a draft: approve it to begin")
	}
	return enterStage(r, 0, now, "")
}

// Approve lets a draft begin, or the stage that waits for approval.
func Approve(r api.Rollout, now time.Time) (api.Rollout, Step, error) {
	switch r.State {
	case api.RolloutDraft:
		r.Approved = 1
		r, s := enterStage(r, 0, now, "approved; ")
		return r, s, nil
	case api.RolloutAwaitingApproval:
		r.Approved = r.Stage + 1
		r, s := enterStage(r, r.Stage, now, "approved; ")
		s.Reason, r.Reason = ReasonApproved, string(ReasonApproved)
		return r, s, nil
	case api.RolloutRunning, api.RolloutPaused, api.RolloutInconclusive,
		api.RolloutRollingBack, api.RolloutAborted, api.RolloutCompleted:
	}
	return r, Step{}, refuseAction(r, "approve", "it does not wait for approval")
}

// Pause stops new grants. Hosts that were granted go on.
func Pause(r api.Rollout, now time.Time) (api.Rollout, Step, error) {
	switch r.State {
	case api.RolloutRunning, api.RolloutAwaitingApproval:
		r.SettledAt = nil
		r, s := stepTo(r, api.RolloutPaused, ReasonPaused, now, "no new hosts are granted; resume to go on")
		return r, s, nil
	case api.RolloutDraft, api.RolloutPaused, api.RolloutInconclusive,
		api.RolloutRollingBack, api.RolloutAborted, api.RolloutCompleted:
	}
	return r, Step{}, refuseAction(r, "pause", "only a running rollout can be paused")
}

// Resume goes on with a paused or inconclusive rollout. The operator has seen
// the failures so far: they no longer count against the thresholds, and give
// their places in a count stage to other hosts. Resuming an inconclusive
// rollout also takes its stage as passed.
func Resume(r api.Rollout, now time.Time) (api.Rollout, Step, error) {
	switch r.State {
	case api.RolloutInconclusive:
		r.Waived = r.Stage + 1
	case api.RolloutPaused:
	case api.RolloutDraft, api.RolloutAwaitingApproval, api.RolloutRunning,
		api.RolloutRollingBack, api.RolloutAborted, api.RolloutCompleted:
		return r, Step{}, refuseAction(r, "resume", "only a paused or inconclusive rollout can be resumed")
	}
	r = forgiveFailures(r)
	since := r.StageSince
	r, s := enterStage(r, r.Stage, now, "resumed; ")
	r.StageSince = since
	if s.Reason == ReasonStageStarted {
		s.Reason, r.Reason = ReasonResumed, string(ReasonResumed)
		s.Message = fmt.Sprintf("resumed in stage %s", stageName(r, r.Stage))
	}
	return r, s, nil
}

func forgiveFailures(r api.Rollout) api.Rollout {
	r = cloneProgress(r)
	for i := range r.Progress {
		r.Progress[i].Forgiven = r.Progress[i].Failed
	}
	last := len(r.Progress) - 1
	r.FailedBefore, r.JudgedBefore = sumOver(r, last, failedHosts), sumOver(r, last, judgedHosts)
	return r
}

// Abort ends a rollout: no host is granted any more. Hosts that were granted
// keep what they were granted, until a rollback or a new rollout.
func Abort(r api.Rollout, now time.Time) (api.Rollout, Step, error) {
	switch r.State {
	case api.RolloutDraft, api.RolloutAwaitingApproval, api.RolloutRunning, api.RolloutPaused,
		api.RolloutInconclusive, api.RolloutRollingBack:
		r, s := stepTo(r, api.RolloutAborted, ReasonAborted, now, "aborted: nothing more is granted; what was granted stays")
		return r, s, nil
	case api.RolloutAborted, api.RolloutCompleted:
	}
	return r, Step{}, refuseAction(r, "abort", "it has ended")
}

// Rollback returns every host that r reached to the previous release, by a
// new rollout. One that has completed stays completed.
func Rollback(r api.Rollout, now time.Time) (api.Rollout, Step, error) {
	to := api.RolloutRollingBack
	switch r.State {
	case api.RolloutRunning, api.RolloutPaused, api.RolloutInconclusive, api.RolloutAwaitingApproval, api.RolloutAborted:
	case api.RolloutCompleted:
		to = api.RolloutCompleted
	case api.RolloutDraft:
		return r, Step{}, refuseAction(r, "roll back", "it has not begun; abort it")
	case api.RolloutRollingBack:
		return r, Step{}, refuseAction(r, "roll back", "it already does")
	}
	if r.State == api.RolloutAborted && r.Reason == string(ReasonRolledBack) {
		return r, Step{}, refuseAction(r, "roll back", "its hosts were taken back to "+r.Previous+" already")
	}
	if r.Previous == "" || r.Previous == r.Version {
		return r, Step{}, refuseAction(r, "roll back", "there was no release before it; deploy the one that is wanted")
	}
	r, s := stepTo(r, to, ReasonRollback, now, "going back to "+r.Previous)
	s.Effect = EffectRollback
	return r, s, nil
}

// RollbackEnded ends r when the rollout that rolled it back has ended.
func RollbackEnded(r, child api.Rollout, now time.Time) (api.Rollout, Step) {
	switch {
	case r.State != api.RolloutRollingBack || child.State != api.RolloutAborted && child.State != api.RolloutCompleted:
		return r, Step{}
	case child.State == api.RolloutCompleted:
		return stepTo(r, api.RolloutAborted, ReasonRolledBack, now, sayRolledBack(child))
	}
	return stepTo(r, api.RolloutAborted, ReasonRollbackEnded, now,
		fmt.Sprintf("the way back to %s ended before every host had it (%s)", child.Version, child.Reason))
}

// sayRolledBack says who is back after a rollback.
func sayRolledBack(r api.Rollout) string {
	text := "every host is back on " + r.Version
	if away := sumOver(r, len(r.Progress)-1, unheardHosts); away > 0 {
		text += fmt.Sprintf(", but for %d that are silent or held: they have it when they return", away)
	}
	return text
}

// Supersede ends r because by, a newer rollout or an assignment made at once,
// takes its place. One that was going back did so because its release is bad,
// and goes on to say so.
func Supersede(r api.Rollout, why Reason, by string, now time.Time) (api.Rollout, Step) {
	switch r.State {
	case api.RolloutAborted, api.RolloutCompleted:
		return r, Step{}
	case api.RolloutRollingBack:
		why = ReasonRollbackEnded
	case api.RolloutDraft, api.RolloutAwaitingApproval, api.RolloutRunning, api.RolloutPaused, api.RolloutInconclusive:
	}
	return stepTo(r, api.RolloutAborted, why, now, by+" takes its place")
}

func refuseAction(r api.Rollout, verb, why string) error {
	return &api.Error{
		Kind:    api.KindConflict,
		Message: fmt.Sprintf("cannot %s rollout %s: it is %s, and %s", verb, r.ID, r.State, why),
		Hint:    "ops-meta rollout show " + r.ID,
	}
}
