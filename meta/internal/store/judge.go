package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
)

// Judgement says how a grant turned out.
type Judgement struct {
	Rollout string
	Host    string
	Outcome string // api.OutcomeSucceeded, api.OutcomeFailed
	Reason  string // machine-readable
	Time    time.Time

	Events []api.Event        // stored with it
	Notes  []api.Notification // owed with it
}

// JudgeGrants stores outcomes of grants that are not judged yet, all in one
// transaction, and raises the counters of their stages. It returns those that
// took effect: a grant is judged once, whoever comes second is ignored.
func (s *Store) JudgeGrants(ctx context.Context, judgements []Judgement) (took []Judgement, err error) {
	sorted := slices.Clone(judgements)
	slices.SortStableFunc(sorted, func(a, b Judgement) int { // no deadlocks between replicas
		return cmp.Or(cmp.Compare(a.Rollout, b.Rollout), cmp.Compare(a.Host, b.Host))
	})
	for _, j := range sorted {
		if j.Outcome != api.OutcomeSucceeded && j.Outcome != api.OutcomeFailed {
			return nil, &api.Error{Kind: api.KindInvalid, Field: "outcome", Message: fmt.Sprintf("outcome %q is not known", j.Outcome)}
		}
	}
	err = s.inTx(ctx, "judge grants", func(tx *sql.Tx) error {
		took = nil
		for i, j := range sorted {
			if i == 0 || sorted[i-1].Rollout != j.Rollout {
				if err := lockRollout(ctx, tx, j.Rollout); err != nil {
					return err
				}
			}
			done, err := judge(ctx, tx, j)
			if err != nil {
				return err
			}
			if done {
				took = append(took, j)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return took, nil
}

// lockRollout takes a rollout's row before its grants, as reserving does.
func lockRollout(ctx context.Context, tx *sql.Tx, rollout string) error {
	_, err := tx.ExecContext(ctx, `UPDATE rollouts SET in_flight = in_flight WHERE name = $1`, clean(rollout))
	return err
}

func judge(ctx context.Context, tx *sql.Tx, j Judgement) (bool, error) {
	var stage int
	err := tx.QueryRowContext(ctx, `UPDATE grants SET outcome = $3, judged = $4, reason = $5
		WHERE rollout = $1 AND host = $2 AND outcome = '' RETURNING stage`,
		clean(j.Rollout), clean(j.Host), j.Outcome, micros(j.Time), clean(j.Reason)).Scan(&stage)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if _, err := tx.ExecContext(ctx, `UPDATE rollouts SET in_flight = in_flight - 1 WHERE name = $1`, clean(j.Rollout)); err != nil {
		return false, err
	}
	counter := "succeeded"
	if j.Outcome == api.OutcomeFailed {
		counter = "failed"
	}
	_, err = tx.ExecContext(ctx, `UPDATE rollout_stages SET `+counter+` = `+counter+` + 1 WHERE rollout = $1 AND stage = $2`, clean(j.Rollout), stage)
	if err != nil {
		return false, err
	}
	if err := insertEvents(ctx, tx, j.Events); err != nil {
		return false, err
	}
	return true, insertNotes(ctx, tx, j.Time, j.Notes)
}
