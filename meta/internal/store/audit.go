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

func (s *Store) insertAudit(ctx context.Context, q querier, serial int64, entries []auditEntry) error {
	rows := bulk{into: `audit (time, serial, actor, origin, action, kind, name, was, now)`, width: 9}
	for _, e := range entries {
		rows.args = append(rows.args, toMicros(e.Time), serial, cleanText(e.Actor.Name), cleanText(e.Actor.From), e.Action, e.Kind, cleanText(e.Name), string(e.Before), string(e.After))
	}
	return s.dialect.insertRows(ctx, q, rows)
}

// Audit lists the audit log, newest first.
func (r Reader) Audit(ctx context.Context, f api.AuditFilter, c api.Cursor) (api.Page[api.AuditEntry], error) {
	w := where{}
	w.equal("actor", f.Actor)
	w.equal("action", f.Action)
	w.equal("kind", f.Kind)
	w.equal("name", f.Name)
	w.inPeriod("time", f.Since, f.Until)
	if err := w.beforeCursor("id", c.After); err != nil {
		return api.Page[api.AuditEntry]{}, err
	}
	query := `SELECT id, time, actor, origin, action, kind, name, was, now FROM audit` + w.sql() + ` ORDER BY id DESC` + w.limit(c)
	return listPage(ctx, r.q, "list audit log", pageSize(c), query, w.args, scanAudit, func(e api.AuditEntry) string {
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
	return listAll(ctx, r.q, "list audit log", query, w.args, scanAudit)
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
	doc, err := json.Marshal(n.withoutSecrets(v))
	if err != nil {
		return nil
	}
	return doc
}

// AuditColumn is what of the audit log's entries has few different values.
type AuditColumn string

// The columns by which the audit log is narrowed.
const (
	AuditActor  AuditColumn = "actor"
	AuditAction AuditColumn = "action"
	AuditKind   AuditColumn = "kind"
)

// AuditValues lists the values that a column of the audit log has.
func (r Reader) AuditValues(ctx context.Context, c AuditColumn) ([]string, error) {
	return listAll(ctx, r.q, "list values of the audit log", `SELECT DISTINCT `+string(c)+` FROM audit`, nil, func(rows *sql.Rows) (v string, err error) {
		err = rows.Scan(&v)
		return v, err
	})
}

// AuditKinds are the kinds of things that writes are recorded of.
func AuditKinds() []string {
	return []string{
		agents.kind, assignments.kind, holds.kind, groups.kind, strategies.kind, channels.kind, schedules.kind, targets.kind, releases.kind, artifacts.kind, rollouts.kind,
		users.kind, "host", "notification", "standstill", "token", "session", "key", "server",
	}
}

// AuditActions are what is recorded of them.
func AuditActions() []string {
	return []string{
		"create", "update", "delete", "revive", "drop", "begin", "end", "backup", "rotate", "publish", "raise", "enrol", "login",
		api.ActionApprove, api.ActionPause, api.ActionResume, api.ActionRetry, api.ActionSkip, api.ActionAbort, api.ActionRollback,
	}
}
