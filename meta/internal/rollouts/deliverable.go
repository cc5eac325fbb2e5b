package rollouts

import (
	"context"
	"fmt"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/fleet"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

// CheckDeliverable refuses a release, for a rollout and for an assignment, that no
// host of the scope can have, because there is no artifact for the arch of any, or that
// none would take, because all require a signature that it does not have: nothing
// would happen, or nothing but failures.
func (e *Engine) CheckDeliverable(ctx context.Context, in store.Reader, agent, version string, scope api.Scope) error {
	within, err := scopeOf(ctx, in, scope)
	if err != nil {
		return err
	}
	release, err := in.Release(ctx, agent, version)
	if err != nil {
		return err
	}
	rules, refusing := e.opts.Fleet.Snapshot(), e.opts.Fleet.Refusing(release)
	without, unsigned, can := map[string]int{}, 0, 0
	e.opts.Fleet.EachFacts(func(h fleet.Facts) {
		switch {
		case !within(h) || rules.Overruled(h, agent, scope):
		case refusing[h.Name]:
			unsigned++
		case release.RunsOn(h.Arch):
			can++
		default:
			without[h.Arch]++
		}
	})
	switch {
	case can > 0:
		return nil
	case unsigned > 0:
		return unsignedError(release, scope, unsigned)
	case len(without) == 0:
		return nil
	}
	return &api.Error{
		Kind: api.KindInvalid, Field: "version", Message: fmt.Sprintf("no host of %s can have %s", scope, release.Lacks(without)),
		Hint: "publish an artifact for them, or deploy all the same with --force",
	}
}

func unsignedError(r api.Release, scope api.Scope, hosts int) error {
	require := "hosts require"
	if hosts == 1 {
		require = "host requires"
	}
	return &api.Error{
		Kind: api.KindInvalid, Field: "version",
		Message: fmt.Sprintf("no host of %s would take %s %s: %d %s a signature that it does not have", scope, r.Agent, r.Version, hosts, require),
		Hint:    fleet.AdviseSigning(r.Agent, r.Version, r.Artifacts...) + "; --force deploys it all the same",
	}
}

// scopeOf tells the hosts of a scope.
func scopeOf(ctx context.Context, in store.Reader, scope api.Scope) (func(fleet.Facts) bool, error) {
	switch scope.Kind {
	case api.ScopeHost:
		return func(h fleet.Facts) bool { return h.Name == scope.Name }, nil
	case api.ScopeGroup:
		group, err := in.Group(ctx, scope.Name)
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
