package rollout_test

import (
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/rollout"
)

func TestWhatARolloutSaysOfARelease(t *testing.T) {
	of := func(state api.RolloutState, reason rollout.Reason, failed int) api.Rollout {
		return api.Rollout{
			ID: string(state), State: state, Reason: string(reason), Progress: []api.StageCount{{Granted: 10, Failed: failed}},
			Strategy: api.Strategy{Stages: []api.Stage{{Percent: 100}}, MaxFailed: 2},
		}
	}
	aborted := func(reason rollout.Reason, failed int) api.Rollout { return of(api.RolloutAborted, reason, failed) }
	good, bad := of(api.RolloutCompleted, rollout.ReasonCompleted, 0), aborted(rollout.ReasonRolledBack, 3)
	for name, c := range map[string]struct {
		newestFirst []api.Rollout
		bad         bool
	}{
		"none":                               {nil, false},
		"it goes back":                       {[]api.Rollout{of(api.RolloutRollingBack, rollout.ReasonTooManyFailures, 3)}, true},
		"it went back":                       {[]api.Rollout{bad}, true},
		"it went back in part":               {[]api.Rollout{aborted(rollout.ReasonRollbackEnded, 3)}, true},
		"it failed and was to abort":         {[]api.Rollout{aborted(rollout.ReasonFailureRate, 3)}, true},
		"completed, then rolled back":        {[]api.Rollout{of(api.RolloutCompleted, rollout.ReasonRollback, 0)}, true},
		"completed":                          {[]api.Rollout{good}, false},
		"aborted with failed hosts":          {[]api.Rollout{aborted(rollout.ReasonAborted, 1)}, true},
		"aborted before any failed":          {[]api.Rollout{aborted(rollout.ReasonAborted, 0)}, false},
		"superseded after too many failed":   {[]api.Rollout{aborted(rollout.ReasonSuperseded, 3)}, true},
		"superseded after few failed":        {[]api.Rollout{aborted(rollout.ReasonAssigned, 1)}, false},
		"superseded, and bad before that":    {[]api.Rollout{aborted(rollout.ReasonSuperseded, 0), bad}, true},
		"bad, but completed since":           {[]api.Rollout{good, bad}, false},
		"bad, and completed before that":     {[]api.Rollout{bad, good}, true},
		"bad, and somebody tries it again":   {[]api.Rollout{of(api.RolloutRunning, rollout.ReasonStageStarted, 0), bad}, false},
		"paused with failures, not yet over": {[]api.Rollout{of(api.RolloutPaused, rollout.ReasonTooManyFailures, 3)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if _, got := rollout.TakenBack(c.newestFirst); got != c.bad {
				t.Errorf("bad: %v, want %v", got, c.bad)
			}
		})
	}
}

// Anyone who assigns something else before a rollback has reached everybody does
// not say that the release was good.
func TestAReleaseThatWasGoingBackStaysBad(t *testing.T) {
	for _, why := range []rollout.Reason{rollout.ReasonAssigned, rollout.ReasonSuperseded} {
		r := api.Rollout{ID: "r1", State: api.RolloutRollingBack, Progress: []api.StageCount{{Granted: 10}}, Strategy: api.Strategy{Stages: []api.Stage{{Percent: 100}}}}
		r, s := rollout.Supersede(r, why, "an assignment", time.Unix(1e9, 0))
		if _, bad := rollout.TakenBack([]api.Rollout{r}); !bad || r.State != api.RolloutAborted || !s.Changed() {
			t.Errorf("%s: bad %v, %s (%s)", why, bad, r.State, r.Reason)
		}
	}
}
