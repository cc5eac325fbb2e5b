package backend

import (
	"context"
	"time"

	"github.com/ops-updater/ops-updater/internal/timespan"
	"github.com/ops-updater/ops-updater/meta/api"
)

// How often and how much is looked after.
const (
	SampleEvery = time.Minute // keeps how agents stand
	CleanEvery  = time.Hour   // removes what is old

	cleanBatch = 5000 // rows in a transaction
)

func days(n int) time.Duration { return time.Duration(n) * timespan.Day }

// EndHolds compiles again when a hold's time is over.
func (c *core) EndHolds(ctx context.Context) {
	if c.seeClock(ctx) != nil {
		return // it is said where rollouts are looked after
	}
	if end := c.fleet.Snapshot().ValidUntil(); !end.IsZero() && !time.Now().Before(end) {
		c.recompileWanted()
	}
}

// TouchTokens keeps when tokens were used.
func (c *core) TouchTokens(ctx context.Context) {
	used := c.access.TakeUses()
	if len(used) == 0 {
		return
	}
	if err := c.store.TouchTokens(ctx, used); err != nil {
		c.log.Warn().Err(err).Msg("cannot keep when tokens were last used")
	}
}

// Sample keeps how every agent stands now. Of several replicas one does it.
func (c *core) Sample(ctx context.Context) {
	if leads, err := c.store.TryLead(ctx, "samples", SampleEvery*3/2); err != nil || !leads {
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

// Clean removes what is older than it is to be kept.
func (c *core) Clean(ctx context.Context) {
	if c.clockIsOff() {
		c.log.Error().Msg("most hosts report another time than this server's clock: nothing is removed for its age until that is set right; ops-meta doctor tells more")
		return
	}
	before := time.Now().Add(-days(c.conf.KeepEvents))
	if err := c.store.DeleteSamples(ctx, before); err != nil {
		c.log.Warn().Err(err).Msg("cannot remove old samples")
	}
	c.removeInBatches(ctx, "events", before, c.store.DeleteEvents)
	c.removeInBatches(ctx, "grants", before, c.store.DeleteGrants)
	c.removeInBatches(ctx, "sessions", time.Now(), c.store.DeleteSessions)
	if err := c.ForgetSilent(ctx, time.Now()); err != nil {
		c.log.Warn().Err(err).Msg("cannot forget silent hosts")
	}
}

// removeInBatches removes in small transactions, so that nobody waits long.
func (c *core) removeInBatches(ctx context.Context, what string, before time.Time, remove func(context.Context, time.Time, int) (int64, error)) {
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
