package backend

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/fleetfile"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

// fleetFile joins the fleet file to the API.
type fleetFile struct{ *core }

// Export writes everything an operator has said; for viewers without logins.
func (f fleetFile) Export(ctx context.Context, forViewers bool) ([]byte, error) {
	w, err := f.store.Wanted(ctx)
	if err != nil {
		return nil, err
	}
	fleet := fleetOf(w)
	if forViewers {
		for i := range fleet.Agents {
			fleet.Agents[i] = fleet.Agents[i].ForViewers()
		}
		for i := range fleet.Assignments {
			fleet.Assignments[i] = fleet.Assignments[i].ForViewers()
		}
	}
	return fleetfile.WithMark(f.markOf(w), fleetfile.Export(fleet)), nil
}

// fleetOf is what of the wanted state a fleet file holds, every section of it.
func fleetOf(w api.Wanted) api.Fleet {
	return api.Fleet{
		Agents: neverNil(w.Agents), Strategies: neverNil(w.Strategies), Groups: neverNil(w.Groups),
		Channels: neverNil(w.Channels), Schedules: neverNil(w.Schedules),
		Assignments: neverNil(w.Assignments), Holds: inForce(neverNil(w.Holds), time.Now()),
	}
}

// neverNil is the list, never nil: nothing said is not the same as nothing there.
func neverNil[T any](list []T) []T { return append([]T{}, list...) }

func versionsOf(w api.Wanted) map[string][]string {
	versions := map[string][]string{}
	for _, r := range w.Releases {
		versions[r.Agent] = append(versions[r.Agent], r.Version)
	}
	return versions
}

// errDryRun undoes what was only tried.
var errDryRun = errors.New("dry run")

// Apply makes the fleet be as a file says. A dry run does all of it and then
// undoes it, so that it finds what the real one would.
func (f fleetFile) Apply(ctx context.Context, by api.Actor, file []byte, o api.ApplyOptions) (api.Plan, error) {
	parsed, problems := fleetfile.Parse(file)
	if len(problems) > 0 {
		return api.Plan{}, badFile(problems)
	}
	changes := []api.FleetChange{}
	// Nobody waits while the file is compared, nor for one that changes nothing.
	seen, planned, err := f.plan(ctx, f.store, parsed)
	if err != nil || len(planned) == 0 {
		return api.Plan{DryRun: o.DryRun, Changes: changes}, err
	}
	err = f.write(ctx, by, func(tx *store.Tx) error {
		now, plan, err := seen, planned, error(nil)
		if tx.Serial() == seen.Serial+1 { // nothing was written since
			now.Eras, err = tx.Eras(ctx)
		} else {
			now, plan, err = f.plan(ctx, tx, parsed)
		}
		if err != nil {
			return err
		}
		if err := f.refuseUndoing(ctx, tx, now, undoing{plan: plan, mark: parsed.Mark, how: o}); err != nil {
			return err
		}
		if changes, err = f.carryOut(ctx, tx, plan, o); err == nil && !o.Now {
			err = f.refuseExposing(ctx, tx, now)
		}
		if err == nil && o.DryRun {
			err = errDryRun
		}
		return err
	})
	if err != nil && !errors.Is(err, errDryRun) {
		return api.Plan{}, err
	}
	return api.Plan{DryRun: o.DryRun, Changes: changes}, nil
}

// wantedReader reads what is wanted.
type wantedReader interface {
	Wanted(ctx context.Context) (api.Wanted, error)
}

// plan is what a file changes of the present state.
func (f fleetFile) plan(ctx context.Context, in wantedReader, parsed *fleetfile.File) (now api.Wanted, plan []api.FleetChange, err error) {
	if now, err = in.Wanted(ctx); err != nil {
		return now, nil, err
	}
	wanted, err := wantedBy(parsed, now)
	if err != nil {
		return now, nil, err
	}
	plan = fleetfile.Diff(fleetOf(now), wanted, fleetfile.Options{})
	warnOfSchedules(plan, fleetfile.Overlay(fleetOf(now), wanted))
	return now, plan, nil
}

// warnOfSchedules warns of versions that a file names and a schedule moves: applying the
// file takes back what that has put out.
func warnOfSchedules(plan []api.FleetChange, whole api.Fleet) {
	for i := range plan {
		ch := &plan[i]
		if ch.Before == nil || ch.After == nil || ch.After.Assignment == nil || ch.Before.Assignment.Version == ch.After.Assignment.Version {
			continue
		}
		if mover, moved := fleetfile.MoverOf(whole, *ch.After.Assignment); moved {
			ch.Warning = fmt.Sprintf("schedule %s moves this version; leave it out of the file to leave it to the schedule", mover)
		}
	}
}

// wantedBy is what a file makes of the present state.
func wantedBy(parsed *fleetfile.File, now api.Wanted) (api.Fleet, error) {
	problems := parsed.Check(fleetfile.Known{Fleet: fleetOf(now), Versions: versionsOf(now)})
	if len(problems) > 0 {
		return api.Fleet{}, badFile(problems)
	}
	wanted := parsed.Fleet
	if wanted.Holds != nil { // those that have ended since the file was written are over
		wanted.Holds = inForce(neverNil(wanted.Holds), time.Now())
	}
	return wanted, nil
}

// carryOut makes the changes of a plan, and lists those that there were to make.
func (f fleetFile) carryOut(ctx context.Context, tx *store.Tx, plan []api.FleetChange, how api.ApplyOptions) ([]api.FleetChange, error) {
	changes := []api.FleetChange{}
	for len(plan) > 0 {
		if many := agentsFirst(plan); len(many) > 1 {
			if err := tx.PutAgents(ctx, many); err != nil {
				return nil, fmt.Errorf("agents %s to %s: %w", many[0].Name, many[len(many)-1].Name, err)
			}
			changes, plan = append(changes, plan[:len(many)]...), plan[len(many):]
			continue
		}
		ch := plan[0]
		plan = plan[1:]
		made, err := true, error(nil)
		if !how.Now && changesVersion(ch) {
			made, err = f.rollOut(ctx, tx, &ch)
		} else {
			err = f.applyChange(ctx, tx, ch)
		}
		if err != nil {
			return nil, fmt.Errorf("%s %s %s: %w", ch.Action, ch.Kind, ch.Name, err)
		}
		if made {
			changes = append(changes, ch)
		}
	}
	return changes, nil
}

// agentsFirst are the agents that a plan begins with making or changing.
func agentsFirst(plan []api.FleetChange) (agents []api.Agent) {
	for _, ch := range plan {
		if ch.After == nil || ch.After.Agent == nil {
			break
		}
		agents = append(agents, *ch.After.Agent)
	}
	return agents
}

// changesVersion reports whether a change gives running agents another version.
func changesVersion(ch api.FleetChange) bool {
	if ch.Before == nil || ch.After == nil || ch.After.Assignment == nil {
		return false
	}
	before, after := ch.Before.Assignment, ch.After.Assignment
	return before.Version != after.Version && before.Cmd != meta.CmdStop && after.Cmd != meta.CmdStop
}

// rollOut makes a change of version as a rollout, and the rest of the change
// at once. It reports whether there was anything to do: a rollout may be under
// way already.
func (f fleetFile) rollOut(ctx context.Context, tx *store.Tx, ch *api.FleetChange) (bool, error) {
	rest := *ch.After.Assignment
	n := api.NewRollout{Agent: rest.Agent, Version: rest.Version, Scope: rest.Scope, Reason: "the fleet file says so"}
	if rest.Version = ch.Before.Assignment.Version; len(ch.Fields) > 1 {
		if _, err := tx.PutAssignment(ctx, rest); err != nil {
			return false, err
		}
	}
	r, begun, err := f.engine.BeginDeclared(ctx, tx, n)
	ch.Rollout, ch.Strategy = r.ID, r.Strategy.Name
	return begun || len(ch.Fields) > 1, err
}

func badFile(problems []api.FileProblem) error {
	first := problems[0]
	e := &api.Error{
		Kind: api.KindInvalid, Field: first.Path, Problems: problems,
		Message: fmt.Sprintf("the file has a problem in line %d, column %d: %s", first.Line, first.Column, first.Message),
		Hint:    cmp.Or(first.Hint, "nothing was changed; mend the file and try again"),
	}
	if len(problems) > 1 {
		e.Message = fmt.Sprintf("the file has %d problems, the first in line %d, column %d: %s", len(problems), first.Line, first.Column, first.Message)
	}
	return e
}

// applyChange makes one change of a plan.
func (c *core) applyChange(ctx context.Context, tx *store.Tx, ch api.FleetChange) error {
	o, remove := ch.After, ch.Action == api.ChangeDelete
	if remove {
		o = ch.Before
	}
	var err error
	switch {
	case o.Agent != nil && remove:
		err = tx.DeleteAgent(ctx, o.Agent.Name, 0)
	case o.Agent != nil:
		_, err = tx.PutAgent(ctx, *o.Agent)
	case o.Strategy != nil && remove:
		err = tx.DeleteStrategy(ctx, o.Strategy.Name, 0)
	case o.Strategy != nil:
		_, err = tx.PutStrategy(ctx, *o.Strategy)
	case o.Group != nil && remove:
		err = tx.DeleteGroup(ctx, o.Group.Name, 0)
	case o.Group != nil:
		_, err = putGroup(tx, ctx, *o.Group)
	case o.Assignment != nil && remove:
		err = c.removeAssignment(ctx, tx, api.Assignment{Agent: o.Assignment.Agent, Scope: o.Assignment.Scope})
	case o.Assignment != nil:
		_, err = c.putAssignment(ctx, tx, *o.Assignment)
	case o.Channel != nil && remove:
		err = tx.DeleteChannel(ctx, o.Channel.Agent, o.Channel.Name, 0)
	case o.Channel != nil:
		_, err = putChannel(ctx, tx, *o.Channel, false)
	case o.Schedule != nil && remove:
		err = tx.DeleteSchedule(ctx, o.Schedule.Name, 0)
	case o.Schedule != nil:
		_, err = tx.PutSchedule(ctx, *o.Schedule)
	case o.Hold != nil:
		err = applyHold(ctx, tx, ch)
	}
	return err
}

// applyHold replaces a hold by a new one: holds themselves never change.
func applyHold(ctx context.Context, tx *store.Tx, ch api.FleetChange) error {
	if ch.Before != nil {
		if err := tx.DeleteHold(ctx, ch.Before.Hold.ID); err != nil {
			return err
		}
	}
	if ch.After == nil {
		return nil
	}
	_, err := tx.CreateHold(ctx, *ch.After.Hold)
	return err
}
