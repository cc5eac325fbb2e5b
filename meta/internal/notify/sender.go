package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"github.com/ops-updater/ops-updater/internal/jitter"
	"github.com/ops-updater/ops-updater/meta/api"
)

// Outbox keeps notifications until they are delivered, and hands each out to
// one sender at a time.
type Outbox interface {
	Notify(ctx context.Context, notes ...api.Notification) error
	ClaimNotifications(ctx context.Context, now time.Time, lease time.Duration, limit int) ([]api.Notification, error)
	NotificationDelivered(ctx context.Context, id int64) error
	NotificationFailed(ctx context.Context, id int64, reason string, next time.Time) error
	NotificationDead(ctx context.Context, id int64, reason string) error
}

// Config is what a [Sender] needs. Zero values mean the defaults in brackets.
type Config struct {
	Outbox  Outbox
	Targets func(context.Context) ([]api.NotifyTarget, error) // with their secrets
	SMTP    *SMTP                                             // nil: mail cannot be sent
	Log     zerolog.Logger
	// Control is asked before each connection of a webhook, so that it can
	// be refused by address.
	Control     func(network, address string, c syscall.RawConn) error
	UserAgent   string        // of webhooks [ops-meta]
	Poll        time.Duration // between looks into the outbox [2 s]
	Timeout     time.Duration // of one attempt [15 s]
	MaxAttempts int           // before a notification is given up [15]
	RetryBase   time.Duration // the pause after the first failure; it doubles [5 s]
	RetryLimit  time.Duration // the longest pause [1 h]
	Collect     time.Duration // at most one notice of the same trouble on many hosts in this time [1 min]
}

// Sender distributes and delivers what the outbox holds.
type Sender struct {
	Config
	hook *webhook
	wake chan struct{}
	told map[string]time.Time // trouble → when it was last told of
}

const (
	claimAtOnce   = 500
	claimsInRound = 10
	deliverAtOnce = 8
	lease         = 10 * time.Minute // of what is claimed
)

// New makes a sender; [Sender.Run] starts it.
func New(c Config) *Sender {
	def := func(d *time.Duration, value time.Duration) {
		if *d <= 0 {
			*d = value
		}
	}
	def(&c.Poll, 2*time.Second)
	def(&c.Timeout, 15*time.Second)
	def(&c.RetryBase, 5*time.Second)
	def(&c.RetryLimit, time.Hour)
	def(&c.Collect, time.Minute)
	if c.MaxAttempts <= 0 {
		c.MaxAttempts = 15
	}
	if c.UserAgent == "" {
		c.UserAgent = "ops-meta"
	}
	return &Sender{
		Config: c, hook: newWebhook(c.Timeout, c.Control, c.UserAgent, time.Now),
		wake: make(chan struct{}, 1), told: map[string]time.Time{},
	}
}

// Wake makes the sender look into the outbox at once.
func (s *Sender) Wake() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Run sends until the context ends. What is being delivered then is delivered
// again after the next start.
func (s *Sender) Run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-s.wake:
		}
		more, err := s.sendRound(ctx)
		if err != nil && ctx.Err() == nil {
			s.Log.Warn().Err(err).Msg("cannot send notifications now")
		}
		wait := jitter.Around(s.Poll)
		if more && err == nil {
			wait = 0
		}
		timer.Reset(wait)
	}
}

// sendRound takes what is due and deals with it; more tells that there is
// probably something left.
func (s *Sender) sendRound(ctx context.Context) (more bool, err error) {
	until := time.Now().Add(lease - 2*s.Timeout)
	claimed, err := s.claimNotes(ctx)
	if err != nil || len(claimed) == 0 {
		return false, err
	}
	list, err := s.Targets(ctx)
	if err != nil {
		return false, err // they are due again when the lease ends
	}
	var notices, deliveries []api.Notification
	for _, n := range claimed {
		if n.Target == "" {
			notices = append(notices, n)
		} else {
			deliveries = append(deliveries, n)
		}
	}
	err = s.distributeNotes(ctx, notices, list)
	s.deliverAll(ctx, until, deliveries, list)
	return len(notices) > 0 || len(claimed) >= claimAtOnce, err
}

// claimNotes takes a good deal of what is due, so that the same trouble of many
// hosts is seen together.
func (s *Sender) claimNotes(ctx context.Context) ([]api.Notification, error) {
	var all []api.Notification
	for range claimsInRound {
		some, err := s.Outbox.ClaimNotifications(ctx, time.Now(), lease, claimAtOnce)
		if err != nil {
			return nil, err
		}
		if all = append(all, some...); len(some) < claimAtOnce {
			break
		}
	}
	return all, nil
}

// distributeNotes turns notices into notifications for the targets that want them.
func (s *Sender) distributeNotes(ctx context.Context, owed []api.Notification, targets []api.NotifyTarget) error {
	groups := map[string][]int{}
	notices := make([]api.Notice, len(owed))
	for i, o := range owed {
		if err := json.Unmarshal(o.Payload, &notices[i]); err != nil {
			s.settleNote(ctx, o, &failure{err: fmt.Errorf("cannot read the notice: %w", err), permanent: true})
			continue
		}
		key := troubleOf(notices[i])
		if key == "" {
			key = fmt.Sprintf("alone\x00%d", i)
		}
		groups[key] = append(groups[key], i)
	}
	var errs []error
	for key, members := range groups {
		errs = append(errs, s.tellTargets(ctx, key, pickAt(owed, members), pickAt(notices, members), targets))
	}
	return errors.Join(errs...)
}

func pickAt[T any](from []T, at []int) []T {
	out := make([]T, len(at))
	for i, n := range at {
		out[i] = from[n]
	}
	return out
}

// tellTargets distributes the notices of one trouble, as one if they are many. What
// was told of a moment ago waits, so that a failing site is one mail in a
// while and not one for each host.
func (s *Sender) tellTargets(ctx context.Context, key string, owed []api.Notification, notices []api.Notice, targets []api.NotifyTarget) error {
	now := time.Now()
	grouped := troubleOf(notices[0]) != ""
	if next := s.told[key].Add(s.Collect); grouped && now.Before(next) {
		for _, o := range owed {
			if err := s.Outbox.NotificationFailed(ctx, o.ID, "", next); err != nil {
				return err
			}
		}
		return nil
	}
	if grouped && (len(notices) > aloneUpTo || len(notices) > 1 && notices[0].Count > 0) {
		notices = []api.Notice{digestOf(notices)}
	}
	var out []api.Notification
	for _, n := range notices {
		for _, t := range targets {
			if !Wants(t, n) {
				continue
			}
			notes, err := For(t, n)
			if err != nil {
				return err
			}
			out = append(out, notes...)
		}
	}
	if err := s.Outbox.Notify(ctx, out...); err != nil {
		return err
	}
	if grouped {
		s.rememberTold(key, now)
	}
	for _, o := range owed {
		if err := s.Outbox.NotificationDelivered(ctx, o.ID); err != nil {
			return err
		}
	}
	return nil
}

// rememberTold notes when a trouble was told of, and forgets the old ones.
func (s *Sender) rememberTold(key string, now time.Time) {
	for k, at := range s.told {
		if now.Sub(at) > s.Collect {
			delete(s.told, k)
		}
	}
	s.told[key] = now
}

// deliverAll makes one attempt for each, a few at a time. What it does not get
// to while the claim holds is due again afterwards.
func (s *Sender) deliverAll(ctx context.Context, until time.Time, notes []api.Notification, list []api.NotifyTarget) {
	targets := map[string]api.NotifyTarget{}
	for _, t := range list {
		targets[t.Name] = t
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	slots := make(chan struct{}, deliverAtOnce)
	for _, n := range notes {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		if time.Now().After(until) {
			return
		}
		wg.Go(func() {
			defer func() { <-slots }()
			s.deliverNote(ctx, n, targets)
		})
	}
}

func (s *Sender) deliverNote(ctx context.Context, note api.Notification, targets map[string]api.NotifyTarget) {
	name, address, _ := strings.Cut(note.Target, "/")
	t, exists := targets[name]
	if !exists || t.Disabled || t.Kind == api.NotifyMail && !slices.Contains(t.Addresses, address) {
		s.Log.Info().Str("target", note.Target).Str("kind", note.Kind).Msg("notification dropped: its target is gone or switched off")
		s.settleNote(ctx, note, nil)
		return
	}
	var n api.Notice
	if err := json.Unmarshal(note.Payload, &n); err != nil {
		s.settleNote(ctx, note, &failure{err: fmt.Errorf("cannot read the notice: %w", err), permanent: true})
		return
	}
	attempt, cancel := context.WithTimeoutCause(ctx, s.Timeout, fmt.Errorf("no answer within %s", s.Timeout))
	defer cancel()
	var f *failure
	switch {
	case t.Kind == api.NotifyWebhook:
		f = s.hook.deliver(attempt, t, n)
	case t.Kind == api.NotifyChat:
		f = s.hook.deliverChat(attempt, t, n)
	case t.Kind != api.NotifyMail:
		f = &failure{err: fmt.Errorf("this ops-meta knows no targets of kind %q", t.Kind), permanent: true}
	case s.SMTP == nil:
		f = &failure{err: errors.New("no mail server is configured: start ops-meta with --smtp"), permanent: true}
	default:
		f = s.SMTP.deliverMail(attempt, t, address, n, s.Timeout)
	}
	if ctx.Err() != nil {
		return // it is due again when the claim ends
	}
	s.settleNote(ctx, note, f)
}

// settleNote writes down how an attempt ended.
func (s *Sender) settleNote(ctx context.Context, note api.Notification, f *failure) {
	log := s.Log.With().Str("target", note.Target).Str("kind", note.Kind).Int("attempt", note.Attempts).Logger()
	var err error
	switch {
	case f == nil:
		err = s.Outbox.NotificationDelivered(ctx, note.ID)
	case f.permanent || note.Attempts >= s.MaxAttempts:
		log.Error().Err(f).Msg("notification given up")
		err = s.Outbox.NotificationDead(ctx, note.ID, f.Error())
	default:
		wait := max(jitter.Backoff(s.RetryBase, s.RetryLimit, note.Attempts), f.after)
		log.Warn().Err(f).Dur("retry", wait).Msg("notification failed")
		err = s.Outbox.NotificationFailed(ctx, note.ID, f.Error(), time.Now().Add(wait))
	}
	if err != nil {
		log.Warn().Err(err).Msg("cannot settle notification: it will be sent again")
	}
}
