package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
)

// DeleteEvents deletes events from before a time, at most limit of them, and
// returns how many: call it until it returns less, so that no transaction
// gets long. The audit log is kept for good.
func (s *Store) DeleteEvents(ctx context.Context, before time.Time, limit int) (deleted int64, err error) {
	err = s.inTx(ctx, "delete old events", func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, `DELETE FROM host_events WHERE id IN (SELECT id FROM host_events WHERE time < $1 LIMIT $2)`, toMicros(before), limit)
		if err == nil {
			deleted, err = result.RowsAffected()
		}
		return err
	})
	return deleted, err
}

// DeleteGrants deletes grants from before a time of rollouts that are no
// longer in force, at most limit of them, and returns how many. The rollouts
// keep their counts and transitions.
func (s *Store) DeleteGrants(ctx context.Context, before time.Time, limit int) (deleted int64, err error) {
	err = s.inTx(ctx, "delete old grants", func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, `DELETE FROM grants WHERE (rollout, host) IN
			(SELECT g.rollout, g.host FROM rollouts r JOIN grants g ON g.rollout = r.name WHERE r.active = 0 AND g.granted < $1 LIMIT $2)`, toMicros(before), limit)
		if err == nil {
			deleted, err = result.RowsAffected()
		}
		return err
	})
	return deleted, err
}

// UnusedReleases lists releases older than a time that are neither assigned
// nor part of a running rollout, nor what one would go back to: what retention
// may delete.
func (s *Store) UnusedReleases(ctx context.Context, before time.Time) ([]api.Release, error) {
	w, err := s.Wanted(ctx)
	if err != nil {
		return nil, err
	}
	used := map[string]bool{}
	for _, a := range w.Assignments {
		used[nameOf(a.Agent, a.Version)] = true
	}
	for _, r := range w.Rollouts {
		used[nameOf(r.Agent, r.Version)] = true
		used[nameOf(r.Agent, r.Previous)] = true
	}
	unused := []api.Release{}
	for _, r := range w.Releases {
		if !used[releases.name(r)] && r.CreatedAt.Before(before) {
			unused = append(unused, r)
		}
	}
	return unused, nil
}
