package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
)

var channels = noun[api.Channel]{
	kind: "channel", table: "channels",
	name:     func(c api.Channel) string { return nameOf(c.Agent, c.Name) },
	revision: func(c *api.Channel) *int64 { return &c.Revision },
	columns: func(c api.Channel) []column {
		return []column{{"agent", c.Agent}, {"version", c.Version}}
	},
}

var schedules = noun[api.Schedule]{
	kind: "schedule", table: "schedules",
	name:     func(s api.Schedule) string { return s.Name },
	revision: func(s *api.Schedule) *int64 { return &s.Revision },
}

// Channel reads one channel of an agent.
func (r Reader) Channel(ctx context.Context, agent, name string) (api.Channel, error) {
	return channels.get(ctx, r.q, nameOf(agent, name))
}

// Channels lists channels, of one agent or of all, by agent and name.
func (r Reader) Channels(ctx context.Context, agent string, c api.Cursor) (api.Page[api.Channel], error) {
	w := where{}
	w.equal("agent", agent)
	return channels.findPage(ctx, r.q, w, c)
}

// PutChannel makes a channel or moves it, as its Revision demands. The release
// that it points at must exist; one without a version keeps what it points at.
func (tx *Tx) PutChannel(ctx context.Context, c api.Channel) (api.Channel, error) {
	if _, err := tx.Agent(ctx, c.Agent); err != nil {
		return c, api.Missing(err, "agent")
	}
	old, err := tx.Channel(ctx, c.Agent, c.Name)
	if err != nil && api.KindOf(err) != api.KindNotFound {
		return c, err
	}
	if c.Version == "" {
		c.Version = old.Version
	}
	if c.Version != "" {
		if _, err := releases.get(ctx, tx.q, nameOf(c.Agent, c.Version)); err != nil {
			return c, api.Missing(err, "version")
		}
	}
	c.Previous, c.MovedAt, c.MovedBy = old.Previous, old.MovedAt, old.MovedBy
	if err != nil || c.Version != old.Version {
		c.Previous, c.MovedAt, c.MovedBy = old.Version, tx.now, tx.actor.Name
	}
	return channels.put(ctx, tx, c)
}

// DeleteChannel deletes a channel.
func (tx *Tx) DeleteChannel(ctx context.Context, agent, name string, revision int64) error {
	return channels.remove(ctx, tx, nameOf(agent, name), revision)
}

// Schedule reads one schedule.
func (r Reader) Schedule(ctx context.Context, name string) (api.Schedule, error) {
	return schedules.get(ctx, r.q, name)
}

// Schedules lists schedules by name; search is part of it.
func (r Reader) Schedules(ctx context.Context, search string, c api.Cursor) (api.Page[api.Schedule], error) {
	return schedules.findPage(ctx, r.q, nameContains(search), c)
}

// PutSchedule creates or replaces a schedule, as its Revision demands. Its
// agents, group and strategy must exist; a channel may come later.
func (tx *Tx) PutSchedule(ctx context.Context, s api.Schedule) (api.Schedule, error) {
	s = s.WithScope()
	for i, name := range s.Agents {
		if _, err := tx.Agent(ctx, name); err != nil {
			return s, api.Missing(err, fmt.Sprintf("agents[%d]", i))
		}
	}
	if s.Strategy != "" {
		if _, err := tx.Strategy(ctx, s.Strategy); err != nil {
			return s, api.Missing(err, "strategy")
		}
	}
	if err := tx.needScope(ctx, s.Scope); err != nil {
		return s, err
	}
	return schedules.put(ctx, tx, s)
}

// DeleteSchedule deletes a schedule and what it took up.
func (tx *Tx) DeleteSchedule(ctx context.Context, name string, revision int64) error {
	if err := schedules.remove(ctx, tx, name, revision); err != nil {
		return err
	}
	_, err := tx.q.ExecContext(ctx, `DELETE FROM takes WHERE schedule = $1`, cleanText(name))
	return faultOf("forget what a schedule took up", err)
}

// refuseScheduled refuses to delete what a schedule names.
func (tx *Tx) refuseScheduled(ctx context.Context, kind, name string, uses func(api.Schedule) bool) error {
	all, err := schedules.findAll(ctx, tx.q, where{})
	if err != nil {
		return err
	}
	for _, s := range all {
		if uses(s) {
			return inUse(kind, name, fmt.Sprintf("schedule %q", s.Name))
		}
	}
	return nil
}

// Takes lists what a schedule took up last, by agent.
func (r Reader) Takes(ctx context.Context, schedule string) (map[string]api.Take, error) {
	query := `SELECT agent, version, moved, rollout, time FROM takes WHERE schedule = $1`
	taken := map[string]api.Take{}
	err := eachRow(ctx, r.q, "list what a schedule took up", query, []any{cleanText(schedule)}, func(rows *sql.Rows) error {
		t, at := api.Take{Schedule: schedule}, int64(0)
		if err := rows.Scan(&t.Agent, &t.Version, &t.Moved, &t.Rollout, &at); err != nil {
			return err
		}
		t.Time = time.UnixMicro(at).UTC()
		taken[t.Agent] = t
		return nil
	})
	return taken, err
}

// PutTake keeps what a schedule took up.
func (tx *Tx) PutTake(ctx context.Context, t api.Take) error {
	if tx.serial == 0 {
		return errNeedsWrite
	}
	_, err := tx.q.ExecContext(ctx, `INSERT INTO takes (schedule, agent, version, moved, rollout, time) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (schedule, agent) DO UPDATE SET version = excluded.version, moved = excluded.moved, rollout = excluded.rollout, time = excluded.time`,
		cleanText(t.Schedule), cleanText(t.Agent), cleanText(t.Version), t.Moved, t.Rollout, toMicros(tx.now))
	return faultOf("keep what a schedule took up", err)
}
