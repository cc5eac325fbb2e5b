package rollout

import (
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
)

// StandStill pauses what is under way because the server's database went back
// to an earlier moment: what has happened to r since then nobody knows.
func StandStill(r api.Rollout, now time.Time) (api.Rollout, Step) {
	if r.State != api.RolloutRunning && r.State != api.RolloutAwaitingApproval {
		return r, Step{}
	}
	r.SettledAt = nil
	return stepTo(r, api.RolloutPaused, ReasonStandstill, now,
		"the server's database went back to an earlier moment; look at the difference (ops-meta standstill) before resuming or aborting")
}
