package rollout

import (
	"fmt"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
)

// Evaluate fails r when more hosts have failed than its strategy bears; last
// says what failed last. Without a percent the absolute number always counts;
// with one, zero means that only the percent does.
//
// The percent is of all that were granted: a release that fails does so
// sooner than one that works has proved itself, so that of those judged so far
// too many would have failed at the beginning of every stage.
func Evaluate(r api.Rollout, last string, now time.Time) (api.Rollout, Step) {
	if r.State != api.RolloutRunning && r.State != api.RolloutAwaitingApproval {
		return r, Step{}
	}
	s, bad, all := r.Strategy, newlyFailed(r), newlyJudged(r)
	if last != "" {
		last = "; last: " + last
	}
	if (s.MaxFailed > 0 || s.MaxFailedPct == 0) && bad > s.MaxFailed {
		return actOnFailure(r, ReasonTooManyFailures, now, fmt.Sprintf("%d failed, at most %d may%s", bad, s.MaxFailed, last))
	}
	if s.MaxFailedPct > 0 && all >= max(s.MinSample, 1) && float64(bad)*100 > s.MaxFailedPct*float64(all+InFlight(r)) {
		return actOnFailure(r, ReasonFailureRate, now, fmt.Sprintf("%d of %d failed, at most %g %% may%s", bad, all+InFlight(r), s.MaxFailedPct, last))
	}
	return r, Step{}
}

func newlyFailed(r api.Rollout) int {
	return max(sumOver(r, len(r.Progress)-1, failedHosts)-r.FailedBefore, 0)
}

func newlyJudged(r api.Rollout) int {
	return max(sumOver(r, len(r.Progress)-1, judgedHosts)-r.JudgedBefore, 0)
}

// Tick takes a census and the time, and makes at most one step; call it again
// while it does. An empty Step may still bring a changed census.
func Tick(r api.Rollout, c Census, now time.Time) (api.Rollout, Step) {
	r = c.into(r)
	if r.State == api.RolloutInconclusive && r.RollbackOf != "" {
		return stepTo(r, api.RolloutRunning, ReasonResumed, now, "a way back is not given up: it waits for the hosts that are away")
	}
	if r.State != api.RolloutRunning {
		return r, Step{}
	}
	if failed, s := Evaluate(r, "", now); s.Changed() {
		return failed, s
	}
	if (outstandingHosts(r) > 0 || nobodyCame(r)) && r.SettledAt == nil {
		return heedWindow(r, now)
	}
	return settleStage(r, now)
}

// heedWindow notes that the current stage's window has opened or closed.
func heedWindow(r api.Rollout, now time.Time) (api.Rollout, Step) {
	w := r.Strategy.StageWindow(r.Stage)
	closed := !Open(w, now)
	switch {
	case closed == r.WindowClosed:
		return r, Step{}
	case !closed:
		r.WindowClosed = false
		return stepTo(r, r.State, ReasonWindowOpened, now, "the window opened; hosts are granted again")
	}
	r.WindowClosed = true
	message := "outside its window; nothing is granted"
	if next, ok := NextOpen(w, now); ok {
		message += " before " + next.UTC().Format(time.RFC3339)
	}
	return stepTo(r, r.State, ReasonWindowClosed, now, message)
}

// outstandingHosts is how many hosts the rollout still waits for in the stages
// begun so far: those that may yet be granted, and those not yet judged.
func outstandingHosts(r api.Rollout) int {
	return sumOver(r, r.Stage, func(p api.StageCount) int {
		return p.Waiting + max(p.Granted-p.Succeeded-p.Failed-p.HeldLate, 0)
	})
}

// nobodyCame: a rollback waits until at least one of its hosts was heard of.
// With the first ones back it may end: hosts that come later are told the same by
// the assignment.
func nobodyCame(r api.Rollout) bool {
	return r.RollbackOf != "" && sumOver(r, r.Stage, heardHosts) == 0 && sumOver(r, r.Stage, unheardHosts) > 0
}

// settleStage judges a stage that waits for nobody, once, and lets it soak. Hosts
// that come late are granted all the same, and only their failure matters.
func settleStage(r api.Rollout, now time.Time) (api.Rollout, Step) {
	if r.SettledAt == nil {
		if judged, s := tooLittle(r, now); s.Changed() {
			return judged, s
		}
		at := now
		r.SettledAt = &at
		if soak := r.Strategy.Stages[r.Stage].Soak; soak > 0 {
			return stepTo(r, r.State, ReasonStageSettled, now,
				fmt.Sprintf("stage %s: %s; it must stay so for %d s", stageName(r, r.Stage), sayTally(r), soak))
		}
	}
	if r.SettledAt.After(now) { // a clock was ahead: it counts from now
		at := now
		r.SettledAt = &at
		return stepTo(r, r.State, ReasonStageSettled, now, fmt.Sprintf("stage %s had settled in the future by a clock that was ahead: its soak time counts from now", stageName(r, r.Stage)))
	}
	if now.Before(r.SettledAt.Add(time.Duration(r.Strategy.Stages[r.Stage].Soak) * time.Second)) {
		return r, Step{}
	}
	done := fmt.Sprintf("stage %s is complete (%s); ", stageName(r, r.Stage), sayTally(r))
	if next := r.Stage + 1; next < len(r.Strategy.Stages) {
		return enterStage(r, next, now, done)
	}
	r, s := stepTo(r, api.RolloutCompleted, ReasonCompleted, now, done+fmt.Sprintf("%s %s is what the scope runs", r.Agent, r.Version))
	s.Effect = EffectAssign
	return r, s
}

// tooLittle stops a settled stage that failed as a whole, or of which too
// little is known to judge it.
func tooLittle(r api.Rollout, now time.Time) (api.Rollout, Step) {
	if r.Waived > r.Stage {
		return r, Step{}
	}
	p := r.Progress[r.Stage]
	if p.Succeeded == 0 && p.Failed > p.Forgiven {
		return actOnFailure(r, ReasonStageFailed, now, fmt.Sprintf("no host of stage %s succeeded, %d failed", stageName(r, r.Stage), p.Failed-p.Forgiven))
	}
	if r.RollbackOf != "" {
		return r, Step{} // what it returns to has proved itself before
	}
	healthy := sumOver(r, r.Stage, func(p api.StageCount) int { return p.Succeeded + p.Already })
	silent := sumOver(r, r.Stage, func(p api.StageCount) int { return p.Silent })
	members := sumOver(r, r.Stage, func(p api.StageCount) int { return p.Granted + p.Held + p.Silent + p.NoArtifact })
	without := sumOver(r, r.Stage, func(p api.StageCount) int { return p.NoArtifact })
	held := sumOver(r, r.Stage, func(p api.StageCount) int { return p.Held })
	heard := healthy + sumOver(r, r.Stage, failedHosts)
	unsure := func(why Reason, message string) (api.Rollout, Step) {
		return stepTo(r, api.RolloutInconclusive, why, now, message+"; resume to go on all the same, or abort")
	}
	switch {
	case without > 0 && without == members:
		return unsure(ReasonNoArtifact, fmt.Sprintf("none of %d hosts can have %s %s, which has no artifact for their arch; publish one, then resume", without, r.Agent, r.Version))
	case held > 0 && held == members && healthy == 0:
		return unsure(ReasonNoEvidence, fmt.Sprintf("all %d hosts are held and keep what they have until the hold is released (ops-meta hold list)", held))
	case healthy == 0 && members > 0:
		return unsure(ReasonNoEvidence, "no host has shown that the release works ("+sayTally(r)+")")
	case silent > heard:
		return unsure(ReasonTooManySilent, fmt.Sprintf("%d hosts are silent and only %d were heard of", silent, heard))
	case newlyFailed(r) > 0 && r.Strategy.MaxFailedPct > 0 && newlyJudged(r) < r.Strategy.MinSample:
		return unsure(ReasonSmallSample, fmt.Sprintf("%d of %d failed, and %d must be judged before a percent means anything",
			newlyFailed(r), newlyJudged(r), r.Strategy.MinSample))
	}
	return r, Step{}
}

func sayTally(r api.Rollout) string {
	p := r.Progress[r.Stage]
	text := fmt.Sprintf("%d healthy", p.Succeeded+p.Already)
	if p.Failed > 0 {
		text += fmt.Sprintf(", %d failed", p.Failed)
	}
	if blocked := p.Held + p.HeldLate; blocked > 0 {
		text += fmt.Sprintf(", %d held", blocked)
	}
	if p.NoArtifact > 0 {
		text += fmt.Sprintf(", %d without an artifact for their arch", p.NoArtifact)
	}
	if p.Silent > 0 {
		text += fmt.Sprintf(", %d silent", p.Silent)
	}
	return text
}

// Downtime gives r more time because the server was away: as much as it was,
// and grace, within which every host should have reported. Its own absence is
// neither the fleet's failure nor a proof of health: what is not judged has
// later deadlines, and what soaks has that much of it before it again.
func Downtime(r api.Rollout, away, grace time.Duration, now time.Time) (api.Rollout, Step) {
	if Ended(r.State) || away <= 0 || InFlight(r) == 0 && r.SettledAt == nil {
		return r, Step{}
	}
	if r.SettledAt != nil {
		at := r.SettledAt.Add(away + grace)
		if at.After(now) {
			at = now
		}
		r.SettledAt = &at
	}
	extend := min(away, r.Strategy.GrantDeadline()) + grace // its whole time again is all that a grant can lack
	r, s := stepTo(r, r.State, ReasonExtended, now, fmt.Sprintf("deadlines move by %s, and the soak time begins again as far as nobody saw it, because the server was away for %s",
		extend.Round(time.Second), away.Round(time.Second)))
	s.Effect, s.Extend = EffectExtend, extend
	return r, s
}

// ClockJumped moves what r waits for by as much as the server's clock has
// jumped, so that all of it lasts as long as it was to.
func ClockJumped(r api.Rollout, by time.Duration, now time.Time) (api.Rollout, Step) {
	if InFlight(r) == 0 && (Ended(r.State) || r.SettledAt == nil) {
		return r, Step{}
	}
	if r.SettledAt != nil {
		at := r.SettledAt.Add(by)
		r.SettledAt = &at
	}
	r.StageSince = r.StageSince.Add(by)
	r, s := stepTo(r, r.State, ReasonExtended, now, fmt.Sprintf("deadlines and the soak time move by %s because the server's clock jumped by that", by.Round(time.Second)))
	s.Effect, s.Extend = EffectExtend, by
	return r, s
}
