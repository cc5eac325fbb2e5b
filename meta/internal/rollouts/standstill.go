package rollouts

import (
	"context"

	"github.com/ops-updater/ops-updater/meta/internal/rollout"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

// StandStill pauses every rollout under way. Call it in the transaction that
// begins the standstill.
func (e *Engine) StandStill(ctx context.Context, tx *store.Tx) error {
	w, err := tx.Wanted(ctx)
	if err != nil {
		return err
	}
	for _, r := range w.Rollouts {
		next, step := rollout.StandStill(r, tx.Now())
		if !step.Changed() {
			continue
		}
		if _, err := e.moveRollout(ctx, tx, next, step, ""); err != nil {
			return err
		}
	}
	return nil
}

// GoOn gives what was granted before a standstill its whole time again. Call
// it in the transaction that ends it.
func (e *Engine) GoOn(ctx context.Context, tx *store.Tx) error {
	w, err := tx.Wanted(ctx)
	if err != nil {
		return err
	}
	for _, r := range w.Rollouts {
		if err := tx.RenewDeadlines(ctx, r.ID, r.Strategy.GrantDeadline()+e.opts.Grace); err != nil {
			return err
		}
	}
	return nil
}
