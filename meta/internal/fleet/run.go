package fleet

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ops-updater/ops-updater/internal/pause"
	"github.com/ops-updater/ops-updater/meta/api"
)

const (
	maxFlush   = 5000 // hosts in one write of last-seen times
	drainLimit = 10 * time.Second
)

// Run saves changes, flushes last-seen times and looks for silent hosts until
// the context ends; then it saves what is left, within ten seconds. Stop the
// heartbeats first. The error says what could not be saved.
func (f *Fleet) Run(ctx context.Context) error {
	f.recallSilent()
	var wg sync.WaitGroup
	wg.Go(func() { f.commits.run(ctx) })
	wg.Go(func() { pause.Every(ctx, f.opts.FlushEvery, func() { f.logFlushError(f.flushSeen(ctx)) }) })
	wg.Go(func() { pause.Every(ctx, f.opts.SweepEvery, func() { f.seeClock(); f.sweepSilent(time.Now()) }) })
	wg.Wait()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainLimit)
	defer cancel()
	f.commits.saveQueued(last)
	err := f.flushSeen(last)
	if n, _ := f.Backlog(); n > 0 {
		err = errors.Join(err, fmt.Errorf("cannot save the changes of %d hosts: their next heartbeats will tell them again", n))
	}
	return err
}

func (f *Fleet) logFlushError(err error) {
	if err != nil {
		f.opts.Log.Warn().Err(err).Msg("cannot keep when hosts were last heard")
	}
}

// flushSeen keeps when hosts were heard since the last flush. What fails is not
// kept for the next one: the next heartbeat of the host tells it again.
func (f *Fleet) flushSeen(ctx context.Context) error {
	if f.opts.Journal == nil {
		return nil
	}
	var seen []api.HostSeen
	var errs []error
	write := func() {
		if len(seen) > 0 {
			limited, cancel := context.WithTimeout(ctx, saveLimit)
			errs = append(errs, f.opts.Journal.FlushSeen(limited, seen))
			cancel()
			seen = seen[:0]
		}
	}
	for i := range f.shards {
		seen = f.shards[i].drainSeen(seen)
		if len(seen) >= maxFlush {
			write()
		}
	}
	write()
	return errors.Join(errs...)
}

func (sh *shard) drainSeen(out []api.HostSeen) []api.HostSeen {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for _, h := range sh.seen {
		h.set(seenQueued, false)
		out = append(out, api.HostSeen{Host: h.name, Seen: fromUnix(h.seen)})
	}
	clear(sh.seen)
	sh.seen = sh.seen[:0]
	return out
}

// recallSilent marks the restored hosts that were silent already when this
// server was last up, which was when the last of them was heard: their
// timelines tell it.
func (f *Fleet) recallSilent() {
	var last uint32
	f.eachLocked(func(h *host) { last = max(last, h.seen) })
	interval := f.Interval()
	f.eachLocked(func(h *host) {
		if h.silentAt(fromUnix(last), interval) {
			h.set(isSilent, true)
		}
	})
}

// SilentSince names the hosts that were not heard since a time.
func (f *Fleet) SilentSince(t time.Time) (names []string) {
	limit := toUnix(t)
	f.eachLocked(func(h *host) {
		if h.seen < limit {
			names = append(names, h.name)
		}
	})
	return names
}

func (f *Fleet) eachLocked(do func(*host)) {
	for i := range f.shards {
		sh := &f.shards[i]
		sh.mu.Lock()
		for _, h := range sh.hosts {
			do(h)
		}
		sh.mu.Unlock()
	}
}

// sweepSilent marks the hosts that fell silent: not heard for three intervals, and
// not before one interval (and its jitter) after this server's own start,
// whose absence was not theirs. Hosts with a pace of their own are measured by
// that.
func (f *Fleet) sweepSilent(now time.Time) {
	f.countFromNow(now)
	interval, up := f.Interval(), now.Sub(f.startedAt)
	silent := func(h *host) bool { return up >= h.silenceGrace(interval) && h.silentAt(now, interval) }
	leads := f.opts.Leads == nil || f.opts.Leads()
	for i := range f.shards {
		if leads {
			f.sweepShard(&f.shards[i], silent, now)
		} else {
			f.shards[i].markSilent(silent)
		}
	}
}

// ClockJumped moves when hosts were heard by as much as the clock has jumped.
func (f *Fleet) ClockJumped(by time.Duration) {
	f.eachLocked(func(h *host) { h.seen = clampSeconds(int64(h.seen) + int64(by/time.Second)) })
}

// CountSkewed counts the hosts that have reported since the start and are not
// silent, and those of them whose clocks are not near this server's: when they
// are most of them, its own is wrong.
func (f *Fleet) CountSkewed() (skewed, all int) {
	f.eachLocked(func(h *host) {
		if !h.has(isSilent) && !h.has(isRestored) {
			skewed, all = skewed+countOf(h.has(isSkewed)), all+1
		}
	})
	return skewed, all
}

func (f *Fleet) seeClock() {
	if f.opts.SeeClock != nil {
		f.opts.SeeClock()
	}
}

// clockSlack is what the clocks of two servers may differ by.
const clockSlack = time.Minute

// countFromNow has hosts that were heard in the future, by a clock that was
// ahead, be heard now: they fall silent as others do.
func (f *Fleet) countFromNow(now time.Time) {
	limit := toUnix(now.Add(clockSlack))
	f.eachLocked(func(h *host) {
		if h.seen > limit {
			h.seen = toUnix(now)
		}
	})
}

// markSilent marks silent hosts without a word: another replica tells of them.
func (sh *shard) markSilent(silent func(*host) bool) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for _, h := range sh.hosts {
		h.set(isSilent, h.has(isSilent) || silent(h))
	}
}

func (f *Fleet) sweepShard(sh *shard, silent func(*host) bool, now time.Time) {
	var told []api.HostReport
	var renamed []rename
	sh.mu.Lock()
	for _, h := range sh.hosts {
		if h.has(isSilent) || !silent(h) {
			continue
		}
		r, events := f.silenceHost(h, now)
		if r.to != "" {
			renamed = append(renamed, r)
		}
		f.commits.enqueueHost(h, events)
		told = append(told, api.HostReport{Host: h.exportHost(), Events: events})
	}
	sh.mu.Unlock()
	if f.observer != nil {
		for _, r := range told {
			f.observer.HostChanged(r)
		}
	}
	for _, r := range renamed {
		f.linkRenamed(r, now)
	}
}

type rename struct{ from, to string }

// silenceHost marks a host silent, and as renamed when its boot goes on under
// another name.
func (f *Fleet) silenceHost(h *host, now time.Time) (rename, []api.Event) {
	log := &timeline{host: h.name, now: now}
	h.set(isSilent, true)
	log.addEvent(api.Event{Kind: api.EventSilent, Message: "not heard since " + fromUnix(h.seen).Format(time.RFC3339)})
	r := rename{h.name, f.boots.successorOf(h)}
	if r.to != "" {
		h.rarePart().renamed = "it reports under a new name: " + r.to
		log.addEvent(api.Event{Kind: api.EventHost, To: r.to, Message: "renamed to " + r.to})
	}
	return r, log.events
}

// linkRenamed tells the new name of a host about the old one.
func (f *Fleet) linkRenamed(r rename, now time.Time) {
	sh := f.shardOf(r.to)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if h := sh.hosts[r.to]; h != nil {
		log := &timeline{host: h.name, now: now}
		log.addEvent(api.Event{Kind: api.EventHost, From: r.from, Message: "renamed from " + r.from})
		f.commits.enqueueHost(h, log.events)
	}
}
