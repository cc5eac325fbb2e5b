package backend

import (
	"context"
	"sync"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

const (
	clockSteady = 10 * time.Second // what a clock may be corrected by without a word
	clockLease  = time.Minute      // of several servers one moves what is stored
)

// clockJump is by how much the wall clock moved more (or less) than time has
// passed; corrections that change nothing here are none.
func clockJump(wall, passed time.Duration) time.Duration {
	if jump := wall - passed; jump.Abs() > clockSteady {
		return jump
	}
	return 0
}

// clockWatch notices jumps of the wall clock. Whatever runs out by the clock
// has it looked at first.
type clockWatch struct {
	mu      sync.Mutex
	last    time.Time // when it was looked at, by both clocks
	pending time.Duration
	total   time.Duration // of all jumps since the start, and while no server ran before it
	at      time.Time     // of the last one
	noted   time.Time     // when the clocks were noted for the next start
}

// advance looks at both clocks, and says by how much the wall clock jumped
// since the last look. The caller has locked.
func (w *clockWatch) advance(now time.Time) (jump time.Duration) {
	if !w.last.IsZero() {
		jump = clockJump(now.Round(0).Sub(w.last.Round(0)), now.Sub(w.last))
	}
	if w.last = now; jump != 0 {
		w.addJump(jump, now)
	}
	return jump
}

func (w *clockWatch) addJump(jump time.Duration, at time.Time) {
	w.pending, w.total, w.at = w.pending+jump, w.total+jump, at
}

// OpenClock notices that the clock jumped while no server ran, and by how
// much.
func (c *core) OpenClock() (jump time.Duration) {
	if jump = c.jumpedAway(); jump != 0 {
		c.log.Error().Str("by", jump.String()).Msg("the clock jumped while this server was down: deadlines, soak times, holds and when hosts were heard move by as much; keep the machine's time with NTP")
		c.clock.addJump(jump, time.Now())
	}
	return jump
}

// followClockAway moves what the clock would end by its jump while no server
// ran, before anybody is answered.
func (c *core) followClockAway(ctx context.Context) error {
	c.fleet.ClockJumped(c.clock.pending)
	return c.seeClock(ctx)
}

// seeClock moves what the wall clock would end by as much as that has jumped:
// deadlines, soak times, holds, and when hosts were heard. It fails when what
// is stored could not be moved; nothing may run out until it was.
func (c *core) seeClock(ctx context.Context) error {
	c.clock.mu.Lock()
	defer c.clock.mu.Unlock()
	if jump := c.clock.advance(time.Now()); jump != 0 {
		c.log.Error().Str("by", jump.String()).Msg("the clock jumped: deadlines, soak times, holds and when hosts were heard move by as much; keep the machine's time with NTP")
		c.fleet.ClockJumped(jump)
	}
	if c.clock.pending != 0 {
		if err := c.followClock(ctx, c.clock.pending); err != nil {
			return err
		}
		c.clock.pending, c.clock.noted = 0, time.Time{}
	}
	if c.clock.noted.IsZero() || time.Since(c.clock.noted) > noteClockIn {
		c.noteClock()
	}
	return nil
}

// seeClockBefore is for what goes on when the database is away.
func (c *core) seeClockBefore(what string) func() {
	return func() {
		if err := c.seeClock(context.Background()); err != nil {
			c.log.Warn().Err(err).Msg("the clock jumped, and what is stored could not be moved before " + what)
		}
	}
}

// followClock moves what is stored.
func (c *core) followClock(ctx context.Context, by time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, refreshWithin)
	defer cancel()
	if leads, err := c.store.TryLead(ctx, "clock", clockLease); err != nil || !leads {
		return err
	}
	if err := c.engine.ClockJumped(ctx, by); err != nil {
		return err
	}
	return c.write(ctx, Self, func(tx *store.Tx) error { return tx.MoveHolds(ctx, tx.Now().Add(-by), by) })
}

// clockIsOff reports whether most hosts say that it is another time.
func (c *core) clockIsOff() bool {
	skewed, all := c.fleet.CountSkewed()
	return 2*skewed > all
}

// CheckHostClocks compares this clock with the hosts'.
func (c *core) CheckHostClocks() api.Check {
	skewed, all := c.fleet.CountSkewed()
	switch {
	case c.clockIsOff():
		return api.Checkf("hosts' clocks", api.CheckError, "set this machine's clock by NTP; nothing old is cleaned away meanwhile", "%d of %d hosts report another time: it is this server's clock that is wrong, at %s", skewed, all, time.Now().UTC().Format(time.RFC3339))
	case skewed > 0:
		return api.Checkf("hosts' clocks", api.CheckWarning, "ops-meta hosts --problem names them", "%d of %d hosts report another time than this server's", skewed, all)
	}
	return api.Checkf("hosts' clocks", api.CheckOK, "", "those of %d hosts are near this server's", all)
}

// CheckJumps tells of jumps since the start.
func (c *core) CheckJumps() api.Check {
	c.clock.mu.Lock()
	defer c.clock.mu.Unlock()
	switch {
	case c.clock.at.IsZero():
		return api.Checkf("clock jumps", api.CheckOK, "", "none since this server started, nor while it was down")
	case c.clock.pending != 0:
		return api.Checkf("clock jumps", api.CheckError, "look at the database", "the clock jumped by %s, and what is stored could not be moved yet: nothing runs out until it is", c.clock.pending)
	}
	return api.Checkf("clock jumps", api.CheckWarning, "keep the machine's time with NTP",
		"the clock jumped by %s in all, the last time at %s: deadlines, soak times and holds moved by as much", c.clock.total.Round(time.Second), c.clock.at.UTC().Format(time.RFC3339))
}
