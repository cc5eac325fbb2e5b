package rollouts

import (
	"context"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/rollout"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

// ClockJumped moves what rollouts wait for by as much as the clock has jumped.
func (e *Engine) ClockJumped(ctx context.Context, by time.Duration) error {
	for _, id := range e.book.rolloutsThat(wantsCensus) {
		err := e.stepRollout(ctx, id, func(r api.Rollout, now time.Time) (api.Rollout, rollout.Step) {
			return rollout.ClockJumped(r, by, now)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// extendDeadlines moves the deadlines of what is not judged, and keeps them within what
// a grant can need from now on: whatever the clocks were, nobody fails before
// having had time to report, and nobody has for ever.
func (e *Engine) extendDeadlines(ctx context.Context, tx *store.Tx, r api.Rollout, by time.Duration) error {
	if err := tx.MoveDeadlines(ctx, r.ID, "", by); err != nil {
		return err
	}
	most := 2 * (r.Strategy.GrantDeadline() + e.opts.Grace)
	return tx.BoundDeadlines(ctx, r.ID, tx.Now().Add(e.opts.Grace), tx.Now().Add(most))
}
