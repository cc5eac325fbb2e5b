package server

import (
	"context"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
)

// history reads what happened.
type history struct{ *core }

// Events lists a host's timeline.
func (h history) Events(ctx context.Context, f api.EventFilter, c api.Cursor) (api.Page[api.Event], error) {
	return h.store.Events(ctx, f, c)
}

// Audit lists the audit log.
func (h history) Audit(ctx context.Context, f api.AuditFilter, c api.Cursor) (api.Page[api.AuditEntry], error) {
	return h.store.Audit(ctx, f, c)
}

// Samples lists how agents stood over time.
func (h history) Samples(ctx context.Context, agent string, since time.Time) ([]api.Sample, error) {
	return h.store.Samples(ctx, agent, since)
}

// rollouts reads rollouts from the store.
type rollouts struct{ *core }

// Rollouts lists them, the newest first.
func (r rollouts) Rollouts(ctx context.Context, f api.RolloutFilter, c api.Cursor) (api.Page[api.Rollout], error) {
	return r.store.Rollouts(ctx, f, c)
}

// Rollout reads one.
func (r rollouts) Rollout(ctx context.Context, id string) (api.Rollout, error) {
	return r.store.Rollout(ctx, id)
}

// Transitions lists what a rollout went through.
func (r rollouts) Transitions(ctx context.Context, id string, c api.Cursor) (api.Page[api.Transition], error) {
	return r.store.Transitions(ctx, id, c)
}

// Grants lists a rollout's grants.
func (r rollouts) Grants(ctx context.Context, f api.GrantFilter, c api.Cursor) (api.Page[api.Grant], error) {
	return r.store.Grants(ctx, f, c)
}
