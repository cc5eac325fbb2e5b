package backend

import (
	"context"
	"slices"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

// holds joins holds to the API.
type holds struct{ *core }

// Holds lists those in force.
func (s holds) Holds(ctx context.Context, scope api.Scope, c api.Cursor) (api.Page[api.Hold], error) {
	page, err := s.store.Holds(ctx, scope, c)
	page.Items = inForce(page.Items, time.Now())
	return page, err
}

// inForce leaves out the holds whose time is over.
func inForce(holds []api.Hold, now time.Time) []api.Hold {
	return slices.DeleteFunc(holds, func(h api.Hold) bool { return h.Until != nil && !h.Until.After(now) })
}

// CreateHold holds a scope.
func (s holds) CreateHold(ctx context.Context, by api.Actor, h api.Hold) (api.Hold, error) {
	if err := h.Validate(); err != nil {
		return h, err
	}
	var made api.Hold
	err := s.write(ctx, by, func(tx *store.Tx) (err error) {
		made, err = tx.CreateHold(ctx, h)
		return err
	})
	return made, err
}

// DeleteHold releases one.
func (s holds) DeleteHold(ctx context.Context, by api.Actor, id string) error {
	return s.write(ctx, by, func(tx *store.Tx) error { return tx.DeleteHold(ctx, id) })
}
