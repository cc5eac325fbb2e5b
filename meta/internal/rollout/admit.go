package rollout

import (
	"fmt"
	"slices"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
)

// Decision is whether a host that asks may have the target now, and why.
type Decision struct {
	Reason  Reason // [ReasonGranted], or why not
	Message string
	Grant   api.Grant // when granted
}

// Granted reports whether the host may have the target.
func (d Decision) Granted() bool { return d.Reason == ReasonGranted }

// Admit decides whether h may have r's target now, and counts it when it may.
// recent is how many hosts were granted within the strategy's rate period.
//
// A limit holds exactly when r is the stored rollout and the result is stored
// with the grant in one transaction that lets no other change r meanwhile. On
// a copy that may be stale it is a cheap first look.
func Admit(r api.Rollout, h Host, recent int, now time.Time) (api.Rollout, Decision) {
	if d := refuseGrant(r, h, recent); d.Reason != "" {
		return r, d
	}
	stage, why := placeNow(r, h, now)
	if why != "" {
		return r, Decision{Reason: why, Message: h.Name + " is not a host of a stage that may be granted now"}
	}
	r.Progress = slices.Clone(r.Progress)
	r.Progress[stage].Granted++
	return r, Decision{
		Reason:  ReasonGranted,
		Message: fmt.Sprintf("stage %s lets %s have %s %s", stageName(r, stage), h.Name, r.Agent, r.Version),
		Grant: api.Grant{
			Rollout: r.ID, Host: h.Name, Stage: stage,
			Granted: now, Deadline: now.Add(max(r.Strategy.GrantDeadline(), unheardPaces*h.Pace)),
		},
	}
}

// unheardPaces is how many of its own heartbeats a host has at least: to hear
// of the grant, to tell of it, and to say so twice.
const unheardPaces = 3

// refuseGrant is why nobody, or not this host, may be granted whatever its stage.
func refuseGrant(r api.Rollout, h Host, recent int) Decision {
	s := r.Strategy
	switch {
	case !r.MayGrant():
		return Decision{Reason: ReasonNotRunning, Message: "the rollout is " + string(r.State)}
	case h.OnTarget:
		return Decision{Reason: ReasonOnTarget, Message: "it already runs " + r.Version}
	case h.NoArtifact:
		return Decision{Reason: ReasonNoArtifact, Message: "there is no artifact for its arch"}
	case h.Held:
		return Decision{Reason: ReasonHostHeld, Message: "it is held"}
	case h.Busy && !s.Parallel:
		return Decision{Reason: ReasonHostBusy, Message: "it is in the middle of another rollout"}
	case s.MaxInFlight > 0 && InFlight(r) >= s.MaxInFlight:
		return Decision{Reason: ReasonInFlightLimit, Message: fmt.Sprintf("%d hosts are in flight", s.MaxInFlight)}
	case s.Rate != nil && recent >= s.Rate.Hosts:
		return Decision{Reason: ReasonRateLimited, Message: fmt.Sprintf("%d hosts were granted in %d s", recent, s.Rate.Period)}
	}
	return Decision{}
}

// placeNow is the first stage up to the current one that may take h now.
func placeNow(r api.Rollout, h Host, now time.Time) (int, Reason) {
	share := Share(r.Salt, h.Name)
	why := ReasonNotYet
	for k := range r.Stage + 1 {
		st := r.Strategy.Stages[k]
		switch {
		case !h.inGroup(st.Group) || st.Percent > 0 && share >= st.Percent:
			continue
		case st.Count > 0 && roomInStage(r, k) == 0:
			why = ReasonLimitReached
		case !Open(r.Strategy.StageWindow(k), now):
			why = ReasonOutsideWindow
		default:
			return k, ""
		}
	}
	return 0, why
}

// InFlight is how many grants of r are not yet judged.
func InFlight(r api.Rollout) int {
	n := 0
	for _, p := range r.Progress {
		n += p.Granted - p.Succeeded - p.Failed
	}
	return n
}
