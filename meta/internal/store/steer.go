package store

import (
	"context"
	"database/sql"

	"github.com/ops-updater/ops-updater/meta/api"
)

// RolloutsInForce lists the rollouts of an agent to a scope whose grants
// count, the newest first.
func (r Reader) RolloutsInForce(ctx context.Context, agent string, scope api.Scope) ([]api.Rollout, error) {
	w := matching("agent", agent, "scope_kind", string(scope.Kind), "scope_name", clean(scope.Name), "active", 1)
	return r.findRollouts(ctx, w, ` ORDER BY created DESC, name DESC`)
}

// FreeHosts lets other rollouts have the hosts whose grants of a rollout are
// not judged yet.
func (tx *Tx) FreeHosts(ctx context.Context, rollout string) error {
	_, err := tx.q.ExecContext(ctx, `UPDATE grants SET exclusive = 0 WHERE rollout = $1 AND outcome = ''`, clean(rollout))
	return fault("free hosts", err)
}

// Postpone moves the deadlines of grants that are not judged to those given.
func (s *Store) Postpone(ctx context.Context, grants []api.Grant) error {
	return s.inTx(ctx, "postpone deadlines", func(tx *sql.Tx) error {
		for _, g := range grants {
			_, err := tx.ExecContext(ctx, `UPDATE grants SET deadline = $3 WHERE rollout = $1 AND host = $2 AND outcome = ''`,
				clean(g.Rollout), clean(g.Host), micros(g.Deadline))
			if err != nil {
				return err
			}
		}
		return nil
	})
}
