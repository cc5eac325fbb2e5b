package backend

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/fleet"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

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
	return c.rereadWanted(ctx)
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
func (s standstill) Standstill(ctx context.Context) (api.StandstillReport, error) {
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
		if err := s.judgeMove(ctx, m); err != nil {
			return report, err
		}
		report.Moves = append(report.Moves, *m)
	}
	slices.SortFunc(report.Moves, func(a, b api.Move) int {
		return cmp.Or(cmp.Compare(b.Hosts, a.Hosts), cmp.Compare(a.Agent, b.Agent), cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To), cmp.Compare(a.Cmd, b.Cmd))
	})
	report.Seen = seenOf(moves)
	return report, nil
}

// judgeMove says what is known against the version that hosts would be told.
func (s standstill) judgeMove(ctx context.Context, m *api.Move) (err error) {
	m.Bad, err = assignments(s).warnOfTakenBack(ctx, api.Assignment{Agent: m.Agent, Version: m.To, Cmd: m.Cmd})
	return err
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

// EndStandstill lets hosts be told what is wanted, by a person who has seen what
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
		if err := s.engine.GoOn(ctx, tx); err != nil {
			return err
		}
		return tx.EndStandstill(ctx, e.Reason)
	})
}
