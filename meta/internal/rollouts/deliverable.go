package rollouts

import (
	"context"
	"fmt"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/fleet"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

// deliverable refuses a rollout that no host of its scope can have, because the
// release has no artifact for the arch of any: it would stand still at once,
// without a host to blame.
func (e *Engine) deliverable(ctx context.Context, tx *store.Tx, r api.Rollout) error {
	in, err := scopeOf(ctx, tx, r.Scope)
	if err != nil {
		return err
	}
	release, err := tx.Release(ctx, r.Agent, r.Version)
	if err != nil {
		return err
	}
	without, can := map[string]int{}, 0
	rules := e.opts.Fleet.Snapshot()
	e.opts.Fleet.EachFacts(func(h fleet.Facts) {
		switch {
		case !in(h) || rules.Overruled(h, r.Agent, r.Scope):
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
		Kind: api.KindInvalid, Field: "version", Message: fmt.Sprintf("no host of %s can have %s", r.Scope, release.Lacks(without)),
		Hint: "publish an artifact for them, or begin all the same with --force",
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
