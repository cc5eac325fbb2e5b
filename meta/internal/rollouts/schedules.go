package rollouts

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/schedule"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

// followAtLeast is how often schedules are looked at when nothing was written and
// no window opens: what hosts can have changes with their reports.
const followAtLeast = 20 * time.Second

// following is when schedules are to be looked at.
type following struct {
	mu     sync.Mutex
	any    bool  // there are schedules
	serial int64 // of the last write known here
	looked int64 // serial of the last look
	next   time.Time
}

// noteWanted notes that something was written.
func (f *following) noteWanted(w api.Wanted) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.any, f.serial = len(w.Schedules) > 0, w.Serial
}

// isDue reports whether to look now; the look is of the serial that it returns.
func (f *following) isDue(now time.Time) (serial int64, due bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.serial, f.any && (f.serial != f.looked || !now.Before(f.next))
}

func (f *following) noteLook(serial int64, next time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.looked, f.next = serial, next
}

// followSchedules begins what schedules say. What is found from outside of a
// transaction is decided again within the one that begins it: of several servers
// that find the same one begins it, and what was killed in between has begun it
// or has not.
func (e *Engine) followSchedules(ctx context.Context) error {
	start := time.Now()
	serial, due := e.follows.isDue(start)
	if !due {
		return nil
	}
	all, err := api.All(func(after string) (api.Page[api.Schedule], error) {
		return e.opts.Store.Schedules(ctx, "", api.Cursor{After: after, Limit: api.MaxPage})
	})
	if err != nil {
		return err
	}
	var opens *time.Time
	for _, s := range all {
		until, err := e.followSchedule(ctx, s)
		if err != nil && ctx.Err() == nil { // the others, and rollouts under way, go on
			e.opts.Log.Warn().Err(err).Str("schedule", s.Name).Msg("cannot follow a schedule; it is tried again")
		}
		if until != nil && (opens == nil || until.Before(*opens)) {
			opens = until
		}
	}
	// Whether anybody can have a release walks every host.
	next := time.Now().Add(max(followAtLeast, idleFactor*time.Since(start)))
	if opens != nil && opens.Before(next) {
		next = *opens
	}
	e.follows.noteLook(serial, next)
	return ctx.Err()
}

// followSchedule begins what one schedule says, and returns when its next window opens.
func (e *Engine) followSchedule(ctx context.Context, s api.Schedule) (next *time.Time, err error) {
	found, err := e.situationsOf(ctx, e.opts.Store.Reader, s, look{})
	if err != nil {
		return nil, err
	}
	for _, it := range found {
		d := schedule.Decide(it, time.Now())
		if d.Until != nil && (next == nil || d.Until.Before(*next)) {
			next = d.Until
		}
		if d.Act != schedule.ActNone {
			err = errors.Join(err, e.takeUp(ctx, s.Name, it.Agent))
		}
	}
	return next, err
}

// takeUp does what the schedule says about an agent now, if it still does.
func (e *Engine) takeUp(ctx context.Context, name, agent string) error {
	return e.writeWanted(ctx, self, func(tx *store.Tx) error {
		s, err := tx.Schedule(ctx, name)
		if err != nil {
			return notFoundIsFine(err)
		}
		if len(s.Agents) > 0 && !slices.Contains(s.Agents, agent) {
			return nil // it has been changed meanwhile
		}
		one := s
		one.Agents = []string{agent} // others are none of this write's, which others wait for
		found, err := e.situationsOf(ctx, tx.Reader, one, look{})
		if err != nil {
			return err
		}
		i := slices.IndexFunc(found, func(it schedule.Situation) bool { return it.Agent == agent })
		if i < 0 {
			return nil
		}
		it := found[i]
		take := api.Take{Schedule: name, Agent: agent, Version: it.Channel.Version, Moved: it.Channel.Revision}
		switch d := schedule.Decide(it, tx.Now()); d.Act {
		case schedule.ActNone:
			return nil
		case schedule.ActTake:
			take.Rollout = d.Rollout
			tx.KeepSerial()
		case schedule.ActBegin:
			r, err := e.createRolloutFor(ctx, tx, api.NewRollout{
				Agent: agent, Version: it.Channel.Version, Scope: s.Scope, Inline: &it.Strategy,
				Reason: "schedule " + name + ", channel " + s.Channel + " moved by " + it.Channel.MovedBy,
			}, api.Rollout{Schedule: name, Salt: schedule.Salt(it)})
			if err != nil {
				return err
			}
			take.Rollout = r.ID
		}
		return tx.PutTake(ctx, take)
	})
}

// look is how situations are found.
type look struct {
	channel func(*api.Channel) // changes what is followed; nil: nothing does
	// deliverable: also whether anybody can have a release whose window is closed. Every
	// host is looked at for it, so what only begins rollouts leaves it.
	deliverable bool
}

// situationsOf is what decides about every agent of a schedule, by name.
func (e *Engine) situationsOf(ctx context.Context, in store.Reader, s api.Schedule, l look) ([]schedule.Situation, error) {
	s = s.WithScope()
	channels, err := api.All(func(after string) (api.Page[api.Channel], error) {
		return in.Channels(ctx, "", api.Cursor{After: after, Limit: api.MaxPage})
	})
	if err != nil {
		return nil, err
	}
	still, err := in.Standstill(ctx)
	if err != nil {
		return nil, err
	}
	taken, err := in.Takes(ctx, s.Name)
	if err != nil {
		return nil, err
	}
	follows := map[string]api.Channel{}
	for _, c := range channels {
		if c.Name == s.Channel {
			follows[c.Agent] = c
		}
	}
	agents := slices.Sorted(slices.Values(s.Agents))
	if len(agents) == 0 {
		for _, c := range channels { // by agent already
			if c.Name == s.Channel {
				agents = append(agents, c.Agent)
			}
		}
	}
	found := make([]schedule.Situation, 0, len(agents))
	for _, agent := range agents {
		it := schedule.Situation{Schedule: s, Agent: agent, Channel: follows[agent], Taken: taken[agent], Standstill: still}
		if l.channel != nil {
			l.channel(&it.Channel)
		}
		if err := e.fillSituation(ctx, in, &it, l); err != nil {
			return nil, err
		}
		found = append(found, it)
	}
	return found, nil
}

func (e *Engine) fillSituation(ctx context.Context, in store.Reader, it *schedule.Situation, l look) (err error) {
	scope, version := it.Schedule.Scope, it.Channel.Version
	if it.Strategy, err = e.strategyOf(ctx, in, api.NewRollout{Agent: it.Agent, Scope: scope, Strategy: it.Schedule.Strategy}); err != nil {
		return err
	}
	if it.Assigned, err = in.Assignment(ctx, it.Agent, scope); notFoundIsFine(err) != nil {
		return err
	}
	if it.Latest, err = in.LatestRollout(ctx, it.Agent, scope); notFoundIsFine(err) != nil {
		return err
	}
	if version == "" {
		return nil
	}
	if it.Of, err = in.RolloutsOf(ctx, it.Agent, version); err != nil {
		return err
	}
	release, err := in.Release(ctx, it.Agent, version)
	if notFoundIsFine(err) != nil {
		return err
	}
	it.Published = len(release.Artifacts) > 0
	// Every host is looked at for it: only where nothing else is in the way.
	if d := schedule.Decide(*it, time.Now()); d.Act == schedule.ActBegin || d.Reason == schedule.ReasonOutsideWindow && l.deliverable {
		if err := e.CheckDeliverable(ctx, in, it.Agent, version, scope); err != nil {
			it.Refusal = err.Error()
		}
	}
	return nil
}

// ScheduleStates is how every agent stands in a schedule.
func (e *Engine) ScheduleStates(ctx context.Context, name string) ([]api.ScheduleState, error) {
	s, err := e.opts.Store.Schedule(ctx, name)
	if err != nil {
		return nil, err
	}
	done, err := e.oneAtATime(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	found, err := e.situationsOf(ctx, e.opts.Store.Reader, s, look{deliverable: true})
	if err != nil {
		return nil, err
	}
	states := make([]api.ScheduleState, 0, len(found))
	for _, it := range found {
		d := schedule.Decide(it, time.Now())
		state := api.ScheduleState{
			Schedule: name, Agent: it.Agent, Channel: s.Channel, Version: it.Channel.Version, Assigned: it.Assigned.Version, Strategy: it.Strategy.Name,
			Reason: string(d.Reason), Message: d.Message, Rollout: d.Rollout, Until: d.Until,
		}
		if it.Taken.Version != "" {
			state.Taken = &it.Taken
		}
		states = append(states, state)
	}
	return states, nil
}
