package store

import (
	"context"
	"fmt"

	"github.com/ops-updater/ops-updater/meta/api"
)

var groups = noun[api.Group]{
	kind: "group", table: "groups",
	name:     func(g api.Group) string { return g.Name },
	revision: func(g *api.Group) *int64 { return &g.Revision },
}

var strategies = noun[api.Strategy]{
	kind: "strategy", table: "strategies",
	name:     func(s api.Strategy) string { return s.Name },
	revision: func(s *api.Strategy) *int64 { return &s.Revision },
}

// Group reads one group.
func (r Reader) Group(ctx context.Context, name string) (api.Group, error) {
	return groups.get(ctx, r.q, name)
}

// Groups lists groups by name; search is part of it.
func (r Reader) Groups(ctx context.Context, search string, c api.Cursor) (api.Page[api.Group], error) {
	return groups.findPage(ctx, r.q, nameContains(search), c)
}

// PutGroup creates or replaces a group, as its Revision demands.
func (tx *Tx) PutGroup(ctx context.Context, g api.Group) (api.Group, error) {
	return groups.put(ctx, tx, g)
}

// DeleteGroup deletes a group that nothing is for.
func (tx *Tx) DeleteGroup(ctx context.Context, name string, revision int64) error {
	scope := whereEqual("scope_kind", string(api.ScopeGroup), "scope_name", name)
	running := whereEqual("scope_kind", string(api.ScopeGroup), "scope_name", name, "active", 1)
	err := refuseUsed(ctx, tx.q, "group", name, []use{
		{"assignment", "assignments", scope},
		{"hold", "holds", scope},
		{"rollout", "rollouts", running},
	})
	if err != nil {
		return err
	}
	if err := tx.refuseStaged(ctx, name); err != nil {
		return err
	}
	ofGroup := api.Scope{Kind: api.ScopeGroup, Name: name}
	if err := tx.refuseScheduled(ctx, "group", name, func(s api.Schedule) bool { return s.Scope == ofGroup }); err != nil {
		return err
	}
	return groups.remove(ctx, tx, name, revision)
}

// refuseStaged refuses to delete a group that a stage names.
func (tx *Tx) refuseStaged(ctx context.Context, group string) error {
	known, err := strategies.findAll(ctx, tx.q, where{})
	if err != nil {
		return err
	}
	for _, s := range known {
		if namesGroup(s, group) {
			return inUse("group", group, fmt.Sprintf("strategy %q", s.Name))
		}
	}
	running, err := tx.rolloutsInForce(ctx)
	if err != nil {
		return err
	}
	for _, r := range running {
		if namesGroup(r.Strategy, group) {
			return inUse("group", group, fmt.Sprintf("rollout %q", r.ID))
		}
	}
	return nil
}

func namesGroup(s api.Strategy, group string) bool {
	for _, stage := range s.Stages {
		if stage.Group == group {
			return true
		}
	}
	return false
}

// Strategy reads one strategy.
func (r Reader) Strategy(ctx context.Context, name string) (api.Strategy, error) {
	return strategies.get(ctx, r.q, name)
}

// Strategies lists strategies by name; search is part of it.
func (r Reader) Strategies(ctx context.Context, search string, c api.Cursor) (api.Page[api.Strategy], error) {
	return strategies.findPage(ctx, r.q, nameContains(search), c)
}

// PutStrategy creates or replaces a strategy, as its Revision demands. The
// groups of its stages must exist. Rollouts keep the strategy they started
// with.
func (tx *Tx) PutStrategy(ctx context.Context, s api.Strategy) (api.Strategy, error) {
	if err := tx.needStageGroups(ctx, s); err != nil {
		return s, err
	}
	return strategies.put(ctx, tx, s)
}

func (tx *Tx) needStageGroups(ctx context.Context, s api.Strategy) error {
	for i, stage := range s.Stages {
		if stage.Group == "" {
			continue
		}
		if _, err := tx.Group(ctx, stage.Group); err != nil {
			return api.Missing(err, fmt.Sprintf("stages[%d].group", i))
		}
	}
	return nil
}

// DeleteStrategy deletes a strategy that no agent and no schedule rolls out with.
func (tx *Tx) DeleteStrategy(ctx context.Context, name string, revision int64) error {
	known, err := agents.findAll(ctx, tx.q, where{})
	if err != nil {
		return err
	}
	for _, a := range known {
		if a.Strategy == name {
			return inUse("strategy", name, fmt.Sprintf("agent %q", a.Name))
		}
	}
	if err := tx.refuseScheduled(ctx, "strategy", name, func(s api.Schedule) bool { return s.Strategy == name }); err != nil {
		return err
	}
	return strategies.remove(ctx, tx, name, revision)
}
