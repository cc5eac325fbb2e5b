package backend

import (
	"context"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

// channels joins channels to the API.
type channels struct{ *core }

// Channels lists them by agent and name.
func (s channels) Channels(ctx context.Context, agent string, c api.Cursor) (api.Page[api.Channel], error) {
	return s.store.Channels(ctx, agent, c)
}

// Channel reads one.
func (s channels) Channel(ctx context.Context, agent, name string) (api.Channel, error) {
	return s.store.Channel(ctx, agent, name)
}

// PutChannel makes one or moves it; to an older version only with downgrade.
func (s channels) PutChannel(ctx context.Context, by api.Actor, c api.Channel, downgrade bool) (api.Channel, error) {
	if err := c.Validate(); err != nil {
		return c, err
	}
	var put api.Channel
	err := s.write(ctx, by, func(tx *store.Tx) (err error) {
		put, err = putChannel(ctx, tx, c, downgrade)
		return err
	})
	return put, err
}

// DeleteChannel removes one.
func (s channels) DeleteChannel(ctx context.Context, by api.Actor, c api.Channel) error {
	return s.write(ctx, by, func(tx *store.Tx) error { return tx.DeleteChannel(ctx, c.Agent, c.Name, c.Revision) })
}

// putChannel moves a channel. Nobody goes back by mistake, nor by a file that
// does not know of later releases: schedules would take the hosts along.
func putChannel(ctx context.Context, tx *store.Tx, c api.Channel, downgrade bool) (api.Channel, error) {
	old, err := tx.Channel(ctx, c.Agent, c.Name)
	if err != nil && api.KindOf(err) != api.KindNotFound {
		return c, err
	}
	if err == nil && !downgrade {
		if err := old.Downgrade(c.Version); err != nil {
			return c, err
		}
	}
	if c.Version != "" && c.Version != old.Version {
		if err := refuseUnpublished(ctx, tx, api.Assignment{Agent: c.Agent, Version: c.Version}); err != nil {
			return c, err
		}
	}
	return tx.PutChannel(ctx, c)
}
