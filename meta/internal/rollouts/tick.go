package rollouts

import (
	"context"
	"slices"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/fleet"
	"github.com/ops-updater/ops-updater/meta/internal/rollout"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

// lease is the name of the right to look at the time.
const lease = "rollouts"

const (
	dueAtOnce  = 1000 // grants past their deadline that one tick looks at
	idleFactor = 20   // a census of a second is taken every twenty at most
)

// watchTime ticks while this replica leads.
func (e *Engine) watchTime(ctx context.Context) {
	var leads bool
	var renewed, earliest time.Time
	t := time.NewTicker(e.opts.Tick)
	defer t.Stop()
	defer func() { e.resignLease(ctx, leads) }()
	for {
		// Two renewals may be lost before another server takes over.
		if time.Since(renewed) > e.opts.Lease/3 || !leads {
			leads, renewed = e.tryLead(ctx, leads), time.Now()
		}
		if leads && !time.Now().Before(earliest) {
			start := time.Now()
			if err := e.tickByTheClock(ctx); err != nil && ctx.Err() == nil {
				e.opts.Log.Warn().Err(err).Msg("cannot look after the rollouts")
			}
			// A census walks every host: of a large fleet it would otherwise take a
			// core.
			if took := time.Since(start); took > e.opts.Tick/idleFactor {
				earliest = start.Add(idleFactor * took)
			}
		}
		select {
		case <-t.C:
		case <-e.kick:
		case <-ctx.Done():
			return
		}
	}
}

// tryLead takes or keeps the lease. A server that takes it over after nobody had it
// gives hosts time to report: that we were away is not their failure.
func (e *Engine) tryLead(ctx context.Context, led bool) bool {
	// Before it is taken: afterwards it says nothing about how long nobody had it.
	away, err := e.opts.Store.VacantFor(ctx, lease)
	leads := false
	if err == nil {
		leads, err = e.opts.Store.TryLead(ctx, lease, e.opts.Lease)
	}
	if err != nil {
		if ctx.Err() == nil {
			e.opts.Log.Warn().Err(err).Msg("cannot renew the lease of the rollouts")
		}
		return false
	}
	ahead := away < -e.opts.Lease // it was to end further away than its own length: the clock has gone back
	if leads && !led && (away > 0 || ahead) && !e.still.Load() {
		if err := e.forgiveAbsence(ctx, max(away, 0)+e.opts.Lease); err != nil {
			e.opts.Log.Warn().Err(err).Msg("cannot extend deadlines after an absence")
		}
	}
	return leads
}

func (e *Engine) resignLease(ctx context.Context, leads bool) {
	if !leads {
		return
	}
	// The context has ended: that is why. Unless it is given up, nobody watches the
	// time until the lease runs out.
	bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if err := e.opts.Store.ResignLease(bye, lease); err != nil {
		e.opts.Log.Warn().Err(err).Msg("cannot give up the lease of the rollouts; another server waits for its end")
	}
}

// forgiveAbsence extends the deadlines of what is not judged.
func (e *Engine) forgiveAbsence(ctx context.Context, away time.Duration) error {
	for _, id := range e.book.rolloutsThat(wantsCensus) {
		err := e.stepRollout(ctx, id, func(r api.Rollout, now time.Time) (api.Rollout, rollout.Step) {
			return rollout.Downtime(r, away, e.opts.Grace, now)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// stepRollout does what change says to the stored rollout.
func (e *Engine) stepRollout(ctx context.Context, id string, change func(api.Rollout, time.Time) (api.Rollout, rollout.Step)) error {
	return e.steerRollout(ctx, self, id, func(tx *store.Tx, r api.Rollout) error {
		next, step := change(e.dropLostPrevious(ctx, tx, r), tx.Now())
		if !step.Changed() {
			return nil
		}
		_, err := e.moveRollout(ctx, tx, next, step, "")
		return err
	})
}

// tickByTheClock ticks once the clock was looked at.
func (e *Engine) tickByTheClock(ctx context.Context) error {
	if e.opts.SeeClock != nil {
		if err := e.opts.SeeClock(ctx); err != nil {
			return err
		}
	}
	return e.tick(ctx)
}

// Tick looks at the time now, no matter which server leads: for tests and simulations.
func (e *Engine) Tick(ctx context.Context) error { return e.tick(ctx) }

// tick judges what silence or a missed report decides, takes a census, and
// moves the rollouts on.
func (e *Engine) tick(ctx context.Context) error {
	e.lead.Lock()
	defer e.lead.Unlock()
	// Also while the fleet stands still: then it is noted what runs, and nothing begins.
	if err := e.followSchedules(ctx); err != nil {
		return err
	}
	if e.still.Load() {
		return nil
	}
	// Before the census, which then counts them as what they are.
	if err := e.judgeOverdue(ctx); err != nil {
		return err
	}
	tallies, err := e.tallyRollouts(ctx)
	if err != nil || len(tallies) == 0 {
		return err
	}
	serial, found := e.countHosts(tallies)
	if err := e.storeVerdicts(ctx, found); err != nil {
		return err
	}
	for id, t := range tallies {
		if t.Rollout().Revision > serial {
			continue // the fleet does not know of its last change: the census is of something else
		}
		if err := e.advanceRollout(ctx, id, t); err != nil {
			return err
		}
	}
	return nil
}

// tallyRollouts begins a census of each rollout that a census can move or whose
// grants are not judged.
func (e *Engine) tallyRollouts(ctx context.Context) (map[string]*rollout.Tally, error) {
	tallies := make(map[string]*rollout.Tally)
	for _, id := range e.book.rolloutsThat(wantsCensus) {
		r, err := e.opts.Store.Rollout(ctx, id)
		if err != nil {
			return nil, err
		}
		e.book.refreshRollout(r)
		tallies[id] = rollout.NewTally(r)
	}
	return tallies, nil
}

func wantsCensus(r api.Rollout) bool {
	return !rollout.Ended(r.State) || rollout.InFlight(r) > 0
}

// countHosts fills the tallies from the fleet as it is with a serial, and finds
// verdicts that no report brought: one that came while another replica
// granted, or before a restart.
func (e *Engine) countHosts(tallies map[string]*rollout.Tally) (serial int64, found []verdict) {
	now := time.Now()
	serial = e.opts.Fleet.EachStand(func(s fleet.Stand) {
		t := tallies[s.Rollout]
		if t == nil {
			return
		}
		r, n, granted, _ := e.book.lookUp(s.Rollout, s.Host)
		rep := reportOf(s)
		h := rollout.Host{
			Name: s.Host, OnTarget: rollout.OnTarget(r, rep), Held: s.Barred != "", NoArtifact: s.NoArtifact, Silent: s.Silent,
			InGroup: func(g string) bool { return slices.Contains(s.Groups, g) },
		}
		if !granted {
			t.Waiting(h)
			return
		}
		g := n.grantOf(s.Rollout, s.Host)
		t.Granted(h, g)
		rep.SinceGrant = rep.At.After(g.Granted)
		if v, ok := judgementOf(r, g, rollout.Judge(r, g, rep), now); ok {
			found = append(found, v)
		}
	})
	return serial, found
}

// judgeOverdue fails what is not healthy by its deadline.
func (e *Engine) judgeOverdue(ctx context.Context) error {
	now := time.Now()
	due, err := e.opts.Store.DueGrants(ctx, now, dueAtOnce)
	if err != nil {
		return err
	}
	var found []verdict
	for _, g := range due {
		r, _, _, known := e.book.lookUp(g.Rollout, g.Host)
		if !known || rollout.Ended(r.State) {
			gone, err := e.withdrawPassedOver(ctx, g)
			if err != nil {
				return err
			}
			if gone {
				continue
			}
		}
		if !known {
			if f, ok := e.judgeForgotten(ctx, g, now); ok {
				found = append(found, f)
			}
			continue
		}
		v := rollout.Overdue(r, g, e.lastReport(g), now)
		if v.Reason == rollout.ReasonHeldDeadline {
			if err := e.postponeDeadline(ctx, r, g); err != nil {
				return err
			}
		}
		if f, ok := judgementOf(r, g, v, now); ok {
			found = append(found, f)
		}
	}
	return e.storeVerdicts(ctx, found)
}

// withdrawPassedOver withdraws a grant that something else took the place of
// before its host could show anything: that it is not on the target by the
// deadline says nothing of the release. A host that is silent since is no such.
func (e *Engine) withdrawPassedOver(ctx context.Context, g api.Grant) (gone bool, err error) {
	r, err := e.opts.Store.Rollout(ctx, g.Rollout)
	h, known := e.opts.Fleet.Host(g.Host)
	if err != nil || !known || !h.LastSeen.After(r.UpdatedAt) || !rollout.PassedOver(r, agentOf(h, r.Agent)) {
		return false, err
	}
	_, err = e.opts.Store.Steer(ctx, self, g.Rollout, func(tx *store.Tx, _ api.Rollout) error { return tx.WithdrawGrant(ctx, g) })
	if err == nil {
		e.book.dropGrant(key{g.Rollout, g.Host})
	}
	return err == nil, err
}

// agentOf is what a host says of an agent; nothing when it has none.
func agentOf(h api.Host, name string) api.HostAgent {
	for _, a := range h.Agents {
		if a.Name == name {
			return a
		}
	}
	return api.HostAgent{Name: name}
}

// lastReport is what a granted host last said; one that is barred counts as
// held.
func (e *Engine) lastReport(g api.Grant) rollout.Report {
	stand, _ := e.opts.Fleet.StandOf(g.Host, g.Rollout)
	rep := reportOf(stand)
	// A hold of the server counts like one of the host: neither lets it do what it was
	// granted.
	rep.Agent.Held = rep.Agent.Held || stand.Barred != ""
	return rep
}

// postponeDeadline gives a held host its whole time again.
func (e *Engine) postponeDeadline(ctx context.Context, r api.Rollout, g api.Grant) error {
	return e.steerRollout(ctx, self, g.Rollout, func(tx *store.Tx, _ api.Rollout) error {
		return tx.MoveDeadlines(ctx, g.Rollout, g.Host, r.Strategy.GrantDeadline())
	})
}

// judgeForgotten settles a grant of a rollout that is no longer in force: whether
// its host runs the target is all that is left to say, and nobody is told.
func (e *Engine) judgeForgotten(ctx context.Context, g api.Grant, now time.Time) (verdict, bool) {
	r, err := e.opts.Store.Rollout(ctx, g.Rollout)
	if err != nil {
		return verdict{}, false
	}
	v := rollout.Verdict{Outcome: api.OutcomeFailed, Reason: rollout.ReasonDeadline, Message: "not judged when the rollout ended"}
	if h, ok := e.opts.Fleet.Host(g.Host); ok {
		for _, a := range h.Agents {
			if a.Name == r.Agent && rollout.OnTarget(r, rollout.Report{Agent: a}) {
				v = rollout.Verdict{Outcome: api.OutcomeSucceeded, Reason: rollout.ReasonHealthy, Message: "runs " + r.Version + " in good health"}
			}
		}
	}
	f, ok := judgementOf(r, g, v, now)
	// Whoever ended the rollout knows; a notice now would read as a new failure.
	f.Notes = nil
	return f, ok
}

// advanceRollout moves a rollout one step on if the census lets it. A census holds
// for the rollout as it was counted and for no later one: after each step the
// hosts are counted again.
func (e *Engine) advanceRollout(ctx context.Context, id string, t *rollout.Tally) error {
	counted := t.Rollout().Revision
	c := t.Census()
	r, err := e.opts.Store.Rollout(ctx, id)
	// Without the lock: nearly every tick changes nothing, and need not stand in the
	// way of grants. What is found is decided again below.
	if err != nil || r.Revision != counted {
		return err
	}
	next, step := rollout.Tick(r, c, time.Now())
	if !step.Changed() {
		return e.saveProgress(ctx, r, next)
	}
	// The next stage may have nothing to wait for.
	defer e.wake()
	return e.stepRollout(ctx, id, func(r api.Rollout, now time.Time) (api.Rollout, rollout.Step) {
		if r.Revision != counted {
			return r, rollout.Step{}
		}
		return rollout.Tick(r, c, now)
	})
}

func (e *Engine) saveProgress(ctx context.Context, was, now api.Rollout) error {
	if slices.Equal(was.Progress, now.Progress) {
		return nil
	}
	err := e.opts.Store.SaveProgress(ctx, was.ID, now.Progress)
	if err == nil && e.opts.Progress != nil {
		e.opts.Progress(was.ID)
	}
	return err
}
