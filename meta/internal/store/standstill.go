package store

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/lineage"
)

// Settings of a database's lineage.
const (
	lineageKey        = "lineage-key"  // signs what hosts are told of the serial
	erasSetting       = "lineage-eras" // JSON: the names of the eras, the present one last
	standstillSetting = "standstill"   // JSON: api.Standstill
)

// maxEras bounds what is remembered of earlier eras.
const maxEras = 100

// LineageKey is the key of this database's marks. A database that has no era
// yet begins its first.
func (s *Store) LineageKey(ctx context.Context) (lineage.Key, error) {
	key, err := s.EnsureSecret(ctx, lineageKey, 32)
	if err != nil {
		return nil, err
	}
	return key, s.inTx(ctx, "begin the first era", func(tx *sql.Tx) error {
		r := Reader{q: tx}
		eras, err := r.Eras(ctx)
		if err != nil || len(eras) > 0 {
			return err
		}
		doc, err := json.Marshal([]string{lineage.NewEra()})
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING`,
			erasSetting, base64.StdEncoding.EncodeToString(doc))
		return err
	})
}

// jsonSetting reads a setting into v; one that was never written leaves v.
func (r Reader) jsonSetting(ctx context.Context, name string, v any) error {
	doc, err := r.readSetting(ctx, name)
	if api.KindOf(err) == api.KindNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(doc, v); err != nil {
		return fmt.Errorf("cannot read setting %q: %w", name, err)
	}
	return nil
}

func putSetting(ctx context.Context, q querier, name string, v any) error {
	doc, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = q.ExecContext(ctx, `INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value`,
		name, base64.StdEncoding.EncodeToString(doc))
	return faultOf(fmt.Sprintf("write setting %q", name), err)
}

// Eras are the names of the eras, the present one last.
func (r Reader) Eras(ctx context.Context) (eras []string, err error) {
	return eras, r.jsonSetting(ctx, erasSetting, &eras)
}

// Standstill is the one in force, nil when there is none.
func (r Reader) Standstill(ctx context.Context) (st *api.Standstill, err error) {
	return st, r.jsonSetting(ctx, standstillSetting, &st)
}

// BeginStandstill begins a standstill and a new era, or replaces the one in
// force by it. above is a serial that was said before: the write gets a
// higher one, so that the serial never returns.
func (tx *Tx) BeginStandstill(ctx context.Context, st api.Standstill, above int64) error {
	before, err := tx.Standstill(ctx)
	if err != nil {
		return err
	}
	if err := tx.raiseSerial(ctx, above); err != nil {
		return err
	}
	if err := newEra(ctx, tx.q); err != nil {
		return err
	}
	if err := putSetting(ctx, tx.q, standstillSetting, st); err != nil {
		return err
	}
	return tx.recordChange("begin", "standstill", "fleet", before, st)
}

// KeepStandstill changes what is noted of the standstill in force.
func (tx *Tx) KeepStandstill(ctx context.Context, st api.Standstill) error {
	tx.KeepSerial()
	return putSetting(ctx, tx.q, standstillSetting, st)
}

// EndStandstill ends it; what is a person's reason goes into the audit log.
func (tx *Tx) EndStandstill(ctx context.Context, reason string) error {
	before, err := tx.Standstill(ctx)
	if err != nil {
		return err
	}
	if before == nil {
		return &api.Error{Kind: api.KindConflict, Message: "the fleet does not stand still", Hint: "ops-meta standstill says how it is"}
	}
	if _, err := tx.q.ExecContext(ctx, `DELETE FROM settings WHERE name = $1`, standstillSetting); err != nil {
		return faultOf("end the standstill", err)
	}
	return tx.recordChange("end", "standstill", "fleet", before, map[string]string{"reason": reason})
}

// raiseSerial gives the write a serial above one that was said before.
func (tx *Tx) raiseSerial(ctx context.Context, above int64) error {
	// A serial that hosts have seen must not come back with another meaning: they
	// would take a new answer for the one that they have.
	if above < tx.serial {
		return nil
	}
	tx.serial = above + 1
	_, err := tx.q.ExecContext(ctx, `UPDATE counters SET value = $1 WHERE name = 'serial'`, tx.serial)
	return faultOf("raise the serial", err)
}

func newEra(ctx context.Context, q querier) error {
	eras, err := Reader{q: q}.Eras(ctx)
	if err != nil {
		return err
	}
	eras = append(eras, lineage.NewEra())
	return putSetting(ctx, q, erasSetting, eras[max(0, len(eras)-maxEras):])
}

// standStill makes a restored database one whose fleet stands still.
func standStill(ctx context.Context, q querier, backedUp time.Time) error {
	if err := newEra(ctx, q); err != nil {
		return err
	}
	return putSetting(ctx, q, standstillSetting, api.Standstill{
		Since: time.Now().UTC(), Reason: "the database was restored from a backup of " + backedUp.UTC().Format(time.RFC3339),
	})
}

// RenewDeadlines gives the grants of a rollout that are not judged their whole
// time again, from now on.
func (tx *Tx) RenewDeadlines(ctx context.Context, rollout string, length time.Duration) error {
	_, err := tx.q.ExecContext(ctx, `UPDATE grants SET deadline = $1 WHERE rollout = $2 AND outcome = ''`, toMicros(tx.now.Add(length)), cleanText(rollout))
	return faultOf("renew deadlines", err)
}
