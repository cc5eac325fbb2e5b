package backend

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/ops-updater/ops-updater/internal/atomicfile"
)

const (
	clockFile   = "clock" // where a data directory remembers its server's clocks
	noteClockIn = time.Minute
)

// clockNote is both clocks as a server last saw them. It lies beside the
// database, so that the next start can tell how far the wall clock has jumped
// while no server ran.
type clockNote struct {
	Time      time.Time     `json:"time"`
	Boot      string        `json:"boot"`      // the machine's; empty: not known
	SinceBoot time.Duration `json:"sinceBoot"` // in nanoseconds, with the time asleep
}

// clocksNow reads both clocks.
func clocksNow() clockNote {
	n := clockNote{Time: time.Now().UTC().Round(0)}
	n.Boot, n.SinceBoot = bootClock()
	return n
}

// jumpUntil is by how much the wall clock has jumped between two notes. Within
// a boot the other clock tells. Across boots only a clock that went back is one
// for certain, and is taken for no time at all; one that went ahead may as well
// be the time that the machine was off.
func (n clockNote) jumpUntil(now clockNote) time.Duration {
	wall := now.Time.Sub(n.Time)
	switch {
	case n.Time.IsZero():
		return 0
	case n.Boot != "" && n.Boot == now.Boot:
		return clockJump(wall, now.SinceBoot-n.SinceBoot)
	}
	return min(clockJump(wall, 0), 0)
}

// jumpedAway is by how much the clock jumped while no server ran. What several
// servers share is not moved for it: another one of them may have run on.
func (c *core) jumpedAway() time.Duration {
	if c.conf.Shared {
		return 0
	}
	var last clockNote
	text, err := os.ReadFile(filepath.Join(c.conf.Data, clockFile))
	if err == nil {
		err = json.Unmarshal(text, &last)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.log.Warn().Err(err).Msg("cannot read when this server last ran: should the clock have jumped since, nobody will know")
		return 0
	}
	return last.jumpUntil(clocksNow())
}

// noteClock remembers both clocks for the next start. The caller has locked
// the watch; nothing waits to be moved.
func (c *core) noteClock() {
	if c.conf.Shared {
		return
	}
	c.clock.noted = time.Now()
	text, err := json.Marshal(clocksNow())
	if err == nil {
		err = atomicfile.Write(filepath.Join(c.conf.Data, clockFile), append(text, '\n'), 0o600)
	}
	if err != nil {
		c.log.Warn().Err(err).Msg("cannot note the clock: should it jump while no server runs, nobody will know")
	}
}
