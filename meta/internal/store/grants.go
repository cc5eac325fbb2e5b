package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
)

// clockSlack is what the clocks of two servers may differ by.
const clockSlack = time.Minute

// RecentGrants returns how many grants a rollout made after a time. One of the
// future, by a clock that was ahead, was not made lately: it would count until
// that time has come.
func (tx *Tx) RecentGrants(ctx context.Context, rollout string, after time.Time) (n int, err error) {
	err = tx.q.QueryRowContext(ctx, `SELECT COUNT(*) FROM grants WHERE rollout = $1 AND granted > $2 AND granted <= $3`,
		cleanText(rollout), toMicros(after), toMicros(tx.now.Add(clockSlack))).Scan(&n)
	return n, faultOf("count recent grants", err)
}

// HostBusy reports whether another rollout's exclusive grant to the host is
// not yet judged.
func (tx *Tx) HostBusy(ctx context.Context, rollout, host string) (busy bool, err error) {
	err = tx.q.QueryRowContext(ctx, `SELECT COUNT(*) > 0 FROM grants WHERE host = $1 AND rollout <> $2 AND outcome = '' AND exclusive = 1`,
		cleanText(host), cleanText(rollout)).Scan(&busy)
	return busy, faultOf("look for other grants", err)
}

// PutGrant makes a grant of a rollout that the transaction has locked and
// counts it for its stage. A host that has one already is an error of kind
// Exists. An exclusive grant is refused with Conflict while the host has
// another rollout's exclusive grant that is not judged: two rollouts can't
// both win, even when they ask at the same moment.
func (tx *Tx) PutGrant(ctx context.Context, g api.Grant, exclusive bool) error {
	flag := 0
	if exclusive {
		flag = 1
	}
	// One statement: a look before it would leave a gap in which another replica
	// grants.
	inserted, err := rowsChanged(tx.q.ExecContext(ctx, `INSERT INTO grants (rollout, host, stage, granted, deadline, exclusive)
		VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`,
		cleanText(g.Rollout), cleanText(g.Host), g.Stage, toMicros(g.Granted), toMicros(g.Deadline), flag))
	if err != nil {
		return faultOf("write grant", err)
	}
	if !inserted {
		return tx.whyNotGranted(ctx, g)
	}
	return tx.addToTally(ctx, g.Rollout, g.Stage, "granted", 1)
}

// whyNotGranted tells by which of the two unique keys the grant was refused;
// the one that holds it has committed.
func (tx *Tx) whyNotGranted(ctx context.Context, g api.Grant) error {
	_, err := tx.Grant(ctx, g.Rollout, g.Host)
	switch {
	case err == nil:
		return &api.Error{Kind: api.KindExists, Message: fmt.Sprintf("host %q has the grant of rollout %q already", g.Host, g.Rollout)}
	case api.KindOf(err) == api.KindNotFound:
		return &api.Error{Kind: api.KindConflict, Message: fmt.Sprintf("host %q is in the middle of another rollout", g.Host)}
	}
	return err
}

// withdrawGrants takes the grants of a host that are not judged back, as if
// they had not been made.
func (tx *Tx) withdrawGrants(ctx context.Context, host string) error {
	// In the order of rollouts, in which every transaction takes their locks: two that
	// each hold what the other one wants would wait for ever.
	open, err := listAll(ctx, tx.q, "list open grants", `SELECT `+grantColumns+` FROM grants WHERE host = $1 AND outcome = '' ORDER BY rollout`,
		[]any{cleanText(host)}, scanGrantRow)
	if err != nil {
		return err
	}
	for _, g := range open {
		if err := tx.WithdrawGrant(ctx, g); err != nil {
			return err
		}
	}
	return nil
}

// WithdrawGrant takes a grant that is not judged back, as if it had not been made.
func (tx *Tx) WithdrawGrant(ctx context.Context, g api.Grant) error {
	if err := tx.lockRollout(ctx, g.Rollout); err != nil {
		return err
	}
	gone, err := rowsChanged(tx.q.ExecContext(ctx, `DELETE FROM grants WHERE rollout = $1 AND host = $2 AND outcome = ''`, cleanText(g.Rollout), cleanText(g.Host)))
	// The count follows the row, not the list from before the lock.
	if err != nil || !gone { // it was judged meanwhile
		return faultOf("withdraw grant", err)
	}
	return tx.addToTally(ctx, g.Rollout, g.Stage, "granted", -1)
}

// MoveDeadlines gives more time to the grants of a rollout that are not
// judged: to one host's, or to all when host is empty.
func (tx *Tx) MoveDeadlines(ctx context.Context, rollout, host string, by time.Duration) error {
	w := whereEqual("rollout", cleanText(rollout), "outcome", "")
	w.equal("host", cleanText(host))
	_, err := tx.q.ExecContext(ctx, `UPDATE grants SET deadline = deadline + `+fmt.Sprint(by.Microseconds())+w.sql(), w.args...)
	return faultOf("move deadlines", err)
}

// BoundDeadlines keeps the deadlines of what is not judged between two times.
func (tx *Tx) BoundDeadlines(ctx context.Context, rollout string, least, most time.Time) error {
	_, err := tx.q.ExecContext(ctx, `UPDATE grants SET deadline = CASE WHEN deadline < $2 THEN $2 ELSE $3 END
		WHERE rollout = $1 AND outcome = '' AND (deadline < $2 OR deadline > $3)`, cleanText(rollout), toMicros(least), toMicros(most))
	return faultOf("bound deadlines", err)
}

// ReopenGrants makes the failed grants of a rollout that the transaction has
// locked open again, as made now, and takes them out of its counts. A host that
// has another rollout's exclusive grant is left out.
func (tx *Tx) ReopenGrants(ctx context.Context, rollout string, deadline time.Time) (reopened []api.Grant, err error) {
	reopened, err = listAll(ctx, tx.q, "reopen grants", `UPDATE grants SET outcome = '', judged = 0, reason = '', host_reason = '', granted = $2, deadline = $3
		WHERE rollout = $1 AND outcome = 'failed' AND NOT (exclusive = 1 AND EXISTS (
			SELECT 1 FROM grants AS other WHERE other.host = grants.host AND other.rollout <> $1 AND other.outcome = '' AND other.exclusive = 1))
		RETURNING `+grantColumns, []any{cleanText(rollout), toMicros(tx.now), toMicros(deadline)}, scanGrantRow)
	if err != nil {
		return nil, err
	}
	for _, g := range reopened {
		if err := tx.addToTally(ctx, rollout, g.Stage, "failed", -1); err != nil {
			return nil, err
		}
	}
	_, err = tx.q.ExecContext(ctx, `UPDATE rollout_stages SET forgiven = failed WHERE rollout = $1 AND forgiven > failed`, cleanText(rollout))
	return reopened, faultOf("count grants", err)
}

func rowsChanged(result sql.Result, err error) (bool, error) {
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n > 0, err
}

const grantColumns = `rollout, host, stage, granted, deadline, outcome, judged, reason, host_reason`

func scanGrant(row interface{ Scan(...any) error }) (g api.Grant, err error) {
	var granted, deadline, judged int64
	err = row.Scan(&g.Rollout, &g.Host, &g.Stage, &granted, &deadline, &g.Outcome, &judged, &g.Reason, &g.HostReason)
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
	g, err := scanGrant(r.q.QueryRowContext(ctx, `SELECT `+grantColumns+` FROM grants WHERE rollout = $1 AND host = $2`, cleanText(rollout), cleanText(host)))
	if errors.Is(err, sql.ErrNoRows) {
		return g, notFound("grant", nameOf(rollout, host))
	}
	return g, faultOf("read grant", err)
}

// Grants lists grants by rollout and host.
func (r Reader) Grants(ctx context.Context, f api.GrantFilter, c api.Cursor) (api.Page[api.Grant], error) {
	w := grantWhere(f)
	if c.After != "" {
		rollout, host, ok := strings.Cut(c.After, "/")
		if !ok {
			return api.Page[api.Grant]{}, badCursor(c.After)
		}
		w.args = append(w.args, cleanText(rollout), cleanText(host))
		n := len(w.args)
		w.conds = append(w.conds, fmt.Sprintf("(rollout > $%d OR (rollout = $%d AND host > $%d))", n-1, n-1, n))
	}
	query := `SELECT ` + grantColumns + ` FROM grants` + w.sql() + ` ORDER BY rollout, host` + w.limit(c)
	return listPage(ctx, r.q, "list grants", pageSize(c), query, w.args, scanGrantRow, func(g api.Grant) string {
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

// GrantsSince calls visit with every grant of a rollout that was made or
// judged since a time, which other replicas may have done.
func (r Reader) GrantsSince(ctx context.Context, rollout string, since time.Time, visit func(api.Grant) error) error {
	query := `SELECT ` + grantColumns + ` FROM grants WHERE rollout = $1 AND (granted >= $2 OR judged >= $2)`
	return eachRow(ctx, r.q, "list recent grants", query, []any{cleanText(rollout), toMicros(since)}, func(rows *sql.Rows) error {
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
	return listAll(ctx, r.q, "list due grants", query, []any{toMicros(now)}, scanGrantRow)
}
