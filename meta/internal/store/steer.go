package store

import (
	"context"

	"github.com/ops-updater/ops-updater/meta/api"
)

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
