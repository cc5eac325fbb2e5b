package rollouts

import (
	"context"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/fleet"
)

// Confirm brings this server up to date with what a host claims that it was
// told: what is wanted, and the host's own grants.
func (e *Engine) Confirm(ctx context.Context, host string, claims []fleet.Claim) error {
	if err := e.lookAtRollouts(ctx); err != nil {
		return err
	}
	for _, c := range claims {
		for _, id := range e.book.rolloutsClaimed(host, c) {
			if err := e.learnGrant(ctx, id, host); err != nil {
				e.patience.learnOutcome(err, time.Now())
				return err
			}
		}
	}
	return nil
}

// rolloutsClaimed is the rollouts in force that a claim may be by, without those that
// the host is known to be granted.
func (b *book) rolloutsClaimed(host string, c fleet.Claim) []string {
	return b.rolloutsThat(func(r api.Rollout) bool {
		_, granted := b.entries[r.ID].grants[host]
		return !granted && r.Agent == c.Agent && (r.ID == c.Rollout || r.Version == c.Version)
	})
}

// learnGrant looks for a grant that another server made a moment ago.
func (e *Engine) learnGrant(ctx context.Context, id, host string) error {
	granted, err := e.grantedElsewhere(ctx, id, host)
	if granted {
		e.opts.Fleet.AddGrants(id, host)
	}
	return err
}

// lookAtRollouts takes over what is wanted if another server has changed it. Anyone who
// asks has what was stored before it asked.
func (e *Engine) lookAtRollouts(ctx context.Context) error {
	if !e.patience.try(time.Now()) {
		return errStalled
	}
	done, begin := e.looks.joinWork()
	if begin {
		// One look serves all who wait, so the heartbeat that begins it must not take
		// it along when it goes away.
		e.beside.Go(func() { e.lookForAll(context.WithoutCancel(ctx)) })
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (e *Engine) lookForAll(ctx context.Context) {
	for waiting := e.looks.nextWaiters(); len(waiting) > 0; waiting = e.looks.nextWaiters() {
		err := e.lookOnce(ctx)
		e.patience.learnOutcome(err, time.Now())
		for _, done := range waiting {
			done <- err
		}
	}
}

func (e *Engine) lookOnce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, workWithin)
	defer cancel()
	serial, err := e.opts.Store.Serial(ctx)
	// Cheap when nothing is new, which is nearly always.
	if err != nil || serial <= e.opts.Fleet.Snapshot().Serial() || e.opts.Reload == nil {
		return err
	}
	return e.opts.Reload(ctx, serial)
}

// grantedElsewhere looks for a grant that another server made.
func (e *Engine) grantedElsewhere(ctx context.Context, id, host string) (bool, error) {
	if !e.shared {
		return false, nil
	}
	g, err := e.opts.Store.Grant(ctx, id, host)
	if err != nil {
		return false, notFoundIsFine(err)
	}
	e.book.noteGrant(g)
	if outcomeOf(g.Outcome, g.Reason) == takenBack {
		e.opts.Fleet.TakeBack(id, host)
		return false, nil
	}
	return true, nil
}

// Attach joins the engine to the fleet, before the first heartbeat.
func (e *Engine) Attach() {
	e.opts.Fleet.AttachRollouts(e, e)
	if e.shared {
		e.opts.Fleet.ConfirmWith(e)
	}
}
