// Package rollouts makes rollouts happen: it joins the policy (package rollout)
// to what is stored and to what hosts report.
//
// # One writer of each fact
//
// A grant is made under the lock of the rollout's row and is durable before the
// reply that carries it; a verdict is stored with the
// counters it changes, and a failure together with the transition it causes,
// so that no grant slips between a failed host and the closed gate. Every
// replica grants and judges. What happens by itself with time (stages that
// settle, windows, deadlines) is done by one replica, which holds a lease.
//
// # What is kept in memory
//
// A [book] of the rollouts in force and who has their grants. It may be behind
// the database, never ahead of it: a look at it only saves asking.
package rollouts

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/fleet"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

// DefaultTick is how often time is looked at.
const DefaultTick = time.Second

// Options are an engine's surroundings.
type Options struct {
	Store *store.Store
	Fleet *fleet.Fleet
	Log   zerolog.Logger
	Tick  time.Duration // how often time is looked at; 0: [DefaultTick]
	Lease time.Duration // of who does so; 0: ten ticks, at least 5 s
	// Grace is how long hosts have to report after the server was away.
	Grace time.Duration
	// Link makes the address of a rollout's page; nil: there is none.
	Link func(rollout string) string
	// Reload brings what is wanted up to date on this server after a write,
	// by way of [Engine.Reload].
	Reload func(ctx context.Context, serial int64) error
	// SeeClock has the clock looked at before anything is held to run out by
	// it; nothing is while it fails. nil: the clock is steady.
	SeeClock func(ctx context.Context) error
	// Progress is told when a rollout's numbers changed; nil: nobody is.
	Progress func(rollout string)
}

// Engine runs the rollouts of one server.
type Engine struct {
	opts     Options
	book     book
	counter  counter
	looks    sharedWork     // whether another server changed what is wanted
	patience patience       // of heartbeats with the database
	beside   sync.WaitGroup // what is done for heartbeats that may not wait for it
	shared   bool           // other replicas may use the same database
	kick     chan struct{}
	inbox    inbox
	lead     sync.Mutex  // one tick at a time
	still    atomic.Bool // the fleet stands still: nothing is granted or judged
	follows  following
	planning chan struct{} // see oneAtATime
}

// self is who acts when nobody told us to.
var self = api.Actor{Name: "ops-meta"}

// New makes an engine. Give it what is wanted with [Engine.Reload], join it to
// the fleet with [Engine.Attach], and let it [Engine.Run].
func New(o Options) *Engine {
	if o.Tick <= 0 {
		o.Tick = DefaultTick
	}
	if o.Lease <= 0 {
		o.Lease = max(10*o.Tick, 5*time.Second)
	}
	if o.Grace <= 0 {
		o.Grace = fleet.DefaultInterval
	}
	return &Engine{
		opts: o, shared: o.Store.Dialect() != "sqlite", kick: make(chan struct{}, 1),
		book: book{entries: make(map[string]*entry)}, inbox: newInbox(),
		counter: counter{lines: make(map[string][]*asker), served: make(map[string]bool)}, patience: patience{log: o.Log}, planning: make(chan struct{}, 1),
	}
}

// Reload takes over what is wanted: grants of rollouts that are new here are
// read before use puts the configuration in force, and those of rollouts that
// are gone are dropped after it, so that no host is told less than it was
// granted meanwhile. Calls must not overlap.
func (e *Engine) Reload(ctx context.Context, w api.Wanted, use func()) error {
	for _, r := range w.Rollouts {
		if err := e.loadGrants(ctx, r); err != nil {
			return fmt.Errorf("cannot load rollout %s: %w", r.ID, err)
		}
	}
	// At a standstill nobody is granted from here on, also by what is still in force.
	e.still.Store(w.Standstill != nil)
	use()
	e.follows.noteWanted(w)
	for _, id := range e.book.retainOnly(w.Rollouts) {
		e.opts.Fleet.DropGrants(id)
	}
	e.wake()
	return nil
}

// loadGrants puts a rollout into the book, or brings its entry up to date.
func (e *Engine) loadGrants(ctx context.Context, r api.Rollout) error {
	since, known := e.book.putRollout(r)
	// Alone with the database nobody else grants: the book has them all.
	if known && !e.shared {
		return nil
	}
	return e.learnGrants(ctx, r.ID, since)
}

func (e *Engine) learnInTime(ctx context.Context, id string, since time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, learnWithin)
	defer cancel()
	return e.learnGrants(ctx, id, since)
}

// learnGrants reads the grants of a rollout that were made or judged since a time.
func (e *Engine) learnGrants(ctx context.Context, id string, since time.Time) error {
	// Before the reading, not after: what others write meanwhile is read again next
	// time.
	start := time.Now()
	var granted, back []string
	err := e.opts.Store.GrantsSince(ctx, id, since, func(g api.Grant) error {
		switch news := e.book.noteGrant(g); {
		case outcomeOf(g.Outcome, g.Reason) == takenBack:
			back = append(back, g.Host)
		case news:
			granted = append(granted, g.Host)
		}
		return nil
	})
	if err != nil {
		return err
	}
	e.opts.Fleet.AddGrants(id, granted...)
	e.opts.Fleet.TakeBack(id, back...)
	e.book.noteLearned(id, start)
	return nil
}

// Run judges reports and, while this replica leads, watches the time, until
// the context ends.
func (e *Engine) Run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { e.judgeReports(ctx) })
	wg.Go(func() { e.watchTime(ctx) })
	if e.shared {
		wg.Go(func() { e.followReplicas(ctx) })
	}
	wg.Wait()
	e.beside.Wait()
}

// followReplicas learns of the grants that other replicas make.
func (e *Engine) followReplicas(ctx context.Context) {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		for id, since := range e.book.followedSince() {
			if err := e.learnInTime(ctx, id, since); err != nil && ctx.Err() == nil {
				e.opts.Log.Warn().Err(err).Str("rollout", id).Msg("cannot read other replicas' grants")
			}
		}
	}
}

// writeWanted stores what do does and brings this server up to date.
func (e *Engine) writeWanted(ctx context.Context, by api.Actor, do func(*store.Tx) error) error {
	serial, err := e.opts.Store.Write(ctx, by, do)
	if err == nil {
		e.reloadWanted(ctx, serial)
	}
	return err
}

// steerRollout does so with one rollout, locked.
func (e *Engine) steerRollout(ctx context.Context, by api.Actor, id string, do func(*store.Tx, api.Rollout) error) error {
	serial, err := e.opts.Store.Steer(ctx, by, id, do)
	if err == nil && serial > 0 {
		e.reloadWanted(ctx, serial)
	}
	return err
}

func (e *Engine) reloadWanted(ctx context.Context, serial int64) {
	if e.opts.Reload == nil {
		return
	}
	if err := e.opts.Reload(ctx, serial); err != nil && ctx.Err() == nil {
		e.opts.Log.Warn().Err(err).Msg("cannot take over what was just written; it will be with the next change")
	}
}

// wake has the time looked at now, if this replica leads.
func (e *Engine) wake() {
	select {
	case e.kick <- struct{}{}:
	default: // it is about to
	}
}
