package rollouts

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/fleet"
	"github.com/ops-updater/ops-updater/meta/internal/rollout"
)

// RolloutHosts lists the hosts of a rollout by name: those that were granted
// from the store, the others, while it has not ended, from the fleet as it is
// now. An empty state is all of them.
func (e *Engine) RolloutHosts(ctx context.Context, id string, state api.RolloutHostState, c api.Cursor) (api.Page[api.RolloutHost], error) {
	r, err := e.opts.Store.Rollout(ctx, id)
	if err != nil {
		return api.Page[api.RolloutHost]{}, err
	}
	if c.Limit <= 0 {
		c.Limit = api.DefaultPage
	}
	found, err := e.grantedHosts(ctx, r, state, c)
	if err != nil {
		return api.Page[api.RolloutHost]{}, err
	}
	// From two places, each sorted and one longer than the page: together their first
	// ones are the page, and the cursor holds for both.
	found = append(found, e.ungrantedHosts(r, state, c)...)
	slices.SortFunc(found, func(x, y api.RolloutHost) int { return cmp.Compare(x.Host, y.Host) })
	page := api.Page[api.RolloutHost]{Items: append([]api.RolloutHost{}, found[:min(len(found), c.Limit)]...)}
	if len(found) > c.Limit {
		page.Next = page.Items[c.Limit-1].Host
	}
	return page, nil
}

// grantFilters are the states of hosts that have a grant.
var grantFilters = map[api.RolloutHostState]api.GrantFilter{
	"":                       {},
	api.RolloutHostInFlight:  {Open: true},
	api.RolloutHostHeld:      {Open: true},
	api.RolloutHostSucceeded: {Outcome: api.OutcomeSucceeded},
	api.RolloutHostFailed:    {Outcome: api.OutcomeFailed},
}

// grantedHosts are the next hosts after the cursor that have r's grant and are
// in a state: one more than the page, when there are.
func (e *Engine) grantedHosts(ctx context.Context, r api.Rollout, state api.RolloutHostState, c api.Cursor) ([]api.RolloutHost, error) {
	filter, wanted := grantFilters[state]
	if !wanted {
		return nil, nil
	}
	filter.Rollout = r.ID
	var found []api.RolloutHost
	next := api.Cursor{Limit: c.Limit + 1}
	if c.After != "" {
		next.After = r.ID + "/" + c.After
	}
	for {
		page, err := e.opts.Store.Grants(ctx, filter, next)
		if err != nil {
			return nil, err
		}
		for _, g := range page.Items {
			if h := e.grantedHost(r, g); (state == "" || h.State == state) && len(found) <= c.Limit {
				found = append(found, h)
			}
		}
		if page.Next == "" || len(found) > c.Limit {
			return found, nil
		}
		next.After = page.Next
	}
}

func (e *Engine) grantedHost(r api.Rollout, g api.Grant) api.RolloutHost {
	h := api.RolloutHost{
		Host: g.Host, Stage: g.Stage, Reason: g.Reason, HostReason: g.HostReason, Granted: &g.Granted, Deadline: &g.Deadline, Judged: g.Judged,
	}
	stand, concerned := e.opts.Fleet.StandOf(g.Host, r.ID)
	if !concerned {
		stand = e.standWithoutRules(g.Host, r.Agent)
	}
	setReported(&h, stand)
	switch {
	case g.Outcome == api.OutcomeFailed:
		h.State, h.Message = api.RolloutHostFailed, stand.Agent.Error
	case g.Outcome == api.OutcomeSucceeded:
		h.State = api.RolloutHostSucceeded
	case stand.Barred != "":
		h.State, h.Message = api.RolloutHostHeld, stand.Barred
	default:
		h.State = api.RolloutHostInFlight
	}
	return h
}

// standWithoutRules is what a host reports of an agent, for a rollout that no
// longer concerns it.
func (e *Engine) standWithoutRules(host, agent string) fleet.Stand {
	s := fleet.Stand{Host: host}
	h, known := e.opts.Fleet.Host(host)
	if !known {
		return s
	}
	s.Seen, s.Silent = h.LastSeen, h.Silent
	if i := slices.IndexFunc(h.Agents, func(a api.HostAgent) bool { return a.Name == agent }); i >= 0 {
		s.Agent = h.Agents[i]
	}
	return s
}

func setReported(h *api.RolloutHost, s fleet.Stand) {
	h.Version, h.Status, h.Phase = s.Agent.Version, s.Agent.Status, string(s.Agent.Phase)
	if !s.Seen.IsZero() {
		seen := s.Seen.UTC()
		h.LastSeen = &seen
	}
}

// ungrantedHosts are the next hosts after the cursor that r concerns, that
// have no grant of it and are in a state. Nobody waits for a rollout that has
// ended.
func (e *Engine) ungrantedHosts(r api.Rollout, state api.RolloutHostState, c api.Cursor) (found []api.RolloutHost) {
	_, needsGrant := grantFilters[state]
	if rollout.Ended(r.State) || needsGrant && state != "" && state != api.RolloutHostHeld {
		return nil
	}
	now := time.Now()
	e.opts.Fleet.StandsAfter(r.ID, c.After, func(s fleet.Stand) bool {
		// Granted since the store was asked: the host is on the next look's list, not
		// twice on this.
		if _, _, granted, known := e.book.lookUp(r.ID, s.Host); granted || !known {
			return known
		}
		if h := ungrantedHost(r, s, now); state == "" || h.State == state {
			found = append(found, h)
		}
		return len(found) <= c.Limit
	})
	return found
}

func ungrantedHost(r api.Rollout, s fleet.Stand, now time.Time) api.RolloutHost {
	host := rollout.Host{
		Name: s.Host, OnTarget: rollout.OnTarget(r, reportOf(s)), Held: s.Barred != "", NoArtifact: s.NoArtifact, Silent: s.Silent,
		InGroup: func(g string) bool { return slices.Contains(s.Groups, g) },
	}
	state, why := rollout.StateOf(r, host, now)
	h := api.RolloutHost{
		Host: s.Host, State: state, Stage: rollout.StageOf(r, host), Reason: string(why.Reason), Message: why.Message,
	}
	if state == api.RolloutHostHeld || state == api.RolloutHostNoArtifact {
		h.Message = s.Barred
	}
	setReported(&h, s)
	return h
}
