package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
)

// GrantRequest asks for a rollout's grant to one host. A limit of 0 is none.
type GrantRequest struct {
	Rollout  string
	Host     string
	Stage    int       // that the grant counts for
	Now      time.Time // when it is granted
	Deadline time.Time // by when the host must be judged

	TotalLimit  int           // grants of the rollout, all stages together
	StageLimit  int           // grants that count for Stage
	MaxInFlight int           // grants of the rollout that are not yet judged
	RateHosts   int           // grants of the rollout in any RatePeriod
	RatePeriod  time.Duration // with RateHosts
	Exclusive   bool          // refuse while another rollout's exclusive grant to the host is not judged
	Events      []api.Event   // stored with the grant
}

// Why a request was refused: the Reason of the grant that was not made.
const (
	RefusedState    = "not-running"   // the rollout is not running, or not yet at that stage
	RefusedTotal    = "limit"         // TotalLimit or StageLimit is reached
	RefusedInFlight = "max-in-flight" // MaxInFlight is reached
	RefusedRate     = "rate"          // RateHosts is reached
	RefusedBusy     = "host-busy"     // another rollout changes the host
)

// ReserveGrant lets a host have a rollout's target if every limit allows it.
// It is exact with any number of replicas: the rollout's row is locked while
// limits are compared, counters raised and the grant written, and granted is
// only true once that is durable. A host that has the rollout's grant already
// gets it again. A refusal is not an error: granted is false and g.Reason says
// why.
//
// Only a rollout that is running, and has come to the stage, grants: whoever
// paused it knows that nothing is granted from then on.
func (s *Store) ReserveGrant(ctx context.Context, r GrantRequest) (granted bool, g api.Grant, err error) {
	r.Host = clean(r.Host)
	g, err = s.Grant(ctx, r.Rollout, r.Host)
	if err == nil || api.KindOf(err) != api.KindNotFound {
		return err == nil, g, err
	}
	g = api.Grant{
		Rollout: r.Rollout, Host: r.Host, Stage: r.Stage,
		Granted: fromMicros(micros(r.Now)), Deadline: fromMicros(micros(r.Deadline)),
	}
	var refused string
	var lost bool
	err = s.inTx(ctx, fmt.Sprintf("grant rollout %q to host %q", r.Rollout, r.Host), func(tx *sql.Tx) error {
		refused, lost, err = reserve(ctx, tx, r)
		if err == nil && (refused != "" || lost) {
			return callbackError{errRefused}
		}
		return err
	})
	switch {
	case lost: // to another replica that granted the same
		g, err = Reader{q: s.writer}.Grant(ctx, r.Rollout, r.Host)
		return err == nil, g, err
	case errors.Is(err, errRefused):
		g.Reason = refused
		return false, g, nil
	}
	return err == nil, g, err
}

// reserve raises the counters and inserts the grant; a refusal leaves the
// transaction to be rolled back.
func reserve(ctx context.Context, tx *sql.Tx, r GrantRequest) (refused string, lost bool, err error) {
	locked, err := changed(tx.ExecContext(ctx, `UPDATE rollouts SET granted = granted + 1, in_flight = in_flight + 1
		WHERE name = $1 AND state = $2 AND stage >= $3 AND granted < $4 AND in_flight < $5`,
		r.Rollout, string(api.RolloutRunning), r.Stage, limitOf(r.TotalLimit), limitOf(r.MaxInFlight)))
	if err != nil {
		return "", false, err
	}
	if !locked {
		refused, err = whyNot(ctx, tx, r)
		return refused, false, err
	}
	fits, err := changed(tx.ExecContext(ctx, `INSERT INTO rollout_stages (rollout, stage, granted) VALUES ($1, $2, 1)
		ON CONFLICT (rollout, stage) DO UPDATE SET granted = rollout_stages.granted + 1 WHERE rollout_stages.granted < $3`,
		r.Rollout, r.Stage, limitOf(r.StageLimit)))
	if err != nil || !fits {
		return RefusedTotal, false, err
	}
	if over, err := overRate(ctx, tx, r); err != nil || over {
		return RefusedRate, false, err
	}
	return insertGrant(ctx, tx, r)
}

func insertGrant(ctx context.Context, tx *sql.Tx, r GrantRequest) (refused string, lost bool, err error) {
	exclusive := 0
	if r.Exclusive {
		exclusive = 1
	}
	inserted, err := changed(tx.ExecContext(ctx, `INSERT INTO grants (rollout, host, stage, granted, deadline, exclusive)
		VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`,
		r.Rollout, r.Host, r.Stage, micros(r.Now), micros(r.Deadline), exclusive))
	if err != nil {
		return "", false, err
	}
	if !inserted {
		// By which of the two unique keys? The other transaction has committed.
		_, err := Reader{q: tx}.Grant(ctx, r.Rollout, r.Host)
		if api.KindOf(err) == api.KindNotFound && err != nil {
			return RefusedBusy, false, nil
		}
		return "", err == nil, err
	}
	return "", false, insertEvents(ctx, tx, r.Events)
}

func limitOf(n int) int64 {
	if n <= 0 {
		return math.MaxInt64
	}
	return int64(n)
}

func overRate(ctx context.Context, tx *sql.Tx, r GrantRequest) (bool, error) {
	if r.RateHosts <= 0 {
		return false, nil
	}
	var n int
	err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM grants WHERE rollout = $1 AND granted > $2`,
		r.Rollout, micros(r.Now.Add(-r.RatePeriod))).Scan(&n)
	return n >= r.RateHosts, err
}

// whyNot explains a rollout that did not grant.
func whyNot(ctx context.Context, tx *sql.Tx, r GrantRequest) (string, error) {
	var state string
	var stage, granted int64
	err := tx.QueryRowContext(ctx, `SELECT state, stage, granted FROM rollouts WHERE name = $1`, r.Rollout).Scan(&state, &stage, &granted)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return "", notFound("rollout", r.Rollout)
	case err != nil:
		return "", err
	case state != string(api.RolloutRunning) || stage < int64(r.Stage):
		return RefusedState, nil
	case granted >= limitOf(r.TotalLimit):
		return RefusedTotal, nil
	}
	return RefusedInFlight, nil
}

func changed(result sql.Result, err error) (bool, error) {
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n > 0, err
}

const grantColumns = `rollout, host, stage, granted, deadline, outcome, judged, reason`

func scanGrant(row interface{ Scan(...any) error }) (g api.Grant, err error) {
	var granted, deadline, judged int64
	err = row.Scan(&g.Rollout, &g.Host, &g.Stage, &granted, &deadline, &g.Outcome, &judged, &g.Reason)
	g.Granted, g.Deadline = fromMicros(granted), fromMicros(deadline)
	if judged > 0 {
		at := fromMicros(judged)
		g.Judged = &at
	}
	return g, err
}

func scanGrantRow(rows *sql.Rows) (api.Grant, error) { return scanGrant(rows) }

// Grant reads the grant of a rollout to a host.
func (r Reader) Grant(ctx context.Context, rollout, host string) (api.Grant, error) {
	g, err := scanGrant(r.q.QueryRowContext(ctx, `SELECT `+grantColumns+` FROM grants WHERE rollout = $1 AND host = $2`, clean(rollout), clean(host)))
	if errors.Is(err, sql.ErrNoRows) {
		return g, notFound("grant", nameOf(rollout, host))
	}
	return g, fault("read grant", err)
}

// Grants lists grants by rollout and host.
func (r Reader) Grants(ctx context.Context, f api.GrantFilter, c api.Cursor) (api.Page[api.Grant], error) {
	w := grantWhere(f)
	if c.After != "" {
		rollout, host, ok := strings.Cut(c.After, "/")
		if !ok {
			return api.Page[api.Grant]{}, badCursor(c.After)
		}
		w.args = append(w.args, clean(rollout), clean(host))
		n := len(w.args)
		w.conds = append(w.conds, fmt.Sprintf("(rollout > $%d OR (rollout = $%d AND host > $%d))", n-1, n-1, n))
	}
	query := `SELECT ` + grantColumns + ` FROM grants` + w.sql() + ` ORDER BY rollout, host` + w.limit(c)
	return list(ctx, r.q, "list grants", pageSize(c), query, w.args, scanGrantRow, func(g api.Grant) string {
		return nameOf(g.Rollout, g.Host)
	})
}

func grantWhere(f api.GrantFilter) where {
	w := where{}
	w.equal("rollout", f.Rollout)
	w.equal("host", f.Host)
	if f.Open {
		w.add("outcome = %s", "")
	} else {
		w.equal("outcome", f.Outcome)
	}
	return w
}

// LoadGrants calls visit with every grant that the filter lets pass.
func (r Reader) LoadGrants(ctx context.Context, f api.GrantFilter, visit func(api.Grant) error) error {
	w := grantWhere(f)
	return each(ctx, r.q, "load grants", `SELECT `+grantColumns+` FROM grants`+w.sql(), w.args, func(rows *sql.Rows) error {
		g, err := scanGrant(rows)
		if err != nil {
			return err
		}
		return visit(g)
	})
}

// GrantsSince calls visit with every grant of a rollout that was made or
// judged since a time, which other replicas may have done.
func (r Reader) GrantsSince(ctx context.Context, rollout string, since time.Time, visit func(api.Grant) error) error {
	query := `SELECT ` + grantColumns + ` FROM grants WHERE rollout = $1 AND (granted >= $2 OR judged >= $2)`
	return each(ctx, r.q, "list recent grants", query, []any{clean(rollout), micros(since)}, func(rows *sql.Rows) error {
		g, err := scanGrant(rows)
		if err != nil {
			return err
		}
		return visit(g)
	})
}

// DueGrants lists grants that are not judged by their deadline, the longest
// due first.
func (r Reader) DueGrants(ctx context.Context, now time.Time, limit int) ([]api.Grant, error) {
	query := `SELECT ` + grantColumns + ` FROM grants WHERE outcome = '' AND deadline <= $1 ORDER BY deadline` + fmt.Sprintf(" LIMIT %d", limit)
	return all(ctx, r.q, "list due grants", query, []any{micros(now)}, scanGrantRow)
}

// ExtendDeadlines moves deadlines of grants that are not judged to at least a
// time, so that the server's own downtime is not counted as hosts' silence.
func (s *Store) ExtendDeadlines(ctx context.Context, until time.Time) (extended int64, err error) {
	err = s.inTx(ctx, "extend deadlines", func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, `UPDATE grants SET deadline = $1 WHERE outcome = '' AND deadline < $1`, micros(until))
		if err == nil {
			extended, err = result.RowsAffected()
		}
		return err
	})
	return extended, err
}
