package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
)

// FlushSeen stores when hosts were last seen, in one transaction. An older
// time than the stored one is ignored.
func (s *Store) FlushSeen(ctx context.Context, seen []api.HostSeen) error {
	if len(seen) == 0 {
		return nil
	}
	return s.inTx(ctx, "write last seen", func(tx *sql.Tx) error { return s.upsertSeen(ctx, tx, seen) })
}

func (s *Store) upsertSeen(ctx context.Context, tx *sql.Tx, seen []api.HostSeen) error {
	latest := lastOf(seen, func(s api.HostSeen) string { return cleanText(s.Host) })
	args := make([]any, 0, 2*len(latest))
	for _, one := range latest {
		args = append(args, cleanText(one.Host), toMicros(one.Seen))
	}
	return s.dialect.insertRows(ctx, tx, bulk{
		into: `host_seen (name, seen)`, width: 2, args: args,
		conflict: ` ON CONFLICT (name) DO UPDATE SET seen = excluded.seen WHERE excluded.seen > host_seen.seen`,
	})
}

// lastOf keeps the last item of each name, sorted by name: one statement can't
// write a row twice, and replicas that write the same rows must do it in the
// same order.
func lastOf[T any](items []T, name func(T) string) []T {
	last := slices.Clone(items)
	slices.SortStableFunc(last, func(a, b T) int { return cmp.Compare(name(a), name(b)) })
	kept := last[:0]
	for i, item := range last {
		if i+1 == len(last) || name(last[i+1]) != name(item) {
			kept = append(kept, item)
		}
	}
	return kept
}

// SaveReports stores hosts as they are now, when they were seen, and events,
// all in one transaction: durable when it returns. What a host reports wins
// over what is stored.
func (s *Store) SaveReports(ctx context.Context, reports []api.HostReport) error {
	if len(reports) == 0 {
		return nil
	}
	// The events of all, the state of the last: a batch may hold a host several times.
	latest := lastOf(reports, func(r api.HostReport) string { return cleanText(r.Host.Name) })
	seen := make([]api.HostSeen, len(latest))
	for i, r := range latest {
		seen[i] = api.HostSeen{Host: r.Host.Name, Seen: r.Host.LastSeen}
	}
	var events []api.Event
	for _, r := range reports {
		events = append(events, r.Events...)
	}
	return s.inTx(ctx, "write reports", func(tx *sql.Tx) error {
		if err := s.upsertHosts(ctx, tx, latest); err != nil {
			return err
		}
		if err := s.upsertSeen(ctx, tx, seen); err != nil {
			return err
		}
		return s.dialect.insertEvents(ctx, tx, events)
	})
}

func (s *Store) upsertHosts(ctx context.Context, tx *sql.Tx, reports []api.HostReport) error {
	args := make([]any, 0, 2*len(reports))
	for _, r := range reports {
		args = append(args, cleanText(r.Host.Name), encodeHost(nil, r.Host))
	}
	return s.dialect.insertRows(ctx, tx, bulk{
		into: `hosts (name, doc, changed)`, width: 2, args: args, computed: s.dialect.Now,
		conflict: ` ON CONFLICT (name) DO UPDATE SET doc = excluded.doc, changed = excluded.changed`,
	})
}

// StoredHost is a host as its row holds it.
type StoredHost struct {
	name string
	doc  string
	seen int64 // microseconds
}

// Decode fills h, whose lists and maps it uses again. Computed fields (Silent,
// agents' Wanted and Rollout) are empty. All text shares memory: clone what is
// kept for long.
func (s StoredHost) Decode(h *api.Host) error {
	*h = api.Host{Name: s.name, LastSeen: fromMicros(s.seen), Labels: h.Labels, Problems: h.Problems[:0], Agents: h.Agents[:0]}
	clear(h.Labels)
	if err := decodeHost(s.doc, h); err != nil {
		return &api.Error{Kind: api.KindInternal, Message: fmt.Sprintf("cannot read host %q", s.name), Err: err}
	}
	return nil
}

// LoadHosts calls visit with every host, in the order of names: a million take
// a few seconds. Decoding them is left to the visitor, who can do it beside
// the reading.
func (r Reader) LoadHosts(ctx context.Context, visit func(StoredHost) error) error {
	return r.loadRows(ctx, where{}, ` ORDER BY h.name`, visit)
}

// Mark is a point in time by the database's clock, for [Store.HostsSince].
type Mark int64

// overlap is how far back [Store.HostsSince] looks again: a transaction that
// is still under way carries the time of its statement, not of its commit.
const overlap = 15 * time.Second

// HostsSince calls visit with every host that any replica wrote since a mark,
// perhaps some more than once, and returns the next mark. The first call, with
// mark 0, only returns a mark: take it before LoadHosts.
func (s *Store) HostsSince(ctx context.Context, since Mark, visit func(api.Host) error) (Mark, error) {
	var now int64
	if err := s.reader.QueryRowContext(ctx, `SELECT `+s.dialect.Now).Scan(&now); err != nil {
		return since, faultOf("read the database's clock", err)
	}
	// The clock is read before the rows: what is written in between is found twice
	// rather than never.
	next := Mark(now - overlap.Microseconds())
	if since == 0 {
		return next, nil
	}
	w := where{}
	w.add("h.changed >= %s", int64(since))
	return next, s.loadHosts(ctx, w, visit)
}

// loadHosts calls visit with hosts that share nothing.
func (r Reader) loadHosts(ctx context.Context, w where, visit func(api.Host) error) error {
	return r.loadRows(ctx, w, ``, func(s StoredHost) error {
		var h api.Host
		if err := s.Decode(&h); err != nil {
			return err
		}
		return visit(h)
	})
}

func (r Reader) loadRows(ctx context.Context, w where, tail string, visit func(StoredHost) error) error {
	query := `SELECT h.name, h.doc, s.seen FROM hosts h LEFT JOIN host_seen s ON s.name = h.name` + w.sql() + tail
	return eachRow(ctx, r.q, "load hosts", query, w.args, func(rows *sql.Rows) error {
		var s StoredHost
		var doc sql.RawBytes
		var seen sql.NullInt64
		if err := rows.Scan(&s.name, &doc, &seen); err != nil {
			return err
		}
		s.doc, s.seen = string(doc), seen.Int64
		return visit(s)
	})
}

// Host reads one host as it was last stored.
func (r Reader) Host(ctx context.Context, name string) (api.Host, error) {
	var found *api.Host
	w := whereEqual("h.name", cleanText(name))
	err := r.loadHosts(ctx, w, func(h api.Host) error { found = &h; return nil })
	if err != nil {
		return api.Host{}, err
	}
	if found == nil {
		return api.Host{}, notFound("host", name)
	}
	return *found, nil
}

// LoadSeen calls visit with when each host was last seen by any replica, if
// that is after a time.
func (r Reader) LoadSeen(ctx context.Context, after time.Time, visit func(api.HostSeen) error) error {
	return eachRow(ctx, r.q, "load last seen", `SELECT name, seen FROM host_seen WHERE seen > $1`, []any{toMicros(after)}, func(rows *sql.Rows) error {
		var name string
		var at int64
		if err := rows.Scan(&name, &at); err != nil {
			return err
		}
		return visit(api.HostSeen{Host: name, Seen: fromMicros(at)})
	})
}

// CountHosts returns how many hosts are known.
func (r Reader) CountHosts(ctx context.Context) (n int, err error) {
	err = r.q.QueryRowContext(ctx, `SELECT COUNT(*) FROM hosts`).Scan(&n)
	return n, faultOf("count hosts", err)
}

// DeleteHost forgets a host: its report, its timeline, its credential, and the
// grants that it was not judged by, which give their places back. It is known
// again with its next heartbeat.
func (tx *Tx) DeleteHost(ctx context.Context, name string) error {
	h, err := tx.Host(ctx, name)
	if api.KindOf(err) == api.KindNotFound && err != nil {
		// It may have enrolled and never reported.
		if _, credentialErr := tx.HostToken(ctx, name); credentialErr == nil {
			h, err = api.Host{Name: cleanText(name)}, nil
		}
	}
	if err != nil {
		return err
	}
	for _, statement := range []string{
		`DELETE FROM hosts WHERE name = $1`,
		`DELETE FROM host_seen WHERE name = $1`,
		`DELETE FROM host_events WHERE host = $1`,
		`DELETE FROM tokens WHERE host = $1`,
	} {
		if _, err := tx.q.ExecContext(ctx, statement, h.Name); err != nil {
			return faultOf(fmt.Sprintf("delete host %q", name), err)
		}
	}
	if err := tx.withdrawGrants(ctx, h.Name); err != nil {
		return err
	}
	return tx.recordChange("delete", "host", h.Name, h, nil)
}
