package store

import (
	"context"
	"database/sql"
	"encoding/base64"
	"fmt"
	"strconv"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
)

// Notify owes notifications, in the same transaction as what they tell.
func (tx *Tx) Notify(ctx context.Context, notes ...api.Notification) error {
	return faultOf("write notification", insertNotes(ctx, tx.q, tx.now, notes))
}

// Notify owes notifications that come with no other change.
func (s *Store) Notify(ctx context.Context, notes ...api.Notification) error {
	return s.inTx(ctx, "write notification", func(tx *sql.Tx) error { return insertNotes(ctx, tx, time.Now(), notes) })
}

func insertNotes(ctx context.Context, q querier, now time.Time, notes []api.Notification) error {
	for _, n := range notes {
		_, err := q.ExecContext(ctx, `INSERT INTO outbox (created, kind, target, payload, next_at) VALUES ($1, $2, $3, $4, $5)`,
			toMicros(now), n.Kind, cleanText(n.Target), base64.StdEncoding.EncodeToString(n.Payload), toMicros(now))
		if err != nil {
			return err
		}
	}
	return nil
}

const noteColumns = `id, created, kind, target, payload, attempts, next_at, error, dead`

func scanNote(rows *sql.Rows) (n api.Notification, err error) {
	var created, next, dead int64
	var payload string
	if err := rows.Scan(&n.ID, &created, &n.Kind, &n.Target, &payload, &n.Attempts, &next, &n.Error, &dead); err != nil {
		return n, err
	}
	n.CreatedAt, n.NextAt, n.Dead = fromMicros(created), fromMicros(next), dead != 0
	if n.Payload, err = base64.StdEncoding.DecodeString(payload); err != nil {
		return n, &api.Error{Kind: api.KindInternal, Message: "cannot decode stored notification", Err: err}
	}
	return n, nil
}

// longestRetry is more than any notification is put off: one that is due later
// was stored while a clock was ahead, and is due now.
const longestRetry = 25 * time.Hour

// ClaimNotifications takes notifications that are due, for as long as the
// lease: nobody else gets them meanwhile, and they are due again afterwards
// unless they are settled. Each claim counts as an attempt.
func (s *Store) ClaimNotifications(ctx context.Context, now time.Time, lease time.Duration, limit int) (notes []api.Notification, err error) {
	skip := ``
	if s.dialect.Postgres {
		// Servers that look at the same moment take different ones instead of waiting
		// for each other and sending twice.
		skip = ` FOR UPDATE SKIP LOCKED`
	}
	err = s.inTx(ctx, "claim notifications", func(tx *sql.Tx) error {
		// The attempt counts before it is made: one that takes the server down with it
		// must not be tried for ever.
		notes, err = listAll(ctx, tx, "claim notifications", `UPDATE outbox SET attempts = attempts + 1, next_at = $2
			WHERE id IN (SELECT id FROM outbox WHERE dead = 0 AND (next_at <= $1 OR next_at > $3) ORDER BY next_at`+fmt.Sprintf(" LIMIT %d", limit)+skip+`)
			RETURNING `+noteColumns, []any{toMicros(now), toMicros(now.Add(lease)), toMicros(now.Add(longestRetry))}, scanNote)
		return err
	})
	return notes, err
}

// NotificationDelivered settles a notification.
func (s *Store) NotificationDelivered(ctx context.Context, id int64) error {
	return s.execWrite(ctx, "settle notification", `DELETE FROM outbox WHERE id = $1`, id)
}

// NotificationFailed notes why an attempt failed and when the next one is due.
func (s *Store) NotificationFailed(ctx context.Context, id int64, reason string, next time.Time) error {
	return s.execWrite(ctx, "postpone notification", `UPDATE outbox SET error = $2, next_at = $3 WHERE id = $1`, id, cleanText(reason), toMicros(next))
}

// NotificationDead gives a notification up; it stays in the list of the dead.
func (s *Store) NotificationDead(ctx context.Context, id int64, reason string) error {
	return s.execWrite(ctx, "give notification up", `UPDATE outbox SET error = $2, dead = 1 WHERE id = $1`, id, cleanText(reason))
}

func (s *Store) execWrite(ctx context.Context, what, query string, args ...any) error {
	_, err := s.writer.ExecContext(ctx, query, args...)
	return faultOf(what, err)
}

// DeadLetters lists notifications that were given up, newest first.
func (r Reader) DeadLetters(ctx context.Context, c api.Cursor) (api.Page[api.Notification], error) {
	w := whereEqual("dead", 1)
	if err := w.beforeCursor("id", c.After); err != nil {
		return api.Page[api.Notification]{}, err
	}
	query := `SELECT ` + noteColumns + ` FROM outbox` + w.sql() + ` ORDER BY id DESC` + w.limit(c)
	return listPage(ctx, r.q, "list dead notifications", pageSize(c), query, w.args, scanNote, func(n api.Notification) string {
		return strconv.FormatInt(n.ID, 10)
	})
}

// ReviveNotification makes a dead notification due again.
func (tx *Tx) ReviveNotification(ctx context.Context, id int64) error {
	done, err := rowsChanged(tx.q.ExecContext(ctx, `UPDATE outbox SET dead = 0, attempts = 0, next_at = $2 WHERE id = $1 AND dead = 1`, id, toMicros(tx.now)))
	if err != nil {
		return faultOf("revive notification", err)
	}
	name := strconv.FormatInt(id, 10)
	if !done {
		return notFound("dead notification", name)
	}
	return tx.recordChange("revive", "notification", name, nil, nil)
}

// DropNotification forgets a dead notification.
func (tx *Tx) DropNotification(ctx context.Context, id int64) error {
	done, err := rowsChanged(tx.q.ExecContext(ctx, `DELETE FROM outbox WHERE id = $1 AND dead = 1`, id))
	if err != nil {
		return faultOf("drop notification", err)
	}
	name := strconv.FormatInt(id, 10)
	if !done {
		return notFound("dead notification", name)
	}
	return tx.recordChange("drop", "notification", name, nil, nil)
}
