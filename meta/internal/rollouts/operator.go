package rollouts

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/rollout"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

// CreateRollout makes a rollout and starts it, unless it is to be a draft. One
// of the same agent to the same scope that has not ended is superseded.
func (e *Engine) CreateRollout(ctx context.Context, by api.Actor, n api.NewRollout) (r api.Rollout, err error) {
	err = e.writeWanted(ctx, by, func(tx *store.Tx) (err error) {
		r, err = e.createRollout(ctx, tx, n)
		return err
	})
	return r, err
}

// errTried undoes what was only tried.
var errTried = errors.New("only tried")

// TryRollout is [Engine.CreateRollout] without the writing: what it refuses
// and what it would make.
func (e *Engine) TryRollout(ctx context.Context, by api.Actor, n api.NewRollout) (r api.Rollout, err error) {
	_, err = e.opts.Store.Write(ctx, by, func(tx *store.Tx) (err error) {
		if r, err = e.createRollout(ctx, tx, n); err != nil {
			return err
		}
		// The real thing, undone: a check of its own would one day allow what the real
		// one refuses.
		return errTried
	})
	if errors.Is(err, errTried) {
		r.ID, err = "", nil
	}
	return r, err
}

func (e *Engine) createRollout(ctx context.Context, tx *store.Tx, n api.NewRollout) (r api.Rollout, err error) {
	return e.createRolloutFor(ctx, tx, n, api.Rollout{})
}

// createRolloutFor is [Engine.createRollout] with what a schedule says of it.
func (e *Engine) createRolloutFor(ctx context.Context, tx *store.Tx, n api.NewRollout, said api.Rollout) (r api.Rollout, err error) {
	r = api.Rollout{Agent: n.Agent, Scope: n.Scope, Version: n.Version, Schedule: said.Schedule, Salt: said.Salt}
	if r.Strategy, err = e.strategyOf(ctx, tx.Reader, n); err != nil {
		return r, err
	}
	if err := checkPossible(ctx, tx, r); err != nil {
		return r, err
	}
	if !n.Force {
		if err := e.CheckDeliverable(ctx, tx.Reader, r.Agent, r.Version, r.Scope); err != nil {
			return r, err
		}
	}
	return e.beginRollout(ctx, tx, r, beginning{draft: n.Draft, why: n.Reason})
}

// BeginDeclared makes a rollout because what is declared names another version than
// the assignment. One that is under way to that version is the answer already
// (begun is false then). One that somebody or a failure has ended is not begun
// again by saying the same once more: anyone who applies a file every few minutes
// would try a bad release for ever. Call it in the transaction that declares.
func (e *Engine) BeginDeclared(ctx context.Context, tx *store.Tx, n api.NewRollout) (r api.Rollout, begun bool, err error) {
	latest, err := tx.LatestRollout(ctx, n.Agent, n.Scope)
	// What was taken back is what the file says, not the way back.
	if err == nil && latest.RollbackOf != "" {
		latest, err = tx.Rollout(ctx, latest.RollbackOf)
	}
	if err != nil && api.KindOf(err) != api.KindNotFound {
		return r, false, err
	}
	switch {
	case latest.Version != n.Version || latest.State == api.RolloutCompleted:
	case latest.State == api.RolloutAborted || latest.State == api.RolloutRollingBack:
		return r, false, &api.Error{
			Kind: api.KindConflict, Message: "rollout " + latest.ID + " of " + n.Agent + " " + n.Version + " to " + n.Scope.String() + " is " + string(latest.State) + " (" + latest.Reason + ")",
			Hint: "to try it again: ops-meta deploy " + n.Agent + " " + n.Version + "; otherwise put the version there was before into the file",
		}
	default:
		return latest, false, nil
	}
	r, err = e.createRollout(ctx, tx, n)
	return r, err == nil, err
}

// strategyOf is the strategy that is asked for: inline, by name, or else the
// agent's, or else the built-in one.
func (e *Engine) strategyOf(ctx context.Context, in store.Reader, n api.NewRollout) (api.Strategy, error) {
	agent, err := in.Agent(ctx, n.Agent)
	if err != nil {
		return api.Strategy{}, api.Missing(err, "agent")
	}
	if n.Inline != nil {
		s := *n.Inline
		if s.Name == "" {
			s.Name = "inline"
		}
		return s, s.Validate()
	}
	name := n.Strategy
	if name == "" {
		name = agent.Strategy
	}
	builtIn := e.defaultStrategy(agent, n.Scope)
	if name == "" {
		name = builtIn.Name
	}
	s, err := in.Strategy(ctx, name)
	if err != nil && api.KindOf(err) == api.KindNotFound && name == builtIn.Name {
		return builtIn, nil
	}
	return s, api.Missing(err, "strategy")
}

// defaultStrategy lets a stage soak for a whole probation and until every host
// of it has reported once more: what goes wrong by then is seen before the next
// hosts follow.
func (e *Engine) defaultStrategy(agent api.Agent, scope api.Scope) api.Strategy {
	probation := cmp.Or(agent.Probation, api.DefaultProbation)
	interval := int(e.opts.Fleet.Interval().Round(time.Second).Seconds())
	return api.DefaultStrategy(e.opts.Fleet.CountScope(scope), probation+interval)
}

// checkPossible refuses a rollout that could not do anything.
func checkPossible(ctx context.Context, tx *store.Tx, r api.Rollout) error {
	if err := r.Scope.Validate(); err != nil {
		return err
	}
	if r.Scope.Kind == api.ScopeAgent {
		return &api.Error{Kind: api.KindInvalid, Field: "scope", Message: "a rollout goes to everyone, a group or a host"}
	}
	release, err := tx.Release(ctx, r.Agent, r.Version)
	if err != nil {
		return api.Missing(err, "version")
	}
	if len(release.Artifacts) == 0 {
		return &api.Error{
			Kind: api.KindInvalid, Field: "version", Message: "release " + r.Agent + " " + r.Version + " has no artifact yet",
			Hint: "ops-meta publish " + r.Agent + "-" + r.Version + ".tar.gz",
		}
	}
	others, err := tx.RolloutsInForce(ctx, r.Agent, r.Scope)
	if err != nil {
		return err
	}
	for _, o := range others {
		if !rollout.Ended(o.State) && o.Version == r.Version {
			return &api.Error{
				Kind: api.KindConflict, Message: "rollout " + o.ID + " of " + o.Agent + " " + o.Version + " to the same hosts is " + string(o.State),
				Hint: "ops-meta rollout show " + o.ID,
			}
		}
	}
	return nil
}

// ActOnRollout does what an operator wants with a rollout, and returns it as
// it then is; after a rollback, the rollout that rolls back.
func (e *Engine) ActOnRollout(ctx context.Context, by api.Actor, id, action string, a api.RolloutAction) (r api.Rollout, err error) {
	if action == api.ActionRetry {
		return e.retryFailed(ctx, by, id, a)
	}
	verb, known := map[string]func(api.Rollout, time.Time) (api.Rollout, rollout.Step, error){
		api.ActionApprove: rollout.Approve, api.ActionPause: rollout.Pause, api.ActionResume: rollout.Resume,
		api.ActionAbort: rollout.Abort, api.ActionRollback: rollout.Rollback, api.ActionSkip: rollout.Skip,
	}[action]
	if !known {
		return r, api.Errorf(api.KindNotFound, "there is no action %q on a rollout: want approve, pause, resume, retry, skip, abort or rollback", action)
	}
	err = e.steerRollout(ctx, by, id, func(tx *store.Tx, was api.Rollout) error {
		next, step, err := verb(was, tx.Now())
		if err != nil {
			return err
		}
		// Before the move, whose audit entry is then called by the action.
		tx.ActOnRollout(id, action, a.Reason)
		if r, err = e.moveRollout(ctx, tx, next, step, a.Reason); err != nil || step.Effect != rollout.EffectRollback {
			return err
		}
		r, err = tx.LatestRollout(ctx, r.Agent, r.Scope)
		return err
	})
	return r, err
}

// Forget follows the removal of a host: its grants that are not judged yet are
// withdrawn. Call it when the fleet has forgotten the host.
func (e *Engine) Forget(host string) {
	for _, id := range e.book.forgetHost(host) {
		e.opts.Fleet.AddGrants(id, host) // for when it returns
	}
	e.wake()
}

// retryFailed makes the failed grants of a rollout open again.
func (e *Engine) retryFailed(ctx context.Context, by api.Actor, id string, a api.RolloutAction) (r api.Rollout, err error) {
	var again []api.Grant
	err = e.steerRollout(ctx, by, id, func(tx *store.Tx, was api.Rollout) error {
		tx.ActOnRollout(id, api.ActionRetry, a.Reason)
		// Before the policy is asked: it decides by how many there are to retry, and
		// its refusal undoes them.
		if again, err = tx.ReopenGrants(ctx, id, tx.Now().Add(was.Strategy.GrantDeadline())); err != nil {
			return err
		}
		if was, err = tx.Rollout(ctx, id); err != nil {
			return err
		}
		next, step, err := rollout.Retry(was, len(again), tx.Now())
		if err != nil {
			return err
		}
		r, err = e.moveRollout(ctx, tx, next, step, a.Reason)
		return err
	})
	if err != nil {
		return r, err
	}
	for _, g := range again {
		e.book.noteGrant(g)
		e.opts.Fleet.AddGrants(id, g.Host)
	}
	return r, nil
}

// Rollouts lists rollouts, the newest first.
func (e *Engine) Rollouts(ctx context.Context, f api.RolloutFilter, c api.Cursor) (api.Page[api.Rollout], error) {
	return e.opts.Store.Rollouts(ctx, f, c)
}

// Rollout reads one rollout.
func (e *Engine) Rollout(ctx context.Context, id string) (api.Rollout, error) {
	return e.opts.Store.Rollout(ctx, id)
}

// Grants lists grants.
func (e *Engine) Grants(ctx context.Context, f api.GrantFilter, c api.Cursor) (api.Page[api.Grant], error) {
	return e.opts.Store.Grants(ctx, f, c)
}

// Transitions lists what a rollout went through, the oldest first.
func (e *Engine) Transitions(ctx context.Context, id string, c api.Cursor) (api.Page[api.Transition], error) {
	if _, err := e.opts.Store.Rollout(ctx, id); err != nil {
		return api.Page[api.Transition]{}, err
	}
	return e.opts.Store.Transitions(ctx, id, c)
}
