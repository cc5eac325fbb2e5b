package rollout

import (
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
)

// StageOf is the stage that a host without a grant belongs to: the first whose
// percent takes it. A count stage takes the hosts that ask first, so no host belongs
// to one before it is granted.
func StageOf(r api.Rollout, h Host) int {
	share, last := Share(r.Salt, h.Name), len(r.Strategy.Stages)-1
	for k, st := range r.Strategy.Stages {
		if st.Percent > 0 && h.inGroup(st.Group) && share < st.Percent {
			return k
		}
	}
	return max(last, 0)
}

// StateOf is how a host without a grant stands to r, and why it is not
// granted now.
func StateOf(r api.Rollout, h Host, now time.Time) (api.RolloutHostState, Decision) {
	switch {
	case h.OnTarget:
		return api.RolloutHostAlready, Decision{Reason: ReasonOnTarget, Message: "it already runs " + r.Version}
	case h.NoArtifact:
		return api.RolloutHostNoArtifact, Decision{Reason: ReasonNoArtifact, Message: r.Version + " has no artifact for its arch"}
	case h.Held:
		return api.RolloutHostHeld, Decision{Reason: ReasonHostHeld, Message: "it is held"}
	case h.Silent:
		return api.RolloutHostSilent, Decision{Reason: ReasonHostSilent, Message: "it was not heard of lately"}
	}
	_, d := Admit(r, h, 0, now)
	if d.Granted() {
		d = Decision{Reason: ReasonNotAsked, Message: "it is granted with its next heartbeat"}
	}
	return api.RolloutHostWaiting, d
}
