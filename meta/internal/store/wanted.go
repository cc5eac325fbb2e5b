package store

import (
	"context"
	"database/sql"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/keyring"
)

// Serial is the serial of the last operator's write: it grows with every
// change of what is wanted.
func (r Reader) Serial(ctx context.Context) (serial int64, err error) {
	err = r.q.QueryRowContext(ctx, `SELECT value FROM counters WHERE name = 'serial'`).Scan(&serial)
	return serial, faultOf("read serial", err)
}

// Wanted reads everything that decides what hosts are told, at one moment.
func (s *Store) Wanted(ctx context.Context) (w api.Wanted, err error) {
	// Of one moment: an assignment without the rollout that was made with it would
	// tell hosts its version at once.
	err = s.inView(ctx, "read what is wanted", func(tx *sql.Tx) error {
		w, err = Reader{q: tx}.Wanted(ctx)
		return err
	})
	return w, err
}

// WantedAndKeys is [Store.Wanted] with the server's keys of the same moment: what a serial
// says is signed by the same key on every server.
func (s *Store) WantedAndKeys(ctx context.Context) (w api.Wanted, ring keyring.Ring, err error) {
	err = s.inView(ctx, "read what is wanted", func(tx *sql.Tx) error {
		r := Reader{q: tx}
		if w, err = r.Wanted(ctx); err != nil {
			return err
		}
		ring, err = r.Keyring(ctx)
		return err
	})
	return w, ring, err
}

// Wanted reads everything that decides what hosts are told.
func (r Reader) Wanted(ctx context.Context) (w api.Wanted, err error) {
	steps := []func() error{
		func() (err error) { w.Serial, err = r.Serial(ctx); return err },
		func() (err error) { w.Agents, err = agents.findAll(ctx, r.q, where{}); return err },
		func() (err error) { w.Groups, err = groups.findAll(ctx, r.q, where{}); return err },
		func() (err error) { w.Strategies, err = strategies.findAll(ctx, r.q, where{}); return err },
		func() (err error) { w.Channels, err = channels.findAll(ctx, r.q, where{}); return err },
		func() (err error) { w.Schedules, err = schedules.findAll(ctx, r.q, where{}); return err },
		func() (err error) { w.Assignments, err = assignments.findAll(ctx, r.q, where{}); return err },
		func() (err error) { w.Releases, err = r.allReleases(ctx); return err },
		func() (err error) { w.Standstill, err = r.Standstill(ctx); return err },
		func() (err error) { w.Eras, err = r.Eras(ctx); return err },
		func() (err error) { w.Rollouts, err = r.rolloutsInForce(ctx); return err },
		func() error {
			stored, err := holds.findAll(ctx, r.q, where{})
			w.Holds = bareHolds(stored)
			return err
		},
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return w, err
		}
	}
	return w, nil
}

func (r Reader) allReleases(ctx context.Context) ([]api.Release, error) {
	items, err := releases.findAll(ctx, r.q, where{})
	if err != nil {
		return nil, err
	}
	return items, r.fillArtifacts(ctx, items)
}
