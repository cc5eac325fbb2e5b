package schedule

import (
	"cmp"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
)

// lateOnes are the hosts that the rollout did not reach although it has completed: the
// assignment gives them the version as soon as nothing holds them.
func (f *Forecast) lateOnes(last time.Time) {
	if f.outcome.Ends == nil {
		return
	}
	for _, c := range f.crowds {
		switch {
		case c.left == 0 || c.host.OnTarget || c.host.NoArtifact || c.host.Silent:
		case !c.host.Held:
			c.own = f.outcome.Ends
		case !c.heldUntil.IsZero() && !c.heldUntil.After(last):
			until := c.heldUntil
			c.own, c.host.Held = &until, false
		}
	}
}

// Times are when hosts of a crowd change.
type Times struct {
	State    api.PlanHostState
	Stage    int        // that surely takes it; -1: none
	From, By *time.Time // between which it may have the version; nil: not reached
	Chance   *api.PlanChance
}

// TimesOf is when a host changes that was added as that number, after [Forecast.Run].
func (f *Forecast) TimesOf(crowd int) Times {
	c := f.crowds[crowd]
	t := Times{State: f.stateOf(c), Stage: -1}
	if t.State != api.PlanHostChanges && t.State != api.PlanHostNotReached && t.State != api.PlanHostRefuses {
		return t
	}
	t.Stage = c.home
	if c.own != nil {
		t.From, t.By = c.own, c.own
		return t
	}
	for k := range c.home {
		if !c.takenBy[k] || f.rollout.Strategy.Stages[k].Count == 0 || c.from[k].IsZero() {
			continue
		}
		if f.gone[k] { // it takes all that it can
			t.Stage = k
			break
		}
		if t.Chance == nil {
			t.Chance = &api.PlanChance{Stage: f.outcome.Stages[k].Name, From: c.from[k]}
		}
	}
	st := f.outcome.Stages[t.Stage]
	t.From, t.By = cmp.Or(timeOf(c.from[t.Stage]), st.First), st.Last
	if t.State == api.PlanHostNotReached {
		t.By = nil
	}
	return t
}

func timeOf(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func (f *Forecast) stateOf(c *crowd) api.PlanHostState {
	switch {
	case c.host.OnTarget:
		return api.PlanHostAlready
	case c.host.NoArtifact:
		return api.PlanHostNoArtifact
	case c.host.Held:
		return api.PlanHostHeld
	case c.host.Silent:
		return api.PlanHostSilent
	case c.refuses:
		return api.PlanHostRefuses
	case f.outcome.Ends == nil && c.left > 0:
		return api.PlanHostNotReached
	}
	return api.PlanHostChanges
}
