package server

import (
	"context"
	"strings"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

// How often the loops look.
const (
	holdsEvery   = time.Second
	tokensEvery  = time.Minute
	sampleEvery  = time.Minute
	cleanEvery   = time.Hour
	peersEvery   = time.Second
	seenEvery    = 30 * time.Second
	auditBatch   = 200
	cleanBatch   = 5000
	retryRefresh = time.Second
)

// watch compiles what any replica changed, and tells who follows the feed.
// It begins with the state of now, so that nothing falls between.
func (c *core) watch(ctx context.Context, changes <-chan store.Change, lastAudit int64) {
	for change := range changes {
		c.lookBack(ctx)
		for c.refresh(ctx, change.Serial) != nil && pause(ctx, retryRefresh) {
			c.log.Warn().Int64("serial", change.Serial).Msg("cannot read what is wanted; trying again")
		}
		c.rememberSerial()
		lastAudit = c.announce(ctx, lastAudit)
	}
}

// announce publishes what the audit log gained since last.
func (c *core) announce(ctx context.Context, last int64) int64 {
	page, err := c.store.Audit(ctx, api.AuditFilter{}, api.Cursor{Limit: auditBatch})
	if err != nil {
		c.feed.Publish("reset", "")
		return last
	}
	newest := last
	for i := len(page.Items) - 1; i >= 0; i-- {
		e := page.Items[i]
		if e.ID <= last {
			continue
		}
		newest = e.ID
		c.takeOver(e)
		c.feed.Publish(e.Kind, e.Name)
	}
	return newest
}

// takeOver forgets what another replica made void.
func (c *core) takeOver(e api.AuditEntry) {
	switch e.Kind {
	case "token":
		c.access.Doubt("")
		if host, ok := strings.CutPrefix(e.Name, "host:"); ok {
			c.access.Forget(host)
		}
	case "host":
		c.access.Doubt(e.Name)
		if e.Action != "delete" {
			return
		}
		c.access.Forget(e.Name)
		if h, ok := c.fleet.Host(e.Name); ok && h.FirstSeen.Before(e.Time.Add(-time.Second)) {
			c.fleet.Forget(e.Name)
			c.engine.Forget(e.Name)
		}
	}
}

// lastAudit is the newest entry's id.
func (c *core) lastAudit(ctx context.Context) int64 {
	page, err := c.store.Audit(ctx, api.AuditFilter{}, api.Cursor{Limit: 1})
	if err != nil || len(page.Items) == 0 {
		return 0
	}
	return page.Items[0].ID
}

// endHolds compiles again when a hold's time is over.
func (c *core) endHolds(ctx context.Context) {
	if c.seeClock(ctx) != nil {
		return // it is said where rollouts are looked after
	}
	if end := c.fleet.Snapshot().ValidUntil(); !end.IsZero() && !time.Now().Before(end) {
		c.recompile()
	}
}

// touchTokens keeps when tokens were used.
func (c *core) touchTokens(ctx context.Context) {
	used := c.access.Used()
	if len(used) == 0 {
		return
	}
	if err := c.store.TouchTokens(ctx, used); err != nil {
		c.log.Warn().Err(err).Msg("cannot keep when tokens were last used")
	}
}

// sample keeps how every agent stands now. Of several replicas one does it.
func (c *core) sample(ctx context.Context) {
	if leads, err := c.store.TryLead(ctx, "samples", sampleEvery*3/2); err != nil || !leads {
		return
	}
	o := c.fleet.Overview()
	samples := make([]api.Sample, len(o.Agents))
	for i, a := range o.Agents {
		samples[i] = api.Sample{At: o.At, Agent: a.Name, Hosts: a.Hosts, Failing: a.Failing, Drifted: a.Drifted, Versions: a.Versions}
	}
	if err := c.store.SaveSamples(ctx, samples); err != nil {
		c.log.Warn().Err(err).Msg("cannot keep how agents stand")
	}
}

// clean removes what is older than it is to be kept.
func (c *core) clean(ctx context.Context) {
	if c.clockIsOff() {
		c.log.Error().Msg("most hosts report another time than this server's clock: nothing is removed for its age until that is set right; ops-meta doctor tells more")
		return
	}
	before := time.Now().Add(-c.conf.KeepEvents.length())
	if err := c.store.DeleteSamples(ctx, before); err != nil {
		c.log.Warn().Err(err).Msg("cannot remove old samples")
	}
	c.drain(ctx, "events", before, c.store.DeleteEvents)
	c.drain(ctx, "grants", before, c.store.DeleteGrants)
	if err := c.forgetSilent(ctx, time.Now()); err != nil {
		c.log.Warn().Err(err).Msg("cannot forget silent hosts")
	}
}

// drain removes in small transactions, so that nobody waits long.
func (c *core) drain(ctx context.Context, what string, before time.Time, remove func(context.Context, time.Time, int) (int64, error)) {
	for ctx.Err() == nil {
		n, err := remove(ctx, before, cleanBatch)
		if err != nil {
			c.log.Warn().Err(err).Msg("cannot remove old " + what)
		}
		if err != nil || n < cleanBatch {
			return
		}
	}
}

// peers takes over what other replicas heard of hosts. It begins with a mark
// from before the hosts were loaded.
func (c *core) peers(ctx context.Context, mark store.Mark) {
	lastSeen := time.Now()
	for pause(ctx, peersEvery) {
		next, err := c.store.HostsSince(ctx, mark, func(h api.Host) error {
			c.fleet.Restore(h)
			return nil
		})
		if err != nil {
			continue // the next round looks from the same mark
		}
		mark = next
		if time.Since(lastSeen) < seenEvery {
			continue
		}
		since := lastSeen.Add(-seenEvery)
		lastSeen = time.Now()
		if err := c.takeSeen(ctx, since); err != nil {
			lastSeen = since
		}
	}
}

func (c *core) takeSeen(ctx context.Context, since time.Time) error {
	var seen []api.HostSeen
	err := c.store.LoadSeen(ctx, since, func(s api.HostSeen) error {
		seen = append(seen, s)
		return nil
	})
	c.fleet.MarkSeen(seen)
	return err
}

// every calls do until the context ends.
func every(ctx context.Context, d time.Duration, do func()) {
	for pause(ctx, d) {
		do()
	}
}

// pause waits, and reports false when the context ended.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
