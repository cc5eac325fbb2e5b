package backend

import (
	"context"
	"fmt"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/fleet"
	"github.com/ops-updater/ops-updater/meta/internal/notify"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

// notifications joins the outbox to the API.
type notifications struct{ *core }

// DeadLetters lists what was given up.
func (n notifications) DeadLetters(ctx context.Context, c api.Cursor) (api.Page[api.Notification], error) {
	return n.store.DeadLetters(ctx, c)
}

// RetryDeadLetter has another try made at once.
func (n notifications) RetryDeadLetter(ctx context.Context, by api.Actor, id int64) error {
	err := n.write(ctx, by, func(tx *store.Tx) error { return tx.ReviveNotification(ctx, id) })
	n.notifier.Wake()
	return err
}

// DropDeadLetter gives one up for good.
func (n notifications) DropDeadLetter(ctx context.Context, by api.Actor, id int64) error {
	return n.write(ctx, by, func(tx *store.Tx) error { return tx.DropNotification(ctx, id) })
}

// TestTarget sends one notification to a target, whatever it has asked for.
func (n notifications) TestTarget(ctx context.Context, by api.Actor, name string) error {
	target, err := n.store.NotifyTarget(ctx, name)
	if err != nil {
		return err
	}
	if target.Disabled {
		e := api.Errorf(api.KindConflict, "notification target %s is switched off", name)
		e.Hint = "switch it on first"
		return e
	}
	notes, err := notify.For(target, notify.Test(time.Now(), by.Name))
	if err == nil {
		err = n.store.Notify(ctx, notes...)
	}
	n.notifier.Wake()
	return err
}

// EveryNotifyTarget is whom to tell, with the secrets that it takes.
func (c *core) EveryNotifyTarget(ctx context.Context) ([]api.NotifyTarget, error) {
	return readAllPages(func(page api.Cursor) (api.Page[api.NotifyTarget], error) { return c.store.NotifyTargets(ctx, "", page) })
}

// silenceLease is longer than the time between two looks for silent hosts.
const silenceLease = 2 * fleet.DefaultSweepEvery

// leadTimeout bounds the question who tells of silence.
const leadTimeout = 10 * time.Second

// tellsOfSilence is true for one of several replicas.
func (c *core) tellsOfSilence() bool {
	ctx, cancel := context.WithTimeout(context.Background(), leadTimeout)
	defer cancel()
	leads, err := c.store.TryLead(ctx, "silence", silenceLease)
	return leads && err == nil
}

// tellOfHosts owes notices of hosts that went silent or came back.
func (c *core) tellOfHosts(ctx context.Context, reports []api.HostReport) {
	var events []api.Event
	for _, r := range reports {
		events = append(events, r.Events...)
	}
	var notes []api.Notification
	for _, n := range notify.Hosts(events, c.settings.Load().PublicURL) {
		note, err := notify.Owed(n)
		if err != nil {
			c.log.Error().Err(err).Msg("cannot tell of a host")
			continue
		}
		notes = append(notes, note)
	}
	if len(notes) == 0 {
		return
	}
	if err := c.store.Notify(ctx, notes...); err != nil {
		c.log.Warn().Err(fmt.Errorf("%d notices lost: %w", len(notes), err)).Msg("cannot tell of hosts that went silent or came back")
	}
}
