package rollout

import (
	"slices"

	"github.com/ops-updater/ops-updater/meta/api"
)

// TakenBack is the rollout that says that a release is bad, given the rollouts
// of that release, the newest first: one that failed, or that was rolled back.
// Anyone who began another since, or saw one complete, has said otherwise.
func TakenBack(list []api.Rollout) (api.Rollout, bool) {
	for _, r := range list {
		switch {
		case showedBad(r):
			return r, true
		case !Ended(r.State) || r.State == api.RolloutCompleted:
			return api.Rollout{}, false
		}
	}
	return api.Rollout{}, false
}

// showedBad reports whether a rollout ended because its release is bad. What a
// person aborted is bad when hosts had failed.
func showedBad(r api.Rollout) bool {
	switch r.State {
	case api.RolloutRollingBack:
		return true
	case api.RolloutCompleted:
		return r.Reason == string(ReasonRollback)
	case api.RolloutAborted:
		switch Reason(r.Reason) {
		case ReasonAborted:
			return newlyFailed(r) > 0
		case ReasonSuperseded, ReasonAssigned: // what it was before is not kept
			return tooManyFailed(r)
		}
		return slices.Contains([]Reason{ReasonRolledBack, ReasonRollbackEnded, ReasonTooManyFailures, ReasonFailureRate, ReasonStageFailed}, Reason(r.Reason))
	case api.RolloutDraft, api.RolloutAwaitingApproval, api.RolloutRunning, api.RolloutPaused, api.RolloutInconclusive:
	}
	return false
}

// PassedOver reports whether a host whose grant of r is not judged has been told
// something else since, by what took the place of r.
func PassedOver(r api.Rollout, a api.HostAgent) bool {
	superseded := r.State == api.RolloutAborted && (Reason(r.Reason) == ReasonSuperseded || Reason(r.Reason) == ReasonAssigned)
	if !superseded || OnTarget(r, Report{Agent: a}) {
		return false
	}
	return r.Withdrawn || a.Rollout != "" && a.Rollout != r.ID || a.DesiredVersion != "" && a.DesiredVersion != r.Version
}

// tooManyFailed reports whether a rollout failed by its own strategy.
func tooManyFailed(r api.Rollout) bool {
	r.State = api.RolloutRunning
	_, s := Evaluate(r, "", r.UpdatedAt)
	return s.Changed()
}
