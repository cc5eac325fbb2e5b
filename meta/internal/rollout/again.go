package rollout

import (
	"fmt"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
)

// Skip goes on with the last stage: an operator has seen enough. What the
// stages before it still wait for, and their approvals, are passed over;
// failures so far are forgiven, as by [Resume].
func Skip(r api.Rollout, now time.Time) (api.Rollout, Step, error) {
	last := len(r.Strategy.Stages) - 1
	switch r.State {
	case api.RolloutRunning, api.RolloutAwaitingApproval, api.RolloutPaused, api.RolloutInconclusive:
	case api.RolloutDraft:
		return r, Step{}, refuseAction(r, "skip to the end of", "it has not begun; approve it first")
	case api.RolloutRollingBack, api.RolloutAborted, api.RolloutCompleted:
		return r, Step{}, refuseAction(r, "skip to the end of", "it has ended")
	}
	if r.State == api.RolloutRunning && r.Stage == last {
		return r, Step{}, refuseAction(r, "skip to the end of", "it is in its last stage")
	}
	r = forgiveFailures(r)
	r.Approved, r.Waived = last+1, max(r.Waived, last)
	r, s := enterStage(r, last, now, "skipped to the end; ")
	s.Reason, r.Reason = ReasonSkipped, string(ReasonSkipped)
	return r, s, nil
}

// Retry goes on with a rollout of which so many failed grants were just made
// open again, so that r no longer counts them: their hosts try once more, and
// no others are let have the target that could not before. What has failed and
// stays so is forgiven, as by [Resume]. Hosts in flight meanwhile go on, and one
// that begins to fail after the retry counts: anyone who retried had not seen it.
func Retry(r api.Rollout, again int, now time.Time) (api.Rollout, Step, error) {
	switch r.State {
	case api.RolloutRunning, api.RolloutPaused, api.RolloutInconclusive:
	case api.RolloutDraft, api.RolloutAwaitingApproval:
		return r, Step{}, refuseAction(r, "retry the failed hosts of", "it waits for approval")
	case api.RolloutRollingBack, api.RolloutAborted, api.RolloutCompleted:
		return r, Step{}, refuseAction(r, "retry the failed hosts of", "it has ended; deploy the release again: hosts that have it are left alone")
	}
	if again == 0 {
		return r, Step{}, refuseAction(r, "retry the failed hosts of", "no host has failed that is free to try again")
	}
	r = forgiveFailures(r)
	r.SettledAt, r.RetriedAt = nil, &now
	r, s := stepTo(r, api.RolloutRunning, ReasonRetried, now, fmt.Sprintf("%d failed hosts try again", again)+sayOthersInFlight(InFlight(r)-again))
	return r, s, nil
}

// sayOthersInFlight says that hosts are still at their first try when others try again.
func sayOthersInFlight(inFlight int) string {
	if inFlight <= 0 {
		return ""
	}
	return fmt.Sprintf("; %d others are still in flight from before, and one that fails from now on counts", inFlight)
}

// beforeRetry reports whether a failure is older than the last retry of r: the
// host has not heard of that, or has not begun.
func beforeRetry(r api.Rollout, a api.HostAgent) bool {
	return r.RetriedAt != nil && a.Since > 0 && a.Since <= r.RetriedAt.Unix()
}
