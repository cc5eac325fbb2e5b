package backend

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ops-updater/ops-updater/internal/atomicfile"
	"github.com/ops-updater/ops-updater/internal/plainfile"
	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/fleet"
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
	if m, ok := c.said(strings.TrimSpace(string(text))); ok {
		if err := c.wentBack(ctx, m, "its own notes in the data directory"); err != nil {
			return err
		}
	}
	c.RememberSerial()
	return nil
}

// said is a mark if it is one of ours and of a later moment than the snapshot.
func (c *core) said(text string) (m lineage.Mark, later bool) {
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

// ahead is asked about a host that shows a mark which is not the present one.
func (c *core) ahead(ctx context.Context, text string) (doubt bool) {
	m, later := c.said(text)
	if !later {
		return false
	}
	if !c.returning.TryLock() {
		return true // somebody is finding out
	}
	defer c.returning.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), aheadPatience)
	defer cancel()
	if err := c.wentBack(ctx, m, "a host that was told later things"); err != nil {
		c.log.Warn().Err(err).Msg("a host was told what this server does not know of, and the database cannot say why: it is told to stay as it is")
		return true
	}
	return false
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
	return c.reread(ctx)
}

// pauseForStandstill pauses what was under way when a database was restored.
func (c *core) pauseForStandstill(ctx context.Context) error {
	_, err := c.store.Write(ctx, Self, func(tx *store.Tx) error {
		st, err := tx.Standstill(ctx)
		if err != nil || st == nil || st.Paused {
			return err
		}
		st.Paused = true
		if err := c.engine.StandStill(ctx, tx); err != nil {
			return err
		}
		return tx.KeepStandstill(ctx, *st)
	})
	if err != nil {
		return fmt.Errorf("cannot pause the rollouts of a restored database: %w", err)
	}
	return c.reread(ctx)
}

// TellStandstill says at every start that nothing moves, and why.
func (c *core) TellStandstill() {
	if st := c.wanted.Load().Standstill; st != nil {
		c.log.Error().Time("since", st.Since).Str("reason", st.Reason).
			Msg("the fleet stands still: every host keeps what it reports; look at the difference with: ops-meta standstill")
	}
}

// standstill joins a standstill to the API.
type standstill struct{ *core }

// moveSample is how many hosts' names a move gives.
const moveSample = 10

// Standstill is the difference that its end would make.
func (s standstill) Standstill(context.Context) (api.StandstillReport, error) {
	w := s.wanted.Load()
	report := api.StandstillReport{Active: w.Standstill != nil, Standstill: w.Standstill, Hosts: s.fleet.Hosts(), Moves: []api.Move{}}
	if !report.Active {
		return report, nil
	}
	all, heard := s.fleet.HeardSince(w.Standstill.Since)
	report.Hosts, report.Unheard = all, all-heard
	after := s.fleet.Snapshot().AfterStandstill(time.Now())
	moves, moved := map[moveKey]*api.Move{}, map[string]bool{}
	s.fleet.EachTold(after, func(t fleet.Told) {
		key, isMove := moveOf(t)
		if !isMove {
			return
		}
		moved[t.Host] = true
		m := moves[key]
		if m == nil {
			m = &api.Move{Agent: key.agent, From: key.from, To: key.to, Cmd: key.cmd}
			m.Why = s.fleet.ExplainBy(after, t.Host, t.Agent.Name)
			moves[key] = m
		}
		if m.Hosts++; len(m.Sample) < moveSample {
			m.Sample = append(m.Sample, t.Host)
		}
	})
	report.Unchanged = all - len(moved)
	for _, m := range moves {
		slices.Sort(m.Sample)
		report.Moves = append(report.Moves, *m)
	}
	slices.SortFunc(report.Moves, func(a, b api.Move) int {
		return cmp.Or(cmp.Compare(b.Hosts, a.Hosts), cmp.Compare(a.Agent, b.Agent), cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To), cmp.Compare(a.Cmd, b.Cmd))
	})
	report.Seen = seenOf(moves)
	return report, nil
}

// moveKey tells moves apart.
type moveKey struct{ agent, from, to, cmd string }

// moveOf is what would happen to an agent, if anything.
func moveOf(t fleet.Told) (moveKey, bool) {
	k := moveKey{agent: t.Agent.Name, from: t.Agent.Version, to: t.Version, cmd: t.Cmd}
	stopped := t.Agent.Status == meta.StatusStopped || t.Agent.Status == "stopped"
	switch {
	case t.Held:
		return k, false
	case t.Cmd == meta.CmdStart:
		return k, t.Agent.Version != t.Version || stopped
	case t.Cmd == meta.CmdStop:
		return k, t.Agent.Status != "" && !stopped
	}
	return k, false
}

// seenOf stands for a list of moves, however many hosts each has.
func seenOf(moves map[moveKey]*api.Move) string {
	lines := make([]string, 0, len(moves))
	for k := range moves {
		lines = append(lines, fmt.Sprintf("%q", []string{k.agent, k.from, k.to, k.cmd}))
	}
	slices.Sort(lines)
	sum := sha256.Sum256([]byte(strings.Join(lines, "\n")))
	return hex.EncodeToString(sum[:8])
}

// EndStandstill lets hosts be told what is wanted, by whoever has seen what
// that will be.
func (s standstill) EndStandstill(ctx context.Context, by api.Actor, e api.EndStandstill) error {
	serial := s.wanted.Load().Serial
	now, err := s.Standstill(ctx)
	if err != nil {
		return err
	}
	changed := &api.Error{
		Kind: api.KindConflict, Field: "seen", Message: "what would happen is not what was looked at",
		Hint: "look at the difference again: ops-meta standstill",
	}
	if now.Active && e.Seen != now.Seen {
		return changed
	}
	return s.write(ctx, by, func(tx *store.Tx) error {
		if tx.Serial()-1 != serial {
			return changed // somebody wrote since
		}
		if err := tx.EndStandstill(ctx, e.Reason); err != nil {
			return err
		}
		return s.engine.GoOn(ctx, tx)
	})
}
