package store

import (
	"context"
	"slices"

	"github.com/ops-updater/ops-updater/meta/api"
)

var agents = noun[api.Agent]{
	kind: "agent", table: "agents",
	name:     func(a api.Agent) string { return a.Name },
	revision: func(a *api.Agent) *int64 { return &a.Revision },
	redact:   func(a *api.Agent) { *a = a.ForViewers() },
}

// Agent reads one agent.
func (r Reader) Agent(ctx context.Context, name string) (api.Agent, error) {
	return agents.get(ctx, r.q, name)
}

// Agents lists agents by name; search is part of it.
func (r Reader) Agents(ctx context.Context, search string, c api.Cursor) (api.Page[api.Agent], error) {
	return agents.findPage(ctx, r.q, nameContains(search), c)
}

// PutAgent creates or replaces an agent, as its Revision demands.
func (tx *Tx) PutAgent(ctx context.Context, a api.Agent) (api.Agent, error) {
	if a.Strategy != "" {
		if _, err := tx.Strategy(ctx, a.Strategy); err != nil {
			return a, api.Missing(err, "strategy")
		}
	}
	return agents.put(ctx, tx, a)
}

// PutAgents is PutAgent for many agents of different names.
func (tx *Tx) PutAgents(ctx context.Context, list []api.Agent) error {
	known := map[string]bool{"": true}
	for _, a := range list {
		if known[a.Strategy] {
			continue
		}
		if _, err := tx.Strategy(ctx, a.Strategy); err != nil {
			return api.Missing(err, "strategy")
		}
		known[a.Strategy] = true
	}
	return agents.putMany(ctx, tx, list)
}

// DeleteAgent deletes an agent that has no releases, assignments or running
// rollouts.
func (tx *Tx) DeleteAgent(ctx context.Context, name string, revision int64) error {
	err := refuseUsed(ctx, tx.q, "agent", name, []use{
		{"assignment", "assignments", whereEqual("agent", name)},
		{"rollout", "rollouts", whereEqual("agent", name, "active", 1)},
		{"hold", "holds", whereEqual("scope_kind", string(api.ScopeAgent), "scope_name", name)},
		{"channel", "channels", whereEqual("agent", name)},
		{"release", "releases", whereEqual("agent", name)},
	})
	if err != nil {
		return err
	}
	if err := tx.refuseScheduled(ctx, "agent", name, func(s api.Schedule) bool { return slices.Contains(s.Agents, name) }); err != nil {
		return err
	}
	return agents.remove(ctx, tx, name, revision)
}
