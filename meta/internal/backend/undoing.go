package backend

import (
	"context"
	"fmt"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/fleetfile"
	"github.com/ops-updater/ops-updater/meta/internal/rollout"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

// undoing is what a fleet file is about to do.
type undoing struct {
	plan []api.FleetChange
	mark string // of the moment of the file
	how  api.ApplyOptions
}

// refuseUndoing refuses what an old file would take back, and releases that
// proved bad: a job that applies a file is no person who means it.
func (f fleetFile) refuseUndoing(ctx context.Context, tx *store.Tx, now api.Wanted, u undoing) error {
	if !u.how.Overwrite {
		if err := f.refuseOld(ctx, tx, now, u); err != nil {
			return err
		}
	}
	if u.how.Now {
		return nil
	}
	for _, ch := range u.plan {
		if err := refuseTakenBack(ctx, tx, ch); err != nil {
			return err
		}
	}
	return nil
}

// refuseOld looks at what was changed since the moment of the file. The mark
// of another installation says nothing here.
func (f fleetFile) refuseOld(ctx context.Context, tx *store.Tx, now api.Wanted, u undoing) error {
	m, genuine, ok := f.lineage.Read(u.mark)
	if !ok || len(u.plan) == 0 || len(now.Eras) == 0 || !genuine() {
		return nil
	}
	old := func(format string, args ...any) error {
		return &api.Error{
			Kind: api.KindConflict, Message: fmt.Sprintf("the file is of serial %d, and ", m.Serial) + fmt.Sprintf(format, args...),
			Hint: "nothing was changed; export the file again and make your change in that, or take it back on purpose with --overwrite",
		}
	}
	if first := u.plan[0]; m.Era != now.Eras[len(now.Eras)-1] {
		return old("the database has gone back to an earlier moment since: it would %s %s %s", first.Action, first.Kind, first.Name)
	}
	since, err := tx.AuditSince(ctx, m.Serial)
	if err != nil {
		return err
	}
	if ch, e, undone := fleetfile.FindUndone(u.plan, since); undone {
		return old("%s changed %s %s at %s (%s): to %s it would take that back", e.Actor, ch.Kind, ch.Name, e.Time.UTC().Format(time.RFC3339), e.Action, ch.Action)
	}
	return nil
}

// refuseTakenBack refuses a change that gives hosts a release which proved bad.
func refuseTakenBack(ctx context.Context, tx *store.Tx, ch api.FleetChange) error {
	if ch.After == nil || ch.After.Assignment == nil || ch.After.Assignment.Cmd == meta.CmdStop {
		return nil
	}
	a := ch.After.Assignment
	if ch.Before != nil && ch.Before.Assignment.Version == a.Version && ch.Before.Assignment.Cmd != meta.CmdStop {
		return nil
	}
	list, err := tx.RolloutsOf(ctx, a.Agent, a.Version)
	if err != nil {
		return err
	}
	bad, is := rollout.TakenBack(list)
	if !is {
		return nil
	}
	return &api.Error{
		Kind: api.KindConflict, Message: fmt.Sprintf("%s %s %s: %s", ch.Action, ch.Kind, ch.Name, takenBackText(bad)),
		Hint: fmt.Sprintf("to try it again on purpose: ops-meta deploy %s %s, or apply with --now; otherwise put another version into the file", a.Agent, a.Version),
	}
}

// takenBackText says of a release why it is not to be trusted.
func takenBackText(r api.Rollout) string {
	return fmt.Sprintf("%s %s was taken back as bad: rollout %s of %s to %s is %s (%s)",
		r.Agent, r.Version, r.ID, r.CreatedAt.UTC().Format(time.RFC3339), r.Scope, r.State, r.Reason)
}
