package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/ops-updater/ops-updater/meta/api"
)

// errNeedsWrite says that a transaction which only holds a rollout wants to
// change what operators change.
var errNeedsWrite = errors.New("needs an operator's transaction")

// Steer runs do with a rollout as it is stored, while nobody else can change
// it or grant by it, on any replica: what do decides by r holds exactly, and
// is durable when Steer returns. do makes grants with [Tx.PutGrant], judges
// them with [Tx.JudgeGrants], and stores a step of the rollout with
// [Tx.UpdateRollout].
//
// Grants and judgements alone take only the rollout's row. As soon as do
// changes what is wanted, it runs again in an operator's transaction, as
// [Store.Write] does it, and the serial is returned, else 0. So do may run
// several times, and must not change what is outside of the transaction.
func (s *Store) Steer(ctx context.Context, actor api.Actor, rollout string, do func(tx *Tx, r api.Rollout) error) (serial int64, err error) {
	locked := func(tx *Tx) error {
		r, err := tx.LockRollout(ctx, rollout)
		if err != nil {
			return err
		}
		return do(tx, r)
	}
	err = s.inTx(ctx, fmt.Sprintf("steer rollout %q", rollout), func(sqlTx *sql.Tx) error {
		tx := s.newTx(sqlTx, actor, 0)
		return callbackFault(locked(tx))
	})
	// Grants of different rollouts run beside each other as long as they change
	// nothing that operators change; only then do they queue with them.
	if !errors.Is(err, errNeedsWrite) {
		return 0, err
	}
	return s.Write(ctx, actor, locked)
}

// LockRollout reads a rollout and keeps everybody else from changing it, or
// granting by it, until the transaction ends.
func (tx *Tx) LockRollout(ctx context.Context, id string) (api.Rollout, error) {
	if err := tx.lockRollout(ctx, id); err != nil {
		return api.Rollout{}, err
	}
	return tx.Rollout(ctx, id)
}

func (tx *Tx) lockRollout(ctx context.Context, rollout string) error {
	if !tx.store.dialect.Postgres { // SQLite's transaction has locked everything
		return nil
	}
	_, err := tx.q.ExecContext(ctx, `SELECT 1 FROM rollouts WHERE name = $1 FOR UPDATE`, cleanText(rollout))
	return faultOf(fmt.Sprintf("lock rollout %q", rollout), err)
}

// RolloutsInForce lists the rollouts of an agent to a scope whose grants
// count, the newest first.
func (r Reader) RolloutsInForce(ctx context.Context, agent string, scope api.Scope) ([]api.Rollout, error) {
	w := whereEqual("agent", agent, "scope_kind", string(scope.Kind), "scope_name", cleanText(scope.Name), "active", 1)
	return r.findRollouts(ctx, w, ` ORDER BY created DESC, name DESC`)
}

// FreeHosts lets other rollouts have the hosts whose grants of a rollout are
// not judged yet.
func (tx *Tx) FreeHosts(ctx context.Context, rollout string) error {
	_, err := tx.q.ExecContext(ctx, `UPDATE grants SET exclusive = 0 WHERE rollout = $1 AND outcome = ''`, cleanText(rollout))
	return faultOf("free hosts", err)
}

// AppendEvents adds events to hosts' timelines.
func (tx *Tx) AppendEvents(ctx context.Context, events ...api.Event) error {
	return faultOf("write events", tx.store.dialect.insertEvents(ctx, tx.q, events))
}
