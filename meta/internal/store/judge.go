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
	Rollout    string
	Host       string
	Outcome    string // api.OutcomeSucceeded, api.OutcomeFailed
	Undo       bool   // the grant was judged a success before
	Reason     string // machine-readable
	HostReason string // the host's own code
	Time       time.Time

	Events []api.Event        // stored with it
	Notes  []api.Notification // owed with it
}

// JudgeGrants stores outcomes of grants that are not judged yet, all in one
// transaction, and raises the counters of their stages. It returns those that
// took effect: a grant is judged once, and the second judgement is ignored.
func (s *Store) JudgeGrants(ctx context.Context, judgements []Judgement) (took []Judgement, err error) {
	err = s.inTx(ctx, "judge grants", func(sqlTx *sql.Tx) error {
		took, err = s.newTx(sqlTx, api.Actor{}, 0).JudgeGrants(ctx, judgements)
		return err
	})
	if err != nil {
		return nil, err
	}
	return took, nil
}

// JudgeGrants is [Store.JudgeGrants] as part of a transaction, for judgements
// that may move the rollout: no grant can be made between the two. By itself
// it is no change of what is wanted.
func (tx *Tx) JudgeGrants(ctx context.Context, judgements []Judgement) (took []Judgement, err error) {
	sorted := slices.Clone(judgements)
	slices.SortStableFunc(sorted, func(a, b Judgement) int { // no deadlocks between replicas
		return cmp.Or(cmp.Compare(a.Rollout, b.Rollout), cmp.Compare(a.Host, b.Host))
	})
	for i, j := range sorted {
		// Grants, verdicts and steps of a rollout take turns, or a host could be
		// granted between a failure and the closed gate.
		if i == 0 || sorted[i-1].Rollout != j.Rollout {
			if err := tx.lockRollout(ctx, j.Rollout); err != nil {
				return nil, err
			}
		}
		done, err := tx.judgeGrant(ctx, j)
		if err != nil {
			return nil, err
		}
		if done {
			took = append(took, j)
		}
	}
	return took, nil
}

var counterOf = map[string]string{api.OutcomeSucceeded: "succeeded", api.OutcomeFailed: "failed"}

func (tx *Tx) judgeGrant(ctx context.Context, j Judgement) (took bool, err error) {
	if counterOf[j.Outcome] == "" || j.Undo && j.Outcome != api.OutcomeFailed {
		return false, &api.Error{Kind: api.KindInvalid, Field: "outcome", Message: fmt.Sprintf("outcome %q is not known", j.Outcome)}
	}
	was := ""
	if j.Undo {
		was = api.OutcomeSucceeded
	}
	var stage int
	// The outcome of before is part of the condition: of two replicas that judge the
	// same grant one changes the row and counts it.
	err = tx.q.QueryRowContext(ctx, `UPDATE grants SET outcome = $4, judged = $5, reason = $6, host_reason = $7
		WHERE rollout = $1 AND host = $2 AND outcome = $3 RETURNING stage`,
		cleanText(j.Rollout), cleanText(j.Host), was, j.Outcome, toMicros(j.Time), cleanText(j.Reason), cleanText(j.HostReason)).Scan(&stage)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, faultOf("judge grant", err)
	}
	if j.Undo {
		if err := tx.addToTally(ctx, j.Rollout, stage, counterOf[was], -1); err != nil {
			return false, err
		}
	}
	if err := tx.addToTally(ctx, j.Rollout, stage, counterOf[j.Outcome], 1); err != nil {
		return false, err
	}
	if err := tx.store.dialect.insertEvents(ctx, tx.q, j.Events); err != nil {
		return false, faultOf("write events", err)
	}
	return true, faultOf("write notifications", insertNotes(ctx, tx.q, j.Time, j.Notes))
}

// addToTally changes a counter of a stage.
func (tx *Tx) addToTally(ctx context.Context, rollout string, stage int, counter string, by int) error {
	_, err := tx.q.ExecContext(ctx, `INSERT INTO rollout_stages (rollout, stage, `+counter+`) VALUES ($1, $2, $3)
		ON CONFLICT (rollout, stage) DO UPDATE SET `+counter+` = rollout_stages.`+counter+` + excluded.`+counter,
		cleanText(rollout), stage, by)
	return faultOf("count grants", err)
}
