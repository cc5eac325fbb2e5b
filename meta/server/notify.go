package server

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/ops-updater/ops-updater/internal/buildinfo"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/fleet"
	"github.com/ops-updater/ops-updater/meta/internal/notify"
	"github.com/ops-updater/ops-updater/meta/internal/release"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

// openNotify makes ready what tells people.
func (s *Server) openNotify(context.Context) error {
	mail, err := s.conf.SMTP.sender()
	if err != nil {
		return err
	}
	s.notifier = notify.New(notify.Config{
		Outbox: s.store, Log: s.log, SMTP: mail, UserAgent: "ops-meta/" + buildinfo.Version(),
		Control: release.Guard(release.DefaultDeny()),
		Targets: func(ctx context.Context) ([]api.NotifyTarget, error) {
			return everything(func(c api.Cursor) (api.Page[api.NotifyTarget], error) { return s.store.NotifyTargets(ctx, "", c) })
		},
	})
	return nil
}

var tlsModes = map[string]string{"": "mandatory", "starttls": "mandatory", "tls": "implicit", "none": "none"}

// sender is nil without a mail server.
func (c SMTP) sender() (*notify.SMTP, error) {
	if c.Addr == "" {
		return nil, nil
	}
	wrong := func(field, format string, args ...any) error {
		e := api.Errorf(api.KindInvalid, format, args...)
		e.Field = "smtp." + field
		return e
	}
	host, text, err := net.SplitHostPort(c.Addr)
	port, portErr := strconv.Atoi(text)
	if err != nil || portErr != nil {
		return nil, wrong("addr", "smtp.addr %q is not host:port", c.Addr)
	}
	mode, known := tlsModes[c.TLS]
	if !known {
		return nil, wrong("tls", "smtp.tls %q is not known: want starttls, tls or none", c.TLS)
	}
	if c.From == "" {
		return nil, wrong("from", "smtp.from is missing: say which address mail comes from")
	}
	return &notify.SMTP{Host: host, Port: port, From: c.From, User: c.User, Password: c.Password, TLS: mode}, nil
}

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

// silenceLease is longer than the time between two looks for silent hosts.
const silenceLease = 2 * fleet.DefaultSweepEvery

// tellsOfSilence is true for one of several replicas.
func (c *core) tellsOfSilence() bool {
	ctx, cancel := context.WithTimeout(context.Background(), headerTimeout)
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
	for _, n := range notify.Hosts(events, c.conf.PublicURL) {
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
