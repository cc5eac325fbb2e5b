package backend

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
