package engine

import (
	"context"
	"slices"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/rollout"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

// Grant decides whether a host that waits for a rollout may have its target
// now. Refusals come from memory; a grant is durable before it is told.
func (e *Engine) Grant(ctx context.Context, q api.GrantRequest) (bool, error) {
	r, _, granted, known := e.book.look(q.Rollout, q.Host)
	if granted || !known {
		return granted, nil
	}
	h := rollout.Host{
		Name: q.Host, OnTarget: q.Reported == r.Version, Held: q.Held,
		InGroup: func(g string) bool { return slices.Contains(q.Groups, g) },
	}
	_, d := rollout.Admit(r, h, 0, time.Now())
	if !d.Granted() {
		return e.grantedElsewhere(ctx, q)
	}
	return e.reserve(ctx, r, d)
}

// grantedElsewhere looks for a grant that another replica made a moment ago:
// a host on its way to the target must not be called back.
func (e *Engine) grantedElsewhere(ctx context.Context, q api.GrantRequest) (bool, error) {
	if !e.shared {
		return false, nil
	}
	g, err := e.opts.Store.Grant(ctx, q.Rollout, q.Host)
	if api.KindOf(err) == api.KindNotFound && err != nil {
		return false, nil
	}
	if err == nil {
		e.book.note(g)
	}
	return err == nil, err
}

func (e *Engine) reserve(ctx context.Context, r api.Rollout, d rollout.Decision) (bool, error) {
	s, g := r.Strategy, d.Grant
	req := store.GrantRequest{
		Rollout: r.ID, Host: g.Host, Stage: g.Stage, Now: g.Granted, Deadline: g.Deadline,
		StageLimit: rollout.StageLimit(r, g.Stage), MaxInFlight: s.MaxInFlight, Exclusive: !s.Parallel,
		Events: []api.Event{{
			Host: g.Host, Time: g.Granted, Kind: api.EventGrant, Agent: r.Agent, Rollout: r.ID, To: r.Version, Message: d.Message,
		}},
	}
	if s.Rate != nil {
		req.RateHosts, req.RatePeriod = s.Rate.Hosts, time.Duration(s.Rate.Period)*time.Second
	}
	granted, g, err := e.opts.Store.ReserveGrant(ctx, req)
	if err != nil {
		return false, err
	}
	if granted {
		e.book.granted(g)
		return true, nil
	}
	return false, e.catchUp(ctx, r.ID)
}

// catchUp reads a rollout that turned out to be different from what was
// known, though not for each host that asks.
func (e *Engine) catchUp(ctx context.Context, id string) error {
	if !e.book.stale(id) {
		return nil
	}
	r, err := e.opts.Store.Rollout(ctx, id)
	if err == nil {
		e.book.refresh(r)
	}
	return err
}
