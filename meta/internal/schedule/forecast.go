package schedule

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/rollout"
)

// Await is what is decided once the window opens that is waited for, and when that is:
// until the last moment, whatever else is in the way stays so.
func Await(s Situation, now, last time.Time) (Decision, time.Time) {
	d := Decide(s, now)
	for d.Reason == ReasonOutsideWindow && d.Until != nil && d.Until.After(now) && !d.Until.After(last) {
		now = *d.Until
		d = Decide(s, now)
	}
	return d, now
}

// Forecast is a rollout run ahead of time, by its own policy. It goes from one moment at
// which something can happen to the next, and hosts that stand alike are one crowd:
// who of them asks first is not known beforehand.
type Forecast struct {
	rollout api.Rollout
	takes   time.Duration
	now     time.Time

	crowds  []*crowd
	byKey   map[string]*crowd
	flights []flight // granted and not yet judged, in the order in which they are
	recent  []flight // granted within the period of the rate
	stuck   []stuckGrant
	limited rollout.Reason // what stopped the last round of grants

	outcome Outcome
	gone    []bool // stages that took every host they could
}

// Outcome is what a forecast has found.
type Outcome struct {
	Stages  []api.PlanStage
	Ends    *time.Time // the rollout has completed
	Reason  string     // why it would not by itself; empty: it would
	Message string
}

// maxEvents bounds a forecast, whatever a strategy says: a rate of one host a minute for a
// million of them is within.
const maxEvents = 3_000_000

// NewForecast begins a forecast of r, which is as [rollout.Create] makes it or as it is
// under way, from now on. Each host is assumed to be judged a time after it was
// granted. [Forecast.Add] its hosts, then [Forecast.Run] it.
func NewForecast(r api.Rollout, takes time.Duration, now time.Time) *Forecast {
	f := &Forecast{rollout: r, takes: takes, now: now, byKey: map[string]*crowd{}}
	f.outcome.Stages = make([]api.PlanStage, len(r.Strategy.Stages))
	f.gone = make([]bool, len(r.Strategy.Stages))
	for i, st := range r.Strategy.Stages {
		f.outcome.Stages[i] = api.PlanStage{Name: r.Strategy.StageName(i), Group: st.Group, Approval: st.Approval && r.Approved <= i, Hosts: r.Progress[i].Granted}
	}
	if r.Stage < len(f.outcome.Stages) {
		since := r.StageSince
		f.outcome.Stages[r.Stage].Begins = &since
	}
	return f
}

// Run forecasts until the rollout has ended, or nothing happens by itself any more,
// or a last moment; and no further once ctx has ended, since nobody waits for it then.
func (f *Forecast) Run(ctx context.Context, last time.Time) Outcome {
	byTime := func(a, b flight) int { return a.at.Compare(b.at) }
	f.flyOthers()
	slices.SortFunc(f.flights, byTime)
	slices.SortFunc(f.recent, byTime)
	// The largest first: which of them a count takes hardly changes what is left.
	order := slices.Clone(f.crowds)
	slices.SortFunc(order, func(a, b *crowd) int { return cmp.Or(cmp.Compare(b.left, a.left), cmp.Compare(a.key, b.key)) })
	f.approve()
	for range maxEvents {
		if ctx.Err() != nil {
			return f.stop("too-far", "who asked has gone")
		}
		f.land()
		f.endHolds()
		f.grant(order)
		if f.over() {
			f.lateOnes(last)
			return f.outcome
		}
		if f.tick() {
			continue
		}
		next, ok := f.nextEvent()
		switch {
		case !ok:
			return f.stop("never", f.sayNever())
		case next.After(last):
			return f.stop("too-far", fmt.Sprintf("not whole by %s: stage %s is under way then", last.UTC().Format("2006-01-02"), f.outcome.Stages[f.rollout.Stage].Name))
		}
		f.now = next
	}
	return f.stop("too-far", "too much would happen to forecast it any further than "+f.now.UTC().Format("2006-01-02"))
}

func (f *Forecast) stop(reason, message string) Outcome {
	f.outcome.Reason, f.outcome.Message = reason, message
	return f.outcome
}

// sayNever says why nothing more happens.
func (f *Forecast) sayNever() string {
	r := f.rollout
	return fmt.Sprintf("stage %s never comes to an end: the window of its hosts does not open within eight days", r.Strategy.StageName(r.Stage))
}

// over reports whether the rollout has ended or waits for a person, and notes why.
func (f *Forecast) over() bool { return f.outcome.Ends != nil || f.outcome.Reason != "" }

// land judges the hosts whose time has come.
func (f *Forecast) land() {
	for len(f.flights) > 0 && !f.flights[0].at.After(f.now) {
		g := f.flights[0]
		f.flights = f.flights[1:]
		r := &f.rollout
		r.Progress = slices.Clone(r.Progress)
		if !g.fails {
			r.Progress[g.stage].Succeeded += g.hosts
			continue
		}
		r.Progress[g.stage].Failed += g.hosts
		next, step := rollout.Evaluate(*r, "hosts that require a signature", f.now)
		*r = next
		f.note(step)
	}
}

// endHolds lets hosts go whose hold has ended.
func (f *Forecast) endHolds() {
	for _, c := range f.crowds {
		if c.host.Held && !c.heldUntil.IsZero() && !c.heldUntil.After(f.now) {
			c.host.Held = false
		}
	}
}

// grant lets have the target whoever may.
func (f *Forecast) grant(order []*crowd) {
	f.limited = ""
	if !f.rollout.MayGrant() {
		return
	}
	f.noteChances()
	recent := f.recentHosts()
	for _, c := range order {
		for c.left > 0 && c.able() {
			next, d := rollout.Admit(f.rollout, c.host, recent, f.now)
			if d.Reason == rollout.ReasonRateLimited || d.Reason == rollout.ReasonInFlightLimit {
				f.limited = d.Reason
				return
			}
			if !d.Granted() {
				break // nor is any other of the crowd
			}
			f.rollout = next
			recent++
			f.noteGrant(c, d.Grant)
		}
	}
}

func (f *Forecast) noteGrant(c *crowd, g api.Grant) {
	c.left--
	now := f.now
	if !c.heldUntil.IsZero() {
		c.own = &now
	} else {
		st := &f.outcome.Stages[g.Stage]
		if st.First == nil {
			st.First = &now
		}
		st.Last = &now
	}
	f.outcome.Stages[g.Stage].Hosts++
	f.flights = addFlight(f.flights, flight{at: now.Add(f.takes), stage: g.Stage, hosts: 1, fails: c.refuses})
	if f.rollout.Strategy.Rate != nil {
		f.recent = addFlight(f.recent, flight{at: now, hosts: 1})
	}
}

// tick has the policy look at the time, and reports whether it made a step.
func (f *Forecast) tick() bool {
	next, step := rollout.Tick(f.rollout, f.census(), f.now)
	f.rollout = next
	f.note(step)
	return step.Changed()
}

func (f *Forecast) census() rollout.Census {
	t := rollout.NewTally(f.rollout)
	for _, c := range f.crowds {
		if c.left > 0 {
			t.WaitingAlike(c.host, c.left)
		}
	}
	for _, s := range f.stuck {
		t.Granted(s.host, s.grant)
	}
	return t.Census()
}

// note takes a step into the outcome.
func (f *Forecast) note(s rollout.Step) {
	if !s.Changed() {
		return
	}
	now, stages := f.now, f.outcome.Stages
	switch s.To {
	case api.RolloutAwaitingApproval:
		f.leaveStage(s.Stage - 1)
		f.approve()
	case api.RolloutCompleted:
		f.leaveStage(s.Stage)
		f.outcome.Ends = &now
	case api.RolloutRunning:
		switch s.Reason {
		case rollout.ReasonWindowClosed:
			wait := api.PlanWait{From: now}
			if until, ok := rollout.NextOpen(f.rollout.Strategy.StageWindow(s.Stage), now); ok {
				wait.Until = until
			}
			stages[s.Stage].Waits = append(stages[s.Stage].Waits, wait)
		case rollout.ReasonStageStarted:
			f.leaveStage(s.Stage - 1)
			stages[s.Stage].Begins, stages[s.Stage].NotBefore = &now, s.Stage > 0 && stages[s.Stage-1].NotBefore
		}
	case api.RolloutPaused, api.RolloutInconclusive, api.RolloutAborted, api.RolloutRollingBack, api.RolloutDraft:
		f.stop(string(s.Reason), fmt.Sprintf("would be %s in stage %s on %s: %s", s.To, stages[s.Stage].Name, now.UTC().Format("2006-01-02 15:04 UTC"), s.Message))
	}
}

// leaveStage notes that a stage is over.
func (f *Forecast) leaveStage(k int) {
	if k < 0 {
		return
	}
	now := f.now
	f.outcome.Stages[k].Ends = &now
	f.gone[k] = !slices.ContainsFunc(f.crowds, func(c *crowd) bool { return c.left > 0 && c.able() && c.takenBy[k] })
}

// approve approves a stage at once: from there on times are the earliest.
func (f *Forecast) approve() {
	if f.rollout.State != api.RolloutAwaitingApproval {
		return
	}
	next, step, err := rollout.Approve(f.rollout, f.now)
	if err != nil {
		f.stop("approval-needed", err.Error())
		return
	}
	f.rollout = next
	now, st := f.now, &f.outcome.Stages[step.Stage]
	st.Begins, st.NotBefore = &now, true
}

// nextEvent is when something can happen next.
func (f *Forecast) nextEvent() (next time.Time, ok bool) {
	at := func(t time.Time) {
		if t.After(f.now) && (!ok || t.Before(next)) {
			next, ok = t, true
		}
	}
	if len(f.flights) > 0 {
		at(f.flights[0].at)
	}
	r := f.rollout
	if r.SettledAt != nil {
		at(r.SettledAt.Add(time.Duration(r.Strategy.Stages[r.Stage].Soak) * time.Second))
	}
	if f.limited == rollout.ReasonRateLimited && len(f.recent) > 0 {
		at(f.recent[0].at.Add(time.Duration(r.Strategy.Rate.Period) * time.Second))
	}
	for _, c := range f.crowds {
		switch {
		case c.left == 0:
		case c.host.Held && !c.heldUntil.IsZero():
			at(c.heldUntil)
		case c.able() && f.limited == "":
			f.windowsOf(c, at)
		}
	}
	return next, ok
}
