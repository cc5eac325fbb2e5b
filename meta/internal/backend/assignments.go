package backend

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/fleet"
	"github.com/ops-updater/ops-updater/meta/internal/rollout"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

// assignments joins assignments and holds to the API.
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
		if put, err = s.move(ctx, tx, a, o.Force); err == nil && o.DryRun {
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
		put, err = s.move(ctx, tx, next, false)
		return err
	})
	return put, err
}

// move keeps an assignment because somebody says so here and now. What no host
// of the scope could follow is refused, unless it is forced.
func (s assignments) move(ctx context.Context, tx *store.Tx, a api.Assignment, force bool) (api.Assignment, error) {
	before, err := tx.Assignment(ctx, a.Agent, a.Scope)
	if err != nil && api.KindOf(err) != api.KindNotFound {
		return a, err
	}
	put, err := s.put(ctx, tx, a)
	if err != nil || force || put.Cmd == meta.CmdStop || put.Version == "" || before.Version == put.Version {
		return put, err
	}
	return put, s.engine.Deliverable(ctx, tx, put.Agent, put.Version, put.Scope)
}

// put keeps an assignment. A rollout under way goes on when only the rest of
// it changes, such as its run user; saying once more what is said already
// means that version, now.
func (c *core) put(ctx context.Context, tx *store.Tx, a api.Assignment) (api.Assignment, error) {
	before, err := tx.Assignment(ctx, a.Agent, a.Scope)
	if err != nil && api.KindOf(err) != api.KindNotFound {
		return a, err
	}
	if err == nil && before.Version != a.Version && a.Cmd != meta.CmdStop {
		if err := published(ctx, tx, a); err != nil {
			return a, err
		}
	}
	put, err := tx.PutAssignment(ctx, a)
	if err != nil || before.Version == put.Version && before.Revision != put.Revision {
		return put, err
	}
	return put, c.engine.Assigned(ctx, tx, a.Agent, a.Scope)
}

// published refuses to move an assignment to a release that nobody can have yet.
func published(ctx context.Context, tx *store.Tx, a api.Assignment) error {
	release, err := tx.Release(ctx, a.Agent, a.Version)
	if err != nil || len(release.Artifacts) > 0 {
		return nil //nolint:nilerr // a release that is not there is refused with the assignment
	}
	return &api.Error{
		Kind: api.KindInvalid, Field: "version", Message: "release " + a.Agent + " " + a.Version + " has no artifact yet",
		Hint: "ops-meta publish " + meta.TarballName(a.Agent, a.Version),
	}
}

// remove removes an assignment, and with it what rollouts granted beside it.
func (c *core) remove(ctx context.Context, tx *store.Tx, a api.Assignment) error {
	if err := tx.DeleteAssignment(ctx, a.Agent, a.Scope, a.Revision); err != nil {
		return err
	}
	return c.engine.Assigned(ctx, tx, a.Agent, a.Scope)
}

// DeleteAssignment removes one.
func (s assignments) DeleteAssignment(ctx context.Context, by api.Actor, a api.Assignment) error {
	return s.write(ctx, by, func(tx *store.Tx) error { return s.remove(ctx, tx, a) })
}

// Holds lists those in force.
func (s assignments) Holds(ctx context.Context, scope api.Scope, c api.Cursor) (api.Page[api.Hold], error) {
	page, err := s.store.Holds(ctx, scope, c)
	page.Items = inForce(page.Items, time.Now())
	return page, err
}

// inForce leaves out the holds whose time is over.
func inForce(holds []api.Hold, now time.Time) []api.Hold {
	return slices.DeleteFunc(holds, func(h api.Hold) bool { return h.Until != nil && !h.Until.After(now) })
}

// CreateHold holds a scope.
func (s assignments) CreateHold(ctx context.Context, by api.Actor, h api.Hold) (api.Hold, error) {
	if err := h.Validate(); err != nil {
		return h, err
	}
	var made api.Hold
	err := s.write(ctx, by, func(tx *store.Tx) (err error) {
		made, err = tx.CreateHold(ctx, h)
		return err
	})
	return made, err
}

// DeleteHold releases one.
func (s assignments) DeleteHold(ctx context.Context, by api.Actor, id string) error {
	return s.write(ctx, by, func(tx *store.Tx) error { return tx.DeleteHold(ctx, id) })
}

// impactSample is how many names an impact gives.
const impactSample = 10

// Impact compares what every host is told with what it would be told.
func (s assignments) Impact(ctx context.Context, a api.Assignment) (api.Impact, error) {
	inScope, err := s.inScope(a.Scope)
	if err != nil {
		return api.Impact{}, err
	}
	impact, rules := api.Impact{From: map[string]int{}, NoArtifact: map[string]int{}}, s.fleet.Snapshot()
	release, known := s.release(a.Agent, a.Version)
	var held string // why the first host is
	s.fleet.EachAgent(a.Agent, func(host fleet.Facts, on api.HostAgent) {
		if !inScope(host) {
			return
		}
		impact.Hosts++
		switch {
		case rules.Overruled(host, a.Agent, a.Scope):
			impact.Overruled++
		case a.Cmd != meta.CmdStop && known && len(release.Artifacts) > 0 && !release.RunsOn(host.Arch):
			impact.NoArtifact[host.Arch]++
		case changes(on, a) && heldBy(rules, host, on, a.Agent) != "":
			impact.Held++
			held = cmp.Or(held, heldBy(rules, host, on, a.Agent))
		case changes(on, a):
			impact.Changed++
			impact.From[on.Version]++
			if len(impact.Sample) < impactSample {
				impact.Sample = append(impact.Sample, host.Name)
			}
		}
	})
	bad, err := s.badRelease(ctx, a)
	warnings := []string{s.warning(a, impact), s.nobody(a.Scope, impact), bad}
	if impact.Held > 0 {
		warnings = append(warnings, fmt.Sprintf("%d of %d hosts are held (%s) and stay as they are until the hold is released", impact.Held, impact.Hosts, held))
	}
	impact.Warning = strings.Join(slices.DeleteFunc(warnings, func(w string) bool { return w == "" }), "; ")
	return impact, err
}

// heldBy says what keeps an agent of a host as it is, or is empty.
func heldBy(rules *fleet.Snapshot, host fleet.Facts, on api.HostAgent, agent string) string {
	if hold := rules.HoldOn(host, agent); hold != nil {
		return "hold " + hold.ID + ": " + hold.Reason
	}
	if on.Held {
		return "on the host: " + on.HoldReason
	}
	return ""
}

// nobody warns of a scope that no host is in.
func (s assignments) nobody(scope api.Scope, impact api.Impact) string {
	switch {
	case impact.Hosts > 0:
	case scope.Kind == api.ScopeHost:
		if near := api.Nearest(scope.Name, filters(s).hostsLike(scope.Name)); near != "" {
			return fmt.Sprintf("no host %s has sent a heartbeat yet; did you mean %q?", scope.Name, near)
		}
		return "no host " + scope.Name + " has sent a heartbeat yet"
	case scope.Kind == api.ScopeGroup:
		return "group " + scope.Name + " matches no known host"
	}
	return ""
}

// badRelease warns of a release that was taken back.
func (s assignments) badRelease(ctx context.Context, a api.Assignment) (string, error) {
	if a.Cmd == meta.CmdStop || a.Version == "" {
		return "", nil
	}
	list, err := s.store.RolloutsOf(ctx, a.Agent, a.Version)
	if err != nil {
		return "", err
	}
	if r, bad := rollout.TakenBack(list); bad {
		return takenBackText(r), nil
	}
	return "", nil
}

// inScope tells the hosts of a scope.
func (s assignments) inScope(scope api.Scope) (func(fleet.Facts) bool, error) {
	switch scope.Kind {
	case api.ScopeHost:
		return func(h fleet.Facts) bool { return h.Name == scope.Name }, nil
	case api.ScopeGroup:
		for _, g := range s.wanted.Load().Groups {
			if g.Name != scope.Name {
				continue
			}
			selector, err := fleet.CompileSelector(g.Selector)
			if err != nil {
				return nil, err
			}
			return selector.Match, nil
		}
		e := api.Errorf(api.KindInvalid, "there is no group %.80q", scope.Name)
		e.Field, e.Noun, e.Name = "scope.name", "group", scope.Name
		return nil, e
	case api.ScopeEveryone, api.ScopeAgent:
	}
	return func(fleet.Facts) bool { return true }, nil
}

// changes reports whether an assignment would have a host do something.
func changes(on api.HostAgent, a api.Assignment) bool {
	switch {
	case on.Name == "":
		return true
	case a.Cmd == meta.CmdStop:
		return on.Status != meta.StatusStopped || on.Wanted != a.Version
	}
	return on.Wanted != a.Version || on.Status == meta.StatusStopped
}

// warning says what stands in the way of an assignment.
func (s assignments) warning(a api.Assignment, impact api.Impact) string {
	release, known := s.release(a.Agent, a.Version)
	without := 0
	for _, n := range impact.NoArtifact {
		without += n
	}
	switch {
	case !known:
		return fmt.Sprintf("there is no release %s %s", a.Agent, a.Version)
	case len(release.Artifacts) == 0:
		return fmt.Sprintf("release %s %s has no artifact yet", a.Agent, a.Version)
	case without == 0:
		return ""
	case without == impact.Hosts-impact.Overruled:
		return "no host of " + a.Scope.String() + " can have " + release.Lacks(impact.NoArtifact)
	}
	return "not every host can have " + release.Lacks(impact.NoArtifact) + "; those keep what they have"
}

// release is one of what is wanted now.
func (s assignments) release(agent, version string) (api.Release, bool) {
	for _, r := range s.wanted.Load().Releases {
		if r.Agent == agent && r.Version == version {
			return r, true
		}
	}
	return api.Release{}, false
}
