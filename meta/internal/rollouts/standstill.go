package rollouts

import (
	"context"

	"github.com/ops-updater/ops-updater/meta/api"
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

// GoOn gives what was granted before a standstill its whole time again, and has schedules
// begin nothing that the database of before waited to begin. Call it in the transaction
// that ends the standstill, before its end.
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
	return e.leaveOldReleases(ctx, tx, w)
}

// leaveOldReleases notes that every release which a channel pointed at before the
// database went back has had its turn: hosts may have had it and a later one since,
// and nobody has said that they shall go back. What a channel was moved to after
// that moment is meant, and begins.
func (e *Engine) leaveOldReleases(ctx context.Context, tx *store.Tx, w api.Wanted) error {
	if w.Standstill == nil {
		return nil
	}
	for _, s := range w.Schedules {
		found, err := e.situationsOf(ctx, tx.Reader, s, look{})
		if err != nil {
			return err
		}
		for _, it := range found {
			if it.TookUp() || it.Channel.Version == "" || it.Channel.MovedAt.After(w.Standstill.Since) {
				continue
			}
			if err := tx.PutTake(ctx, api.Take{Schedule: s.Name, Agent: it.Agent, Version: it.Channel.Version, Moved: it.Channel.Revision}); err != nil {
				return err
			}
		}
	}
	return nil
}
