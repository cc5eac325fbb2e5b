package rollout

import (
	"fmt"
	"slices"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
)

// Step is one transition: what changed and why, and what must be done in the
// same transaction. A Step without a Reason changes nothing.
type Step struct {
	From, To api.RolloutState
	Stage    int
	Reason   Reason
	Message  string
	Effect   Effect
	Extend   time.Duration // by how much, with EffectExtend
}

// Changed reports whether the step is one.
func (s Step) Changed() bool { return s.Reason != "" }

// Transition is the step as it is stored.
func (s Step) Transition(id, actor string, now time.Time) api.Transition {
	return api.Transition{
		Rollout: id, Time: now, Actor: actor, From: s.From, To: s.To,
		Stage: s.Stage, Reason: string(s.Reason), Message: s.Message,
	}
}

// Effect is what a step asks of the engine.
type Effect string

// The effects.
const (
	EffectNone     Effect = ""
	EffectAssign   Effect = "assign"   // the scope's assignment becomes the target
	EffectRollback Effect = "rollback" // begin a rollout to the previous release
	EffectExtend   Effect = "extend"   // move the deadlines of what is not judged
)

// Ended reports whether a rollout in state s is over: nothing will be granted
// by it any more.
func Ended(s api.RolloutState) bool {
	return s == api.RolloutRollingBack || s == api.RolloutAborted || s == api.RolloutCompleted
}

// stepTo moves r to a state and says why.
func stepTo(r api.Rollout, to api.RolloutState, why Reason, now time.Time, message string) (api.Rollout, Step) {
	s := Step{From: r.State, To: to, Stage: r.Stage, Reason: why, Message: message}
	r.State, r.Reason, r.UpdatedAt = to, string(why), now
	return r, s
}

// enterStage begins a stage, or waits for the approval it needs.
func enterStage(r api.Rollout, stage int, now time.Time, message string) (api.Rollout, Step) {
	r.Stage, r.StageSince, r.SettledAt, r.WindowClosed = stage, now, nil, false
	if r.Strategy.Stages[stage].Approval && r.Approved <= stage {
		return stepTo(r, api.RolloutAwaitingApproval, ReasonApprovalNeeded, now,
			message+fmt.Sprintf("stage %s needs approval", stageName(r, stage)))
	}
	return stepTo(r, api.RolloutRunning, ReasonStageStarted, now, message+fmt.Sprintf("stage %s began", stageName(r, stage)))
}

// actOnFailure is what the strategy says shall happen by itself.
func actOnFailure(r api.Rollout, why Reason, now time.Time, message string) (api.Rollout, Step) {
	r.SettledAt = nil
	switch {
	case r.Strategy.OnFailure == api.OnFailureAbort:
		return stepTo(r, api.RolloutAborted, why, now, message)
	case r.Strategy.OnFailure == api.OnFailureRollback && r.Previous != "":
		r, s := stepTo(r, api.RolloutRollingBack, why, now, message+"; going back to "+r.Previous)
		s.Effect = EffectRollback
		return r, s
	case r.Strategy.OnFailure == api.OnFailureRollback:
		return stepTo(r, api.RolloutPaused, why, now, message+"; there is no previous release to go back to")
	}
	return stepTo(r, api.RolloutPaused, why, now, message)
}

func stageName(r api.Rollout, i int) string {
	if i < len(r.Strategy.Stages) && r.Strategy.Stages[i].Name != "" {
		return r.Strategy.Stages[i].Name
	}
	return fmt.Sprintf("%d of %d", i+1, len(r.Strategy.Stages))
}

// sumOver adds one number of every stage up to and including last.
func sumOver(r api.Rollout, last int, of func(api.StageCount) int) int {
	n := 0
	for _, p := range r.Progress[:min(last+1, len(r.Progress))] {
		n += of(p)
	}
	return n
}

func failedHosts(p api.StageCount) int { return p.Failed }
func judgedHosts(p api.StageCount) int { return p.Succeeded + p.Failed }

func heardHosts(p api.StageCount) int   { return p.Succeeded + p.Failed + p.Already }
func unheardHosts(p api.StageCount) int { return p.Held + p.HeldLate + p.Silent }

func cloneProgress(r api.Rollout) api.Rollout {
	r.Progress = slices.Clone(r.Progress)
	return r
}
