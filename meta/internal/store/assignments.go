package store

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
)

var assignments = noun[api.Assignment]{
	kind: "assignment", table: "assignments",
	name: func(a api.Assignment) string {
		return nameOf(a.Agent, string(a.Scope.Kind), a.Scope.Name)
	},
	revision: func(a *api.Assignment) *int64 { return &a.Revision },
	redact:   func(a *api.Assignment) { *a = a.ForViewers() },
	columns: func(a api.Assignment) []column {
		return append(scopeColumns(a.Scope), column{"agent", a.Agent}, column{"version", a.Version})
	},
}

func scopeColumns(s api.Scope) []column {
	return []column{{"scope_kind", string(s.Kind)}, {"scope_name", cleanText(s.Name)}}
}

func (w *where) inScope(s api.Scope) {
	w.equal("scope_kind", string(s.Kind))
	w.equal("scope_name", cleanText(s.Name))
}

// Assignment reads the assignment of an agent to a scope.
func (r Reader) Assignment(ctx context.Context, agent string, scope api.Scope) (api.Assignment, error) {
	return assignments.get(ctx, r.q, assignments.name(api.Assignment{Agent: agent, Scope: scope}))
}

// Assignments lists assignments: of one agent or of all, to one scope or to
// any.
func (r Reader) Assignments(ctx context.Context, agent string, scope api.Scope, c api.Cursor) (api.Page[api.Assignment], error) {
	w := where{}
	w.equal("agent", agent)
	w.inScope(scope)
	return assignments.findPage(ctx, r.q, w, c)
}

// PutAssignment creates or replaces an assignment, as its Revision demands.
// Its release and group must exist.
func (tx *Tx) PutAssignment(ctx context.Context, a api.Assignment) (api.Assignment, error) {
	if _, err := tx.Agent(ctx, a.Agent); err != nil {
		return a, api.Missing(err, "agent")
	}
	if a.Version != "" {
		if _, err := releases.get(ctx, tx.q, nameOf(a.Agent, a.Version)); err != nil {
			return a, api.Missing(err, "version")
		}
	}
	if err := tx.needScope(ctx, a.Scope); err != nil {
		return a, err
	}
	return assignments.put(ctx, tx, a)
}

// needScope reports a scope that names a group or agent which does not exist.
// Hosts may be named before they are first seen.
func (tx *Tx) needScope(ctx context.Context, s api.Scope) error {
	var err error
	switch s.Kind {
	case api.ScopeGroup:
		_, err = tx.Group(ctx, s.Name)
	case api.ScopeAgent:
		_, err = tx.Agent(ctx, s.Name)
	case api.ScopeEveryone, api.ScopeHost:
	default:
		return &api.Error{Kind: api.KindInvalid, Field: "scope", Message: fmt.Sprintf("scope %q is not known", s.Kind)}
	}
	return api.Missing(err, "scope")
}

// DeleteAssignment deletes an assignment.
func (tx *Tx) DeleteAssignment(ctx context.Context, agent string, scope api.Scope, revision int64) error {
	return assignments.remove(ctx, tx, assignments.name(api.Assignment{Agent: agent, Scope: scope}), revision)
}

// storedHold is a hold with the revision that its row has.
type storedHold struct {
	api.Hold
	Revision int64 `json:"-"`
}

var holds = noun[storedHold]{
	kind: "hold", table: "holds",
	name:     func(h storedHold) string { return h.ID },
	revision: func(h *storedHold) *int64 { return &h.Revision },
	columns: func(h storedHold) []column {
		return scopeColumns(h.Scope)
	},
}

// Hold reads one hold.
func (r Reader) Hold(ctx context.Context, id string) (api.Hold, error) {
	h, err := holds.get(ctx, r.q, id)
	return h.Hold, err
}

// Holds lists holds, of one scope or of any, by their identifiers, which grow
// with time.
func (r Reader) Holds(ctx context.Context, scope api.Scope, c api.Cursor) (api.Page[api.Hold], error) {
	w := where{}
	w.inScope(scope)
	page, err := holds.findPage(ctx, r.q, w, c)
	return api.Page[api.Hold]{Items: bareHolds(page.Items), Next: page.Next}, err
}

func bareHolds(stored []storedHold) []api.Hold {
	bare := []api.Hold{}
	for _, h := range stored {
		bare = append(bare, h.Hold)
	}
	return bare
}

// CreateHold adds a hold; its identifier, time and author are set here.
func (tx *Tx) CreateHold(ctx context.Context, h api.Hold) (api.Hold, error) {
	if err := tx.needScope(ctx, h.Scope); err != nil {
		return h, err
	}
	h.ID, h.CreatedAt, h.CreatedBy = tx.newID("h"), tx.now, tx.actor.Name
	put, err := holds.put(ctx, tx, storedHold{Hold: h, Revision: api.MustNotExist})
	return put.Hold, err
}

// MoveHolds moves the ends of the holds that were in force at a time.
func (tx *Tx) MoveHolds(ctx context.Context, at time.Time, by time.Duration) error {
	all, err := holds.findAll(ctx, tx.q, where{})
	if err != nil {
		return err
	}
	for _, h := range all {
		if h.Until == nil || !h.Until.After(at) {
			continue
		}
		until := h.Until.Add(by)
		h.Until = &until
		if _, err := holds.put(ctx, tx, h); err != nil {
			return err
		}
	}
	return nil
}

// DeleteHold releases a hold.
func (tx *Tx) DeleteHold(ctx context.Context, id string) error {
	return holds.remove(ctx, tx, id, 0)
}

// newID makes an identifier that is short enough to type, unique, and sorts by
// time: the serial, with a letter for what it is and a random tail against
// guessing one that was never made.
func (tx *Tx) newID(letter string) string {
	tx.made++
	return fmt.Sprintf("%s%07d%02d-%s", letter, tx.serial, tx.made, strings.ToLower(rand.Text()[:4]))
}
