package rollouts

import (
	"context"
	"fmt"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/fleet"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

// CheckDeliverable refuses a release, for a rollout and for an assignment, that no
// host of the scope can have, because there is no artifact for the arch of any:
// nothing would happen, without a host to blame.
func (e *Engine) CheckDeliverable(ctx context.Context, tx *store.Tx, agent, version string, scope api.Scope) error {
	in, err := scopeOf(ctx, tx, scope)
	if err != nil {
		return err
	}
	release, err := tx.Release(ctx, agent, version)
	if err != nil {
		return err
	}
	without, can := map[string]int{}, 0
	rules := e.opts.Fleet.Snapshot()
	e.opts.Fleet.EachFacts(func(h fleet.Facts) {
		switch {
		case !in(h) || rules.Overruled(h, agent, scope):
		case release.RunsOn(h.Arch):
			can++
		default:
			without[h.Arch]++
		}
	})
	if can > 0 || len(without) == 0 {
		return nil
	}
	return &api.Error{
		Kind: api.KindInvalid, Field: "version", Message: fmt.Sprintf("no host of %s can have %s", scope, release.Lacks(without)),
		Hint: "publish an artifact for them, or deploy all the same with --force",
	}
}

// scopeOf tells the hosts of a scope.
func scopeOf(ctx context.Context, tx *store.Tx, scope api.Scope) (func(fleet.Facts) bool, error) {
	switch scope.Kind {
	case api.ScopeHost:
		return func(h fleet.Facts) bool { return h.Name == scope.Name }, nil
	case api.ScopeGroup:
		group, err := tx.Group(ctx, scope.Name)
		if err != nil {
			return nil, api.Missing(err, "scope")
		}
		selector, err := fleet.CompileSelector(group.Selector)
		if err != nil {
			return nil, err
		}
		return selector.Match, nil
	case api.ScopeEveryone, api.ScopeAgent:
	}
	return func(fleet.Facts) bool { return true }, nil
}
