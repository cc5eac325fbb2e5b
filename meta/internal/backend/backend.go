package backend

import (
	"context"
	"time"

	"github.com/rs/zerolog"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/fleet"
	"github.com/ops-updater/ops-updater/meta/internal/keyring"
	"github.com/ops-updater/ops-updater/meta/internal/notify"
	"github.com/ops-updater/ops-updater/meta/internal/provider"
	"github.com/ops-updater/ops-updater/meta/internal/release"
	"github.com/ops-updater/ops-updater/meta/internal/rollouts"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

// Backend is what the calls of operators and hosts do, noun by noun.
type Backend struct {
	*core
	Agents        noun[api.Agent]
	Groups        noun[api.Group]
	Strategies    noun[api.Strategy]
	NotifyTargets noun[api.NotifyTarget]
	Schedules     noun[api.Schedule]
	Channels      channels
	Releases      releases
	Artifacts     artifacts
	Assignments   assignments
	Holds         holds
	Hosts         hosts
	Tokens        tokens
	Users         users
	Sessions      sessions
	Logins        logins
	Keys          keys
	History       history
	FleetFile     fleetFile
	Notifications notifications
	Standstill    standstill
	Filters       filters
}

// Config is what a backend is told once, at its start.
type Config struct {
	Data        string // directory of what is kept beside the database
	Shared      bool   // by several servers: the database is no file in Data
	KeepEvents  int    // days that hosts' timelines are kept
	ForgetHosts int    // days of silence after which a host is forgotten; 0: never
}

// Settings may change while a backend runs.
type Settings struct {
	PublicURL       string // the server as hosts and people reach it
	Interval        int    // seconds between heartbeats; 0: each host's own
	DesiredLifetime int    // seconds that a signed reply counts; 0: a day
}

// Access remembers tokens, and is told which of them to doubt.
type Access interface {
	// ForgetToken forgets a token that is void, by its id or name or by its host.
	ForgetToken(what string)
	// DoubtCredentials has a host's credential looked up once more; empty: everybody's.
	DoubtCredentials(host string)
	// TakeUses is when tokens were used since it was asked last.
	TakeUses() map[string]time.Time
}

// Feed tells those who follow it what has changed.
type Feed interface{ Publish(kind, name string) }

// Parts are what a backend works with.
type Parts struct {
	Access    Access
	Feed      Feed
	Artifacts *release.Store
	Notifier  *notify.Sender
	Provider  *provider.Provider // of people that this server does not know itself; nil: there is none
}

// New is a backend of a database, which has read nothing yet.
func New(conf Config, s *store.Store, log zerolog.Logger) *Backend {
	c := &core{conf: conf, store: s, log: log, ahead: newAheadTurns(), hashing: make(chan struct{}, atOnce)}
	c.ring.Store(&keyring.Ring{})
	return &Backend{
		core: c, Agents: c.agentNouns(), Groups: c.groupNouns(), Strategies: c.strategyNouns(), NotifyTargets: c.notifyTargets(),
		Schedules: c.scheduleNouns(), Channels: channels{c},
		Releases: releases{c}, Artifacts: artifacts{c}, Assignments: assignments{c}, Holds: holds{c}, Hosts: hosts{c}, Tokens: tokens{c}, Users: users{c}, Sessions: sessions{c}, Logins: logins{c}, Keys: keys{c}, History: history{c},
		FleetFile: fleetFile{c}, Notifications: notifications{c}, Standstill: standstill{c}, Filters: filters{c},
	}
}

// Fleet is the hosts, once the backend is opened.
func (c *core) Fleet() *fleet.Fleet { return c.fleet }

// Rollouts is the engine of rollouts, once the backend is opened.
func (c *core) Rollouts() *rollouts.Engine { return c.engine }

// Open joins the parts, and reads what is wanted and every host. The mark is
// of the hosts as they were read.
func (c *core) Open(ctx context.Context, p Parts, now Settings) (hosts store.Mark, err error) {
	start := time.Now()
	c.access, c.feed, c.artifacts, c.notifier, c.provider = p.Access, p.Feed, p.Artifacts, p.Notifier, p.Provider
	key, err := c.store.EnsureSecret(ctx, "login-tickets", 32)
	if err != nil {
		return hosts, err
	}
	if c.seal, err = newSeal(key); err != nil {
		return hosts, err
	}
	c.settings.Store(&now)
	interval := time.Duration(now.Interval) * time.Second
	c.fleet = fleet.New(fleet.Options{
		Journal: journal{c}, Log: c.log, Interval: interval, SweepEvery: min(interval, fleet.DefaultSweepEvery),
		Leads: c.tellsOfSilence, Ahead: c.hostIsAhead, SeeClock: c.seeClockBefore("hosts are held to be silent"),
	})
	c.store.JudgeMembers(c.fleet.HasMember)
	c.openEngine(interval)
	if c.lineage, err = c.store.LineageKey(ctx); err != nil {
		return hosts, err
	}
	if err := c.Refresh(ctx, 0); err != nil {
		return hosts, err
	}
	if err := c.openLineage(ctx); err != nil {
		return hosts, err
	}
	if hosts, err = c.store.HostsSince(ctx, 0, nil); err != nil {
		return hosts, err
	}
	count, err := c.store.CountHosts(ctx)
	if err != nil {
		return hosts, err
	}
	err = fleet.Load(ctx, c.fleet, count, func(visit func(store.StoredHost) error) error { return c.store.LoadHosts(ctx, visit) })
	if err == nil {
		err = c.followClockAway(ctx)
	}
	c.log.Info().Int("hosts", c.fleet.Hosts()).Dur("took", time.Since(start)).Msg("fleet loaded")
	return hosts, err
}

// OpenKept reads what is wanted and no hosts, for a server that is down.
func (c *core) OpenKept(ctx context.Context, artifacts *release.Store) error {
	w, err := c.store.Wanted(ctx)
	c.artifacts = artifacts
	c.wanted.Store(newWantedIndex(w))
	return err
}

// openEngine makes the rollouts' engine; what is wanted comes later.
func (c *core) openEngine(interval time.Duration) {
	if interval <= 0 {
		interval = fleet.DefaultInterval
	}
	c.engine = rollouts.New(rollouts.Options{
		Store: c.store, Fleet: c.fleet, Log: c.log, Grace: interval + interval/5,
		Link:     func(id string) string { return c.settings.Load().PublicURL + "/rollouts/" + id },
		Reload:   func(ctx context.Context, serial int64) error { return c.Refresh(context.WithoutCancel(ctx), serial) },
		SeeClock: c.seeClock,
		Progress: func(id string) { c.feed.Publish("rollout", id) },
	})
	c.engine.Attach()
}
