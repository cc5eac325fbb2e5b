package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"strconv"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
)

type auditEntry struct {
	Time          time.Time
	Actor         api.Actor
	Action        string
	Kind          string
	Name          string
	Before, After json.RawMessage
}

func insertAudit(ctx context.Context, q querier, serial int64, e auditEntry) error {
	_, err := q.ExecContext(ctx, `INSERT INTO audit (time, serial, actor, origin, action, kind, name, was, now)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		micros(e.Time), serial, clean(e.Actor.Name), clean(e.Actor.From), e.Action, e.Kind, clean(e.Name), string(e.Before), string(e.After))
	return err
}

// Audit lists the audit log, newest first.
func (r Reader) Audit(ctx context.Context, f api.AuditFilter, c api.Cursor) (api.Page[api.AuditEntry], error) {
	w := where{}
	w.equal("actor", f.Actor)
	w.equal("action", f.Action)
	w.equal("kind", f.Kind)
	w.equal("name", f.Name)
	w.period("time", f.Since, f.Until)
	if err := w.before("id", c.After); err != nil {
		return api.Page[api.AuditEntry]{}, err
	}
	query := `SELECT id, time, actor, origin, action, kind, name, was, now FROM audit` + w.sql() + ` ORDER BY id DESC` + w.limit(c)
	return list(ctx, r.q, "list audit log", pageSize(c), query, w.args, scanAudit, func(e api.AuditEntry) string {
		return strconv.FormatInt(e.ID, 10)
	})
}

// AuditSince lists what was done after a serial to what a fleet file holds,
// newest first.
func (r Reader) AuditSince(ctx context.Context, serial int64) ([]api.AuditEntry, error) {
	w := where{}
	w.add("serial > %s", serial)
	query := `SELECT id, time, actor, origin, action, kind, name, was, now FROM audit` + w.sql() +
		` AND kind IN ('agent', 'strategy', 'group', 'assignment', 'hold') ORDER BY id DESC`
	return all(ctx, r.q, "list audit log", query, w.args, scanAudit)
}

func scanAudit(rows *sql.Rows) (e api.AuditEntry, err error) {
	var at int64
	var before, after []byte
	err = rows.Scan(&e.ID, &at, &e.Actor, &e.From, &e.Action, &e.Kind, &e.Name, &before, &after)
	e.Time = fromMicros(at)
	if redact := redactors[e.Kind]; redact != nil {
		before, after = redact(before), redact(after)
	}
	if len(before) > 0 {
		e.Before = before
	}
	if len(after) > 0 {
		e.After = after
	}
	if e.Kind == rollouts.kind {
		e.Reason = saidIn(after)
	}
	return e, err
}

// saidIn is the reason that [withSaid] kept.
func saidIn(doc []byte) string {
	var fields struct {
		Said string `json:"said"`
	}
	if json.Unmarshal(doc, &fields) != nil {
		return ""
	}
	return fields.Said
}

// redactors hide in older entries what newer ones no longer have.
var redactors = map[string]func(doc []byte) []byte{
	agents.kind: agents.redactDoc, assignments.kind: assignments.redactDoc, targets.kind: targets.redactDoc, releases.kind: releases.redactDoc,
}

func (n noun[T]) redactDoc(doc []byte) []byte {
	var v T
	if len(doc) == 0 || json.Unmarshal(doc, &v) != nil {
		return nil
	}
	doc, err := json.Marshal(n.public(v))
	if err != nil {
		return nil
	}
	return doc
}
