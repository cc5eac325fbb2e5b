package fleet

import (
	"context"
	"sync"
	"time"

	"github.com/ops-updater/ops-updater/internal/pause"
	"github.com/ops-updater/ops-updater/meta/api"
)

const (
	maxBatch     = 1000 // hosts in one transaction
	maxHostLines = 64   // timeline lines of one host in one batch
	retryFirst   = 100 * time.Millisecond
	retryLimit   = 5 * time.Second
	saveLimit    = time.Minute // one batch
)

// committer writes changes in groups: while one batch is being saved, the
// next gathers. A batch that fails is tried again; meanwhile nobody waits.
type committer struct {
	fleet *Fleet
	wake  chan struct{}

	mu      sync.Mutex
	queue   []*batch
	where   map[*host]*pending // changes not being saved right now
	lines   int                // timeline lines queued
	dropped int                // of them, since the journal began to fail
	failing bool
	begun   time.Time // when the batch that is being saved was given to the journal; zero: none is
}

// batch is what one transaction will hold.
type batch struct {
	hosts []*pending
	done  chan struct{} // closed when saved, or when saving failed
	once  sync.Once
}

type pending struct {
	host   *host
	batch  *batch
	events []api.Event
}

func newCommitter(f *Fleet) *committer {
	return &committer{fleet: f, wake: make(chan struct{}, 1), where: make(map[*host]*pending)}
}

// enqueueHost queues a changed host and returns a channel that closes when the change
// was saved or could not be; nil while the journal fails.
func (c *committer) enqueueHost(h *host, events []api.Event) <-chan struct{} {
	if c.fleet.opts.Journal == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.where[h]
	if p == nil {
		p = &pending{host: h, batch: c.lastBatch()}
		p.batch.hosts = append(p.batch.hosts, p)
		c.where[h] = p
	}
	before := len(p.events)
	p.events = append(p.events, events...)
	if over := len(p.events) - maxHostLines; over > 0 {
		p.events = p.events[over:]
		c.dropped += over
	}
	c.lines += len(p.events) - before
	c.shedLines()
	select {
	case c.wake <- struct{}{}:
	default:
	}
	if c.failing || !c.begun.IsZero() && time.Since(c.begun) > c.fleet.opts.CommitWait {
		return nil // it fails or stalls: that is not waited for
	}
	return p.batch.done
}

func (c *committer) lastBatch() *batch {
	if n := len(c.queue); n > 0 && len(c.queue[n-1].hosts) < maxBatch {
		return c.queue[n-1]
	}
	b := &batch{done: make(chan struct{})}
	c.queue = append(c.queue, b)
	return b
}

// shedLines drops the oldest timeline lines beyond the limit, a quarter at once so
// that it is rarely needed. The hosts' states stay queued.
func (c *committer) shedLines() {
	limit := c.fleet.opts.MaxLines
	if c.lines <= limit {
		return
	}
	for _, b := range c.queue {
		for _, p := range b.hosts {
			if c.lines <= limit-limit/4 {
				return
			}
			c.lines -= len(p.events)
			c.dropped += len(p.events)
			p.events = nil
		}
	}
}

// takeBatch removes the oldest batch from the queue, nil when there is none.
func (c *committer) takeBatch() *batch {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) == 0 {
		return nil
	}
	b := c.queue[0]
	c.queue = c.queue[1:]
	for _, p := range b.hosts {
		delete(c.where, p.host)
		c.lines -= len(p.events)
	}
	return b
}

// run saves batches until the context ends, then what is left, once.
func (c *committer) run(ctx context.Context) {
	for {
		select {
		case <-c.wake:
			c.saveQueued(ctx)
		case <-ctx.Done():
			return
		}
	}
}

func (c *committer) saveQueued(ctx context.Context) {
	for b := c.takeBatch(); b != nil; b = c.takeBatch() {
		if !c.saveBatch(ctx, b) {
			return
		}
	}
}

// saveBatch tries until it succeeds or the context ends, and reports which.
func (c *committer) saveBatch(ctx context.Context, b *batch) bool {
	wait := retryFirst
	for {
		err := c.saveOnce(ctx, b)
		if err == nil {
			c.noteRecovered()
			b.releaseWaiters()
			return true
		}
		if ctx.Err() == nil {
			c.noteFailed(err)
		}
		b.releaseWaiters()
		if !pause.For(ctx, wait) {
			c.giveBack(b)
			return false
		}
		wait = min(2*wait, retryLimit)
	}
}

// saveOnce gives a batch to the journal, which may hang but not for ever.
func (c *committer) saveOnce(ctx context.Context, b *batch) error {
	ctx, cancel := context.WithTimeout(ctx, saveLimit)
	defer cancel()
	c.setBegun(time.Now())
	defer c.setBegun(time.Time{})
	return c.fleet.opts.Journal.SaveReports(ctx, c.hostReports(b))
}

func (c *committer) setBegun(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.begun = t
}

// hostReports exports the hosts as they are now, which may be newer than when
// they were queued.
func (c *committer) hostReports(b *batch) []api.HostReport {
	out := make([]api.HostReport, 0, len(b.hosts))
	for _, p := range b.hosts {
		sh := c.fleet.shardOf(p.host.name)
		sh.mu.Lock()
		out = append(out, api.HostReport{Host: p.host.exportHost(), Events: p.events})
		sh.mu.Unlock()
	}
	return out
}

func (b *batch) releaseWaiters() { b.once.Do(func() { close(b.done) }) }

func (c *committer) noteFailed(err error) {
	c.mu.Lock()
	first := !c.failing
	c.failing = true
	waiting := c.queue
	c.mu.Unlock()
	if !first {
		return
	}
	for _, b := range waiting {
		b.releaseWaiters()
	}
	c.fleet.opts.Log.Error().Err(err).Msg("cannot save changes of hosts; heartbeats are answered from memory and changes queued")
}

func (c *committer) noteRecovered() {
	c.mu.Lock()
	was, dropped := c.failing, c.dropped
	c.failing, c.dropped = false, 0
	c.mu.Unlock()
	if was {
		c.fleet.opts.Log.Info().Int("lost", dropped).Msg("changes of hosts are saved again; lost counts timeline lines")
	}
}

// giveBack puts a batch that was not saved at the head of the queue.
func (c *committer) giveBack(b *batch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queue = append([]*batch{b}, c.queue...)
	for _, p := range b.hosts {
		c.lines += len(p.events)
	}
}

// Backlog is how many changed hosts are not saved yet, and whether the
// journal fails.
func (f *Fleet) Backlog() (hosts int, failing bool) {
	f.commits.mu.Lock()
	defer f.commits.mu.Unlock()
	for _, b := range f.commits.queue {
		hosts += len(b.hosts)
	}
	return hosts, f.commits.failing
}
