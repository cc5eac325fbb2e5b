package backend

import (
	"context"
	"errors"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

// assignments joins assignments to the API.
type assignments struct{ *core }

// Assignments lists them by agent and scope.
func (s assignments) Assignments(ctx context.Context, agent string, scope api.Scope, c api.Cursor) (api.Page[api.Assignment], error) {
	return s.store.Assignments(ctx, agent, scope, c)
}

// Assignment reads one.
func (s assignments) Assignment(ctx context.Context, agent string, scope api.Scope) (api.Assignment, error) {
	return s.store.Assignment(ctx, agent, scope)
}

// PutAssignment makes or replaces one, at once: it takes rollouts to the same
// scope out of force when it names a version other than the one before.
//
// A dry run does it and then takes all of it back, so that it refuses what the
// real call refuses.
func (s assignments) PutAssignment(ctx context.Context, by api.Actor, a api.Assignment, o api.AssignOptions) (api.Assignment, error) {
	if err := a.Validate(); err != nil {
		return a, err
	}
	var put api.Assignment
	err := s.write(ctx, by, func(tx *store.Tx) (err error) {
		if put, err = s.moveAssignment(ctx, tx, a, o.Force); err == nil && o.DryRun {
			err = errDryRun
		}
		return err
	})
	if errors.Is(err, errDryRun) {
		err = nil
	}
	return put, err
}

// ChangeAssignment writes what change makes of the assignment that is there;
// Agent, Scope and Revision of k count.
func (s assignments) ChangeAssignment(ctx context.Context, by api.Actor, k api.Assignment, change func(api.Assignment) (api.Assignment, error)) (api.Assignment, error) {
	var put api.Assignment
	err := s.write(ctx, by, func(tx *store.Tx) error {
		now, err := tx.Assignment(ctx, k.Agent, k.Scope)
		if err != nil {
			return err
		}
		next, err := change(now)
		if err != nil {
			return err
		}
		if err := next.Validate(); err != nil {
			return err
		}
		next.Revision = k.Revision
		put, err = s.moveAssignment(ctx, tx, next, false)
		return err
	})
	return put, err
}

// moveAssignment keeps an assignment because somebody says so here and now.
// What no host of the scope could follow is refused, unless it is forced.
func (s assignments) moveAssignment(ctx context.Context, tx *store.Tx, a api.Assignment, force bool) (api.Assignment, error) {
	before, err := tx.Assignment(ctx, a.Agent, a.Scope)
	if err != nil && api.KindOf(err) != api.KindNotFound {
		return a, err
	}
	put, err := s.putAssignment(ctx, tx, a)
	if err != nil || force || put.Cmd == meta.CmdStop || put.Version == "" || before.Version == put.Version {
		return put, err
	}
	return put, s.engine.CheckDeliverable(ctx, tx.Reader, put.Agent, put.Version, put.Scope)
}

// putAssignment keeps an assignment. A rollout under way goes on when only the
// rest of it changes, such as its run user; saying once more what is said
// already means that version, now.
func (c *core) putAssignment(ctx context.Context, tx *store.Tx, a api.Assignment) (api.Assignment, error) {
	before, err := tx.Assignment(ctx, a.Agent, a.Scope)
	if err != nil && api.KindOf(err) != api.KindNotFound {
		return a, err
	}
	if err == nil && before.Version != a.Version && a.Cmd != meta.CmdStop {
		if err := refuseUnpublished(ctx, tx, a); err != nil {
			return a, err
		}
	}
	put, err := tx.PutAssignment(ctx, a)
	if err != nil || before.Version == put.Version && before.Revision != put.Revision {
		return put, err
	}
	return put, c.engine.WithdrawFor(ctx, tx, a.Agent, a.Scope)
}

// refuseUnpublished refuses to move an assignment to a release that nobody can
// have yet.
func refuseUnpublished(ctx context.Context, tx *store.Tx, a api.Assignment) error {
	release, err := tx.Release(ctx, a.Agent, a.Version)
	if err != nil || len(release.Artifacts) > 0 {
		return nil //nolint:nilerr // a release that is not there is refused with the assignment
	}
	return &api.Error{
		Kind: api.KindInvalid, Field: "version", Message: "release " + a.Agent + " " + a.Version + " has no artifact yet",
		Hint: "ops-meta publish " + meta.TarballName(a.Agent, a.Version),
	}
}

// removeAssignment removes an assignment, and with it what rollouts granted
// beside it.
func (c *core) removeAssignment(ctx context.Context, tx *store.Tx, a api.Assignment) error {
	if err := tx.DeleteAssignment(ctx, a.Agent, a.Scope, a.Revision); err != nil {
		return err
	}
	return c.engine.WithdrawFor(ctx, tx, a.Agent, a.Scope)
}

// DeleteAssignment removes one.
func (s assignments) DeleteAssignment(ctx context.Context, by api.Actor, a api.Assignment) error {
	return s.writeScopes(ctx, by, func(tx *store.Tx) error { return s.removeAssignment(ctx, tx, a) })
}
