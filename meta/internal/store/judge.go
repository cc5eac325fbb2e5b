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

// Judgement says how a grant turned out. A failure may also take an earlier
// success back, with Undo.
type Judgement struct {
	Rollout string
	Host    string
	Outcome string // api.OutcomeSucceeded, api.OutcomeFailed
	Undo    bool   // the grant was judged a success before
	Reason  string // machine-readable
	Time    time.Time

	Events []api.Event        // stored with it
	Notes  []api.Notification // owed with it
}

// JudgeGrants stores outcomes of grants that are not judged yet, all in one
// transaction, and raises the counters of their stages. It returns those that
// took effect: a grant is judged once, whoever comes second is ignored.
func (s *Store) JudgeGrants(ctx context.Context, judgements []Judgement) (took []Judgement, err error) {
	err = s.inTx(ctx, "judge grants", func(tx *sql.Tx) error {
		took, err = judgeAll(ctx, tx, judgements)
		return err
	})
	if err != nil {
		return nil, err
	}
	return took, nil
}

// JudgeGrants is [Store.JudgeGrants] as part of a write, for judgements that
// may move the rollout: no grant can be made between the two. By itself it is
// no change of what is wanted; see [Tx.Keep].
func (tx *Tx) JudgeGrants(ctx context.Context, judgements []Judgement) ([]Judgement, error) {
	took, err := judgeAll(ctx, tx.q, judgements)
	return took, fault("judge grants", err)
}

func judgeAll(ctx context.Context, q querier, judgements []Judgement) (took []Judgement, err error) {
	sorted := slices.Clone(judgements)
	slices.SortStableFunc(sorted, func(a, b Judgement) int { // no deadlocks between replicas
		return cmp.Or(cmp.Compare(a.Rollout, b.Rollout), cmp.Compare(a.Host, b.Host))
	})
	for i, j := range sorted {
		if j.Outcome != api.OutcomeSucceeded && j.Outcome != api.OutcomeFailed {
			return nil, &api.Error{Kind: api.KindInvalid, Field: "outcome", Message: fmt.Sprintf("outcome %q is not known", j.Outcome)}
		}
		if i == 0 || sorted[i-1].Rollout != j.Rollout {
			if err := lockRollout(ctx, q, j.Rollout); err != nil {
				return nil, err
			}
		}
		done, err := judge(ctx, q, j)
		if err != nil {
			return nil, err
		}
		if done {
			took = append(took, j)
		}
	}
	return took, nil
}

// lockRollout takes a rollout's row before its grants, as reserving does.
func lockRollout(ctx context.Context, q querier, rollout string) error {
	_, err := q.ExecContext(ctx, `UPDATE rollouts SET in_flight = in_flight WHERE name = $1`, clean(rollout))
	return err
}

func judge(ctx context.Context, q querier, j Judgement) (bool, error) {
	was := ""
	if j.Undo {
		was = api.OutcomeSucceeded
	}
	var stage int
	err := q.QueryRowContext(ctx, `UPDATE grants SET outcome = $3, judged = $4, reason = $5
		WHERE rollout = $1 AND host = $2 AND outcome = $6 RETURNING stage`,
		clean(j.Rollout), clean(j.Host), j.Outcome, micros(j.Time), clean(j.Reason), was).Scan(&stage)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := countJudgement(ctx, q, j, stage); err != nil {
		return false, err
	}
	if err := insertEvents(ctx, q, j.Events); err != nil {
		return false, err
	}
	return true, insertNotes(ctx, q, j.Time, j.Notes)
}

func countJudgement(ctx context.Context, q querier, j Judgement, stage int) error {
	succeeded, failed := 1, 0
	if j.Outcome == api.OutcomeFailed {
		succeeded, failed = 0, 1
	}
	if j.Undo {
		succeeded--
	} else if _, err := q.ExecContext(ctx, `UPDATE rollouts SET in_flight = in_flight - 1 WHERE name = $1`, clean(j.Rollout)); err != nil {
		return err
	}
	_, err := q.ExecContext(ctx, `UPDATE rollout_stages SET succeeded = succeeded + $3, failed = failed + $4 WHERE rollout = $1 AND stage = $2`,
		clean(j.Rollout), stage, succeeded, failed)
	return err
}
