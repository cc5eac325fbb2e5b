package store

import (
	"context"
	"database/sql"
	"strconv"

	"github.com/ops-updater/ops-updater/meta/api"
)

// AppendEvents adds events to hosts' timelines, in one transaction.
func (s *Store) AppendEvents(ctx context.Context, events []api.Event) error {
	return s.inTx(ctx, "write events", func(tx *sql.Tx) error { return s.dialect.insertEvents(ctx, tx, events) })
}

func (d dialect) insertEvents(ctx context.Context, q querier, events []api.Event) error {
	args := make([]any, 0, 9*len(events))
	for _, e := range events {
		args = append(args, cleanText(e.Host), toMicros(e.Time), e.Kind, cleanText(e.Agent), cleanText(e.Rollout), cleanText(e.From), cleanText(e.To), cleanText(e.Reason), cleanText(e.Message))
	}
	return d.insertRows(ctx, q, bulk{into: `host_events (host, time, kind, agent, rollout, was, now, reason, message)`, width: 9, args: args})
}

// Events lists hosts' events, the newest first.
func (r Reader) Events(ctx context.Context, f api.EventFilter, c api.Cursor) (api.Page[api.Event], error) {
	w := where{}
	w.equal("host", f.Host)
	w.equal("agent", f.Agent)
	w.equal("rollout", f.Rollout)
	w.equal("kind", f.Kind)
	w.inPeriod("time", f.Since, f.Until)
	if err := w.beforeCursor("id", c.After); err != nil {
		return api.Page[api.Event]{}, err
	}
	query := `SELECT id, host, time, kind, agent, rollout, was, now, reason, message FROM host_events` + w.sql() + ` ORDER BY id DESC` + w.limit(c)
	return listPage(ctx, r.q, "list events", pageSize(c), query, w.args, scanEvent, func(e api.Event) string {
		return strconv.FormatInt(e.ID, 10)
	})
}

func scanEvent(rows *sql.Rows) (e api.Event, err error) {
	var at int64
	err = rows.Scan(&e.ID, &e.Host, &at, &e.Kind, &e.Agent, &e.Rollout, &e.From, &e.To, &e.Reason, &e.Message)
	e.Time = fromMicros(at)
	return e, err
}
