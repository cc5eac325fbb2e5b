package server

import (
	"context"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/fleet"
	"github.com/ops-updater/ops-updater/meta/internal/rollouts"
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

// openEngine makes the rollouts' engine; what is wanted comes later.
func (s *Server) openEngine() {
	interval := fleet.DefaultInterval
	if s.conf.Interval > 0 {
		interval = time.Duration(s.conf.Interval) * time.Second
	}
	s.engine = rollouts.New(rollouts.Options{
		Store: s.store, Fleet: s.fleet, Log: s.log, Grace: interval + interval/5,
		Link:     func(id string) string { return s.conf.PublicURL + "/rollouts/" + id },
		Reload:   func(ctx context.Context, serial int64) error { return s.refresh(context.WithoutCancel(ctx), serial) },
		SeeClock: s.seeClock,
		Progress: func(id string) { s.feed.Publish("rollout", id) },
	})
	s.engine.Attach()
}

// Bounds of how often hosts report that wait for a running rollout.
const (
	waitAtLeast = 5    // seconds
	waitingRate = 1000 // hosts a second, when every host waits
)

// waitInterval has hosts that wait for a rollout report more often than every
// interval, as far as their number allows; 0 when it does not. Without an
// interval of ours hosts keep their own.
func waitInterval(interval, hosts int) int {
	if wait := max(waitAtLeast, hosts/waitingRate); wait < interval {
		return wait
	}
	return 0
}
