package backend

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

const (
	forgetBatch = 500 // hosts in a transaction
	forgetFew   = 10  // this many may always be forgotten
)

// Self is who acts when nobody told the server to.
var Self = api.Actor{Name: "ops-meta"}

// ForgetSilent forgets the hosts that have been silent for too long, as an
// operator would one by one. When it would be most of the fleet, the clock or
// the network is wrong rather than the hosts: then it forgets none. Of several
// replicas one does it.
func (c *core) ForgetSilent(ctx context.Context, now time.Time) error {
	if c.conf.ForgetHosts <= 0 || c.wanted.Load().Standstill != nil { // when hosts were heard is not known then
		return nil
	}
	gone := c.fleet.SilentSince(now.Add(-days(c.conf.ForgetHosts)))
	if len(gone) == 0 {
		return nil
	}
	if len(gone) > forgetFew && len(gone) > c.fleet.Hosts()/2 {
		return fmt.Errorf("%d of %d hosts have been silent for %d days, more than half: none is forgotten; look at the clock, or forget them with ops-meta host HOST --forget", len(gone), c.fleet.Hosts(), c.conf.ForgetHosts)
	}
	if leads, err := c.store.TryLead(ctx, "forget", CleanEvery*3/2); err != nil || !leads {
		return err
	}
	for len(gone) > 0 {
		batch := gone[:min(forgetBatch, len(gone))]
		gone = gone[len(batch):]
		if err := c.forgetAll(ctx, Self, batch); err != nil {
			return err
		}
	}
	return nil
}

// forgetAll forgets hosts in one transaction; who is not stored is only
// dropped from memory.
func (c *core) forgetAll(ctx context.Context, by api.Actor, names []string) error {
	err := c.write(ctx, by, func(tx *store.Tx) error {
		var errs []error
		for _, name := range names {
			if err := tx.DeleteHost(ctx, name); err != nil && api.KindOf(err) != api.KindNotFound {
				errs = append(errs, err)
			}
		}
		return errors.Join(errs...)
	})
	if err != nil {
		return err
	}
	for _, name := range names {
		c.access.ForgetToken(name)
		c.fleet.ForgetHost(name)
		c.engine.Forget(name)
	}
	c.feed.Publish("hosts", "")
	c.log.Info().Int("hosts", len(names)).Int("days", c.conf.ForgetHosts).Msg("hosts that have been silent for long are forgotten")
	return nil
}
