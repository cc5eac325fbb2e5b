package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ops-updater/ops-updater/meta/api"
)

// rollouts keeps the progress out of the document: what grants count is exact
// in rollout_stages, the rest is in a column that ticks overwrite.
var rollouts = noun[api.Rollout]{
	kind: "rollout", table: "rollouts",
	name:     func(r api.Rollout) string { return r.ID },
	revision: func(r *api.Rollout) *int64 { return &r.Revision },
	strip:    func(r *api.Rollout) { r.Progress = nil },
	columns: func(r api.Rollout) []column {
		active := 0
		if inForce(r) {
			active = 1
		}
		return append(scopeColumns(r.Scope), column{"agent", r.Agent}, column{"version", r.Version},
			column{"state", string(r.State)}, column{"active", active}, column{"stage", r.Stage}, column{"created", toMicros(r.CreatedAt)})
	},
}

// inForce reports whether a rollout decides what hosts are told: until it
// ends, and also when it was aborted, since its hosts keep what they were
// granted until that is withdrawn.
func inForce(r api.Rollout) bool {
	switch {
	case r.Withdrawn || r.State == api.RolloutCompleted:
		return false
	// Its hosts keep what they have until something else is said; with none there is
	// nothing to keep.
	case r.State == api.RolloutAborted:
		return slices.ContainsFunc(r.Progress, func(p api.StageCount) bool { return p.Granted > 0 })
	}
	return true
}

// Rollout reads one rollout with its progress.
func (r Reader) Rollout(ctx context.Context, id string) (api.Rollout, error) {
	found, err := r.findRollouts(ctx, whereEqual("name", cleanText(id)), "")
	if err != nil {
		return api.Rollout{}, err
	}
	if len(found) == 0 {
		return api.Rollout{}, notFound("rollout", id)
	}
	return found[0], nil
}

// Rollouts lists rollouts with their progress, the newest first.
func (r Reader) Rollouts(ctx context.Context, f api.RolloutFilter, c api.Cursor) (api.Page[api.Rollout], error) {
	page := api.Page[api.Rollout]{Items: []api.Rollout{}}
	w := where{}
	w.equal("agent", f.Agent)
	w.equal("state", string(f.State))
	if f.Active {
		w.add("active = %s", 1)
		w.add("state <> %s", string(api.RolloutAborted))
	}
	if err := rolloutsAfter(&w, c.After); err != nil {
		return page, err
	}
	found, err := r.findRollouts(ctx, w, ` ORDER BY created DESC, name DESC`+w.limit(c))
	if err != nil {
		return page, err
	}
	page.Items = append(page.Items, found...)
	if size := pageSize(c); len(found) > size {
		page.Items = page.Items[:size]
		last := page.Items[size-1]
		page.Next = fmt.Sprintf("%d,%s", toMicros(last.CreatedAt), last.ID)
	}
	return page, nil
}

func rolloutsAfter(w *where, cursor string) error {
	if cursor == "" {
		return nil
	}
	at, id, _ := strings.Cut(cursor, ",")
	var created int64
	if _, err := fmt.Sscan(at, &created); err != nil || id == "" {
		return badCursor(cursor)
	}
	w.args = append(w.args, created, cleanText(id))
	n := len(w.args)
	w.conds = append(w.conds, fmt.Sprintf("(created < $%d OR (created = $%d AND name < $%d))", n-1, n-1, n))
	return nil
}

func (r Reader) rolloutsInForce(ctx context.Context) ([]api.Rollout, error) {
	return r.findRollouts(ctx, whereEqual("active", 1), ` ORDER BY created, name`)
}

func (r Reader) findRollouts(ctx context.Context, w where, tail string) ([]api.Rollout, error) {
	query := `SELECT revision, doc, progress FROM rollouts` + w.sql() + tail
	found, err := listAll(ctx, r.q, "list rollouts", query, w.args, scanRollout)
	if err != nil {
		return nil, err
	}
	for i := range found {
		if err := r.countGrants(ctx, &found[i]); err != nil {
			return nil, err
		}
	}
	return found, nil
}

func scanRollout(rows *sql.Rows) (r api.Rollout, err error) {
	var revision int64
	var doc, progress sql.RawBytes
	if err := rows.Scan(&revision, &doc, &progress); err != nil {
		return r, err
	}
	if r, err = rollouts.decodeDoc(doc, revision); err != nil {
		return r, err
	}
	r.Progress = make([]api.StageCount, len(r.Strategy.Stages))
	if len(progress) == 0 {
		return r, nil
	}
	var seen []api.StageCount
	if err := json.Unmarshal(progress, &seen); err != nil {
		return r, &api.Error{Kind: api.KindInternal, Message: "cannot decode stored progress", Err: err}
	}
	// As many as there are stages, whatever was stored: the list and the strategy must
	// not disagree.
	copy(r.Progress, seen)
	return r, nil
}

// countGrants overlays what grants counted.
func (r Reader) countGrants(ctx context.Context, ro *api.Rollout) error {
	query := `SELECT stage, granted, succeeded, failed, forgiven FROM rollout_stages WHERE rollout = $1`
	return eachRow(ctx, r.q, "count grants", query, []any{ro.ID}, func(rows *sql.Rows) error {
		var stage int
		var n api.StageCount
		if err := rows.Scan(&stage, &n.Granted, &n.Succeeded, &n.Failed, &n.Forgiven); err != nil {
			return err
		}
		// A row of a stage that there is not must not bring the server down.
		if stage < 0 || stage >= len(ro.Progress) {
			return nil
		}
		p := &ro.Progress[stage]
		p.Granted, p.Succeeded, p.Failed, p.Forgiven = n.Granted, n.Succeeded, n.Failed, n.Forgiven
		return nil
	})
}

// CreateRollout adds a rollout; its identifier (when empty), times and author
// are set here. The transition into its first state is stored with it.
func (tx *Tx) CreateRollout(ctx context.Context, r api.Rollout, t api.Transition, notes ...api.Notification) (api.Rollout, error) {
	if _, err := releases.get(ctx, tx.q, nameOf(r.Agent, r.Version)); err != nil {
		return r, api.Missing(err, "version")
	}
	if err := tx.needScope(ctx, r.Scope); err != nil {
		return r, err
	}
	if err := tx.needStageGroups(ctx, r.Strategy); err != nil {
		return r, err
	}
	if r.ID == "" {
		r.ID = tx.newID("r")
	}
	r.CreatedAt, r.UpdatedAt, r.CreatedBy, r.Revision = tx.now, tx.now, tx.actor.Name, api.MustNotExist
	progress := r.Progress
	r, err := rollouts.put(ctx, tx, r)
	if err != nil {
		return r, err
	}
	r.Progress = progress
	return r, tx.writeMove(ctx, r, t, notes)
}

// UpdateRollout replaces a rollout that still has r's Revision (Conflict when
// it has not) and stores the transition and the notifications that tell of it.
// A transition without a To is none: then only the rollout is written.
func (tx *Tx) UpdateRollout(ctx context.Context, r api.Rollout, t api.Transition, notes ...api.Notification) (api.Rollout, error) {
	if r.Revision <= 0 {
		return r, &api.Error{Kind: api.KindInvalid, Field: "revision", Message: "a rollout is only written over the revision that was read"}
	}
	stored, err := tx.LockRollout(ctx, r.ID)
	if err != nil {
		return r, err
	}
	// Grants and verdicts count without raising the revision, so the counts that were
	// read with it may be old.
	r.UpdatedAt, r.Progress = tx.now, withStoredCounts(r.Progress, stored.Progress)
	progress := r.Progress
	r, err = rollouts.put(ctx, tx, r)
	if err != nil {
		return r, err
	}
	r.Progress = progress
	if t.To == "" {
		t = api.Transition{}
	}
	return r, tx.writeMove(ctx, r, t, notes)
}

// withStoredCounts takes from the stored progress what grants count: they may have gone
// on since the other was read.
func withStoredCounts(progress, stored []api.StageCount) []api.StageCount {
	taken := make([]api.StageCount, len(stored))
	copy(taken, progress)
	for i, p := range stored {
		taken[i].Granted, taken[i].Succeeded, taken[i].Failed = p.Granted, p.Succeeded, p.Failed
	}
	return taken
}

func (tx *Tx) writeMove(ctx context.Context, r api.Rollout, t api.Transition, notes []api.Notification) error {
	if err := writeProgress(ctx, tx.q, r.ID, r.Progress); err != nil {
		return err
	}
	if err := forgiveFailures(ctx, tx.q, r); err != nil {
		return err
	}
	if t.To != "" {
		t.Rollout, t.Time, t.Actor = r.ID, tx.now, tx.actor.Name
		doc, err := json.Marshal(t)
		if err != nil {
			return err
		}
		_, err = tx.q.ExecContext(ctx, `INSERT INTO transitions (rollout, time, doc) VALUES ($1, $2, $3)`, r.ID, toMicros(t.Time), string(doc))
		if err != nil {
			return faultOf("write transition", err)
		}
	}
	return tx.Notify(ctx, notes...)
}

// forgiveFailures stores how many failures of each stage were before the last resume;
// the transaction holds the rollout's row, so no judgement falls between.
func forgiveFailures(ctx context.Context, q querier, r api.Rollout) error {
	for stage, n := range r.Progress {
		if n.Forgiven == 0 {
			continue
		}
		_, err := q.ExecContext(ctx, `UPDATE rollout_stages SET forgiven = $3 WHERE rollout = $1 AND stage = $2`, r.ID, stage, n.Forgiven)
		if err != nil {
			return faultOf("write progress", err)
		}
	}
	return nil
}

// SaveProgress stores how the stages stand, as a tick saw them; what grants
// count (Granted, Succeeded, Failed, Forgiven) is not taken from it. It is no
// change of what is wanted.
func (s *Store) SaveProgress(ctx context.Context, rollout string, progress []api.StageCount) error {
	return s.inTx(ctx, fmt.Sprintf("write progress of rollout %q", rollout), func(tx *sql.Tx) error {
		return writeProgress(ctx, tx, rollout, progress)
	})
}

func writeProgress(ctx context.Context, q querier, rollout string, progress []api.StageCount) error {
	doc, err := json.Marshal(progress)
	if err != nil {
		return err
	}
	_, err = q.ExecContext(ctx, `UPDATE rollouts SET progress = $2 WHERE name = $1`, rollout, string(doc))
	return faultOf("write progress", err)
}

// Transitions lists what happened to a rollout, oldest first.
func (r Reader) Transitions(ctx context.Context, rollout string, c api.Cursor) (api.Page[api.Transition], error) {
	w := whereEqual("rollout", cleanText(rollout))
	if err := w.afterCursor("id", c.After); err != nil {
		return api.Page[api.Transition]{}, err
	}
	query := `SELECT id, doc FROM transitions` + w.sql() + ` ORDER BY id` + w.limit(c)
	page, err := listPage(ctx, r.q, "list transitions", pageSize(c), query, w.args, scanTransition, func(t storedTransition) string {
		return strconv.FormatInt(t.id, 10)
	})
	bare := api.Page[api.Transition]{Items: []api.Transition{}, Next: page.Next}
	for _, t := range page.Items {
		bare.Items = append(bare.Items, t.Transition)
	}
	return bare, err
}

type storedTransition struct {
	api.Transition
	id int64
}

func scanTransition(rows *sql.Rows) (t storedTransition, err error) {
	var doc sql.RawBytes
	if err := rows.Scan(&t.id, &doc); err != nil {
		return t, err
	}
	if err := json.Unmarshal(doc, &t.Transition); err != nil {
		return t, &api.Error{Kind: api.KindInternal, Message: "cannot decode stored transition", Err: err}
	}
	return t, nil
}

// LatestRollout reads the newest rollout of an agent to a scope: NotFound when
// there was none.
func (r Reader) LatestRollout(ctx context.Context, agent string, scope api.Scope) (api.Rollout, error) {
	w := whereEqual("agent", agent, "scope_kind", string(scope.Kind), "scope_name", cleanText(scope.Name))
	found, err := r.findRollouts(ctx, w, ` ORDER BY created DESC, name DESC LIMIT 1`)
	if err == nil && len(found) == 0 {
		err = notFound("rollout of agent", agent)
	}
	if err != nil {
		return api.Rollout{}, err
	}
	return found[0], nil
}

// maxHistory bounds how many rollouts of a release are looked at.
const maxHistory = 200

// RolloutsOf lists the rollouts of a release, the newest first.
func (r Reader) RolloutsOf(ctx context.Context, agent, version string) ([]api.Rollout, error) {
	w := whereEqual("agent", agent, "version", version)
	return r.findRollouts(ctx, w, fmt.Sprintf(` ORDER BY created DESC, name DESC LIMIT %d`, maxHistory))
}
