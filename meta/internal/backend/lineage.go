package backend

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ops-updater/ops-updater/internal/atomicfile"
	"github.com/ops-updater/ops-updater/internal/plainfile"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/lineage"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

// serialFile is where a data directory remembers what its server has said, in
// case the database goes back without it.
const serialFile = "serial"

// aheadPatience bounds how long a host waits while its server finds out
// whether the database went back.
const aheadPatience = time.Second

// openLineage looks, before anybody is answered, whether the database is of an
// earlier moment than what this directory's server has said, and pauses what a
// restore left under way.
func (c *core) openLineage(ctx context.Context) error {
	w := c.wanted.Load()
	if w.Standstill != nil && !w.Standstill.Paused {
		if err := c.pauseForStandstill(ctx); err != nil {
			return err
		}
	}
	text, err := plainfile.Read(filepath.Join(c.conf.Data, serialFile), maxNote)
	if _, odd := errors.AsType[*plainfile.Error](err); odd {
		err = plainfile.SetAside(filepath.Join(c.conf.Data, serialFile), err)
		if _, moved := errors.AsType[*plainfile.AsideError](err); moved {
			c.log.Warn().Err(err).Msg("this server's notes of what it has said are lost: should the database have gone back, only hosts will tell")
			err = nil
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot read what this server has said before: %w", err)
	}
	if m, ok := c.readLaterMark(strings.TrimSpace(string(text))); ok {
		if err := c.wentBack(ctx, m, "its own notes in the data directory"); err != nil {
			return err
		}
	}
	c.RememberSerial()
	return nil
}

// readLaterMark is a mark if it is one of ours and of a later moment than the
// snapshot.
func (c *core) readLaterMark(text string) (m lineage.Mark, later bool) {
	m, genuine, ok := c.lineage.Read(text)
	if !ok {
		return m, false
	}
	w := c.wanted.Load()
	return m, m.After(w.Eras, w.Serial) && genuine()
}

// markOf is what hosts are told beside the serial.
func (c *core) markOf(w api.Wanted) string {
	if len(w.Eras) == 0 {
		return ""
	}
	return c.lineage.Text(lineage.Mark{Era: w.Eras[len(w.Eras)-1], Serial: w.Serial})
}

// RememberSerial keeps outside of the database what was said.
func (c *core) RememberSerial() {
	mark := c.markOf(c.wanted.Load().Wanted)
	if err := atomicfile.Write(filepath.Join(c.conf.Data, serialFile), []byte(mark+"\n"), 0o600); err != nil {
		c.log.Warn().Err(err).Msg("cannot note the serial beside the database: should the database go back, only hosts will tell")
	}
}

// hostIsAhead is asked about a host that shows a mark which is not the present one.
func (c *core) hostIsAhead(ctx context.Context, text string) (said int64, doubt bool) {
	m, genuine, ok := c.lineage.Read(text)
	w := c.wanted.Load()
	later := m.After(w.Eras, w.Serial)
	if !ok || !later && m.Serial <= w.Serial || !genuine() {
		return 0, false
	}
	return m.Serial, c.isInDoubt(ctx, m, later)
}

// isInDoubt finds out why a host was told a serial that this server does not know
// of: it returns true when that cannot be done. One host at a time has the database
// looked at, and those that come meanwhile wait for what it finds: told from memory, they
// would get an older key and epoch than another server has told them already.
func (c *core) isInDoubt(ctx context.Context, m lineage.Mark, later bool) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), aheadPatience)
	defer cancel()
	if !c.ahead.begin(ctx, time.Now()) {
		return later
	}
	w := c.wanted.Load()
	var err error
	defer func() { c.ahead.end(err, time.Now()) }()
	switch {
	case m.Serial <= w.Serial && !m.After(w.Eras, w.Serial): // who was before us has found out
	case !later:
		c.passSerial(ctx, m)
	default:
		err = c.wentBack(ctx, m, "a host that was told later things")
	}
	if err != nil {
		c.log.Warn().Err(err).Msg("a host was told what this server does not know of, and the database cannot say why: it is told to stay as it is")
	}
	return err != nil
}

// aheadTurns lets one host at a time have the database looked at.
type aheadTurns struct {
	turn  chan struct{}
	until atomic.Int64 // Unix nanoseconds; nobody waits before it, as the database did not answer
}

func newAheadTurns() aheadTurns { return aheadTurns{turn: make(chan struct{}, 1)} }

// begin waits for the caller's turn, and reports whether it has come; while the database
// does not answer, only one now and then waits at all. Who has it calls end.
func (a *aheadTurns) begin(ctx context.Context, now time.Time) bool {
	until := a.until.Load()
	if until != 0 && (now.UnixNano() < until || !a.until.CompareAndSwap(until, now.Add(aheadPatience).UnixNano())) {
		return false
	}
	select {
	case a.turn <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// end says how the look at the database went.
func (a *aheadTurns) end(err error, now time.Time) {
	var until int64
	if err != nil {
		until = now.Add(aheadPatience).UnixNano()
	}
	a.until.Store(until)
	<-a.turn
}

// passSerial raises the serial above one that was said in an era which has ended. That
// the database went back is known; but a host that verifies replies refuses any
// serial below the highest that it was told.
func (c *core) passSerial(ctx context.Context, m lineage.Mark) {
	serial, err := c.store.Write(ctx, Self, func(tx *store.Tx) error { return tx.RaiseSerial(ctx, m.Serial) })
	if err == nil {
		err = c.Refresh(ctx, serial)
	}
	if err != nil {
		c.log.Warn().Err(err).Int64("serial", m.Serial).Msg("cannot raise the serial above one that a host was told before: it refuses replies until it is")
		return
	}
	c.log.Info().Int64("serial", serial).Int64("said", m.Serial).Msg("the serial was raised above one that a host was told before the database went back")
}

// LookBack begins a standstill when the database is behind what this server
// has read of it.
func (c *core) LookBack(ctx context.Context) {
	w := c.wanted.Load()
	serial, err := c.store.Serial(ctx)
	if err != nil || serial >= w.Serial || len(w.Eras) == 0 {
		return
	}
	m := lineage.Mark{Era: w.Eras[len(w.Eras)-1], Serial: w.Serial}
	if err := c.wentBack(ctx, m, "this server's memory"); err != nil {
		c.log.Error().Err(err).Msg("the database went back to an earlier moment, and the standstill cannot be stored")
	}
}

// wentBack begins a standstill unless the database knows of a mark: another
// server may have written it a moment ago.
func (c *core) wentBack(ctx context.Context, m lineage.Mark, who string) error {
	begun := false
	serial, err := c.store.Write(ctx, Self, func(tx *store.Tx) error {
		begun = false
		w, err := tx.Wanted(ctx)
		if err != nil || !m.After(w.Eras, tx.Serial()-1) {
			return err
		}
		begun = true
		st := api.Standstill{Since: tx.Now(), Paused: true, Reason: fmt.Sprintf(
			"the database is at serial %d, and by %s the serial had come to %d: it went back to an earlier moment", tx.Serial()-1, who, m.Serial,
		)}
		if err := tx.BeginStandstill(ctx, st, m.Serial); err != nil {
			return err
		}
		return c.engine.StandStill(ctx, tx)
	})
	if err != nil {
		return err
	}
	if begun {
		c.log.Error().Int64("serial", serial).Int64("said", m.Serial).Str("by", who).
			Msg("the database went back to an earlier moment: the fleet stands still, every host keeps what it reports; look at the difference with: ops-meta standstill")
	}
	return c.rereadWanted(ctx)
}
