package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
)

// Tx is one write by an operator (or by the server in its own name). All of
// its changes, their audit entries and the new serial become visible together.
type Tx struct {
	Reader
	store   *Store
	actor   api.Actor
	serial  int64
	now     time.Time
	made    int // identifiers made so far
	entries []auditEntry
	keep    bool // also without entries
	act     act  // what the audit log calls it
}

var errUnchanged = errors.New("nothing changed")

// Write runs do in a transaction and returns the serial afterwards, which is
// the old one when do changed nothing. Operators' writes run one at a time, on
// all replicas. do may run again when PostgreSQL asks for it, so it must not
// change what is outside of the transaction; its error undoes everything and
// is returned as it is.
func (s *Store) Write(ctx context.Context, actor api.Actor, do func(*Tx) error) (serial int64, err error) {
	err = s.inTx(ctx, "write", func(sqlTx *sql.Tx) error {
		// The row's lock is what makes operators' writes queue.
		if err := sqlTx.QueryRowContext(ctx, `UPDATE counters SET value = value + 1 WHERE name = 'serial' RETURNING value`).Scan(&serial); err != nil {
			return err
		}
		tx := s.newTx(sqlTx, actor, serial)
		if err := callbackFault(do(tx)); err != nil {
			return err
		}
		serial = tx.serial // it may have been raised
		// Nothing to tell: an error undoes the counter too, so that no server reads
		// everything again for nothing.
		if len(tx.entries) == 0 {
			serial--
			return tx.endUnchanged(ctx)
		}
		return tx.finishWrite(ctx)
	})
	var e *api.Error
	if errors.As(err, &e) && errors.Is(e.Err, errUnchanged) {
		return serial, nil
	}
	if err != nil {
		return 0, err
	}
	// Own readers at once; other replicas by NOTIFY, or when they look.
	s.written.Store(serial)
	s.hub.wakeAll()
	return serial, nil
}

// KeepSerial makes the write count though it changes nothing that hosts are told
// and the audit log need not say it: the serial stays.
func (tx *Tx) KeepSerial() { tx.keep = true }

// endUnchanged ends a write without audit entries.
func (tx *Tx) endUnchanged(ctx context.Context) error {
	if !tx.keep {
		return errUnchanged
	}
	_, err := tx.q.ExecContext(ctx, `UPDATE counters SET value = value - 1 WHERE name = 'serial'`)
	return err
}

// lockSerial waits for operators' writes without being one, so that audit
// entries become visible in the order of their numbers: one that follows the
// log by number misses none.
func (s *Store) lockSerial(ctx context.Context, tx *sql.Tx) error {
	if !s.dialect.Postgres { // SQLite's transaction has locked everything
		return nil
	}
	// A lock without a change: serials would otherwise skip numbers for what is no
	// write of an operator.
	_, err := tx.ExecContext(ctx, `SELECT 1 FROM counters WHERE name = 'serial' FOR UPDATE`)
	return err
}

// newTx wraps a transaction; without a serial it can't change what is wanted.
func (s *Store) newTx(tx *sql.Tx, actor api.Actor, serial int64) *Tx {
	return &Tx{Reader: Reader{q: tx}, store: s, actor: actor, serial: serial, now: time.Now().UTC().Truncate(time.Microsecond)}
}

// callbackFault marks an error as the caller's own, unless the transaction is to
// run again.
func callbackFault(err error) error {
	if err == nil || isRetryable(err) {
		return err
	}
	return callbackError{err}
}

// Serial is the serial that the write will have.
func (tx *Tx) Serial() int64 { return tx.serial }

// Now is the time of the write.
func (tx *Tx) Now() time.Time { return tx.now }

func (tx *Tx) finishWrite(ctx context.Context) error {
	if err := tx.store.insertAudit(ctx, tx.q, tx.serial, tx.entries); err != nil {
		return err
	}
	// SQLite has one process, which is woken by Write itself.
	if !tx.store.dialect.Postgres {
		return nil
	}
	_, err := tx.q.ExecContext(ctx, `SELECT pg_notify('`+channel+`', '')`)
	return err
}

// recordChange notes what the audit log will say. before and after are nil when
// there was or is nothing.
func (tx *Tx) recordChange(action, kind, name string, before, after any) error {
	if tx.serial == 0 {
		return errNeedsWrite
	}
	if tx.act.kind == kind && tx.act.name == name && action == "update" {
		action = tx.act.action
	}
	if err := tx.checkRemits(change{action: action, kind: kind, name: name, before: before, after: after}); err != nil {
		return err
	}
	e := auditEntry{Time: tx.now, Actor: tx.actor, Action: action, Kind: kind, Name: name}
	var err error
	if e.Before, err = auditJSON(before); err != nil {
		return err
	}
	if e.After, err = auditJSON(after); err != nil {
		return err
	}
	if action == tx.act.action {
		e.After = withSaid(e.After, tx.act.said)
	}
	tx.entries = append(tx.entries, e)
	return nil
}

// act is what an operator does to one thing: the audit log has its name
// instead of "update", and what the operator said.
type act struct{ kind, name, action, said string }

// ActOnRollout says which action on a rollout the transaction is, for the
// audit log, and why the operator takes it.
func (tx *Tx) ActOnRollout(id, action, said string) {
	tx.act = act{kind: rollouts.kind, name: id, action: action, said: said}
}

// saidField is where the audit log keeps the reason of an action, beside what
// the thing became.
const saidField = "said"

func withSaid(doc json.RawMessage, said string) json.RawMessage {
	var fields map[string]json.RawMessage
	if said == "" || json.Unmarshal(doc, &fields) != nil {
		return doc
	}
	text, err := json.Marshal(said)
	if err != nil {
		return doc
	}
	fields[saidField] = text
	if doc, err = json.Marshal(fields); err != nil {
		return nil
	}
	return doc
}

// Record adds an audit entry for something that is not a row of the store,
// such as a login or a backup. It makes the write count as a change.
func (tx *Tx) Record(action, kind, name string, before, after any) error {
	return tx.recordChange(action, kind, name, before, after)
}

func auditJSON(v any) (json.RawMessage, error) {
	if v == nil {
		return nil, nil
	}
	return json.Marshal(v)
}
