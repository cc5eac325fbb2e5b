package rollouts

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/rollout"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

// moveRollout stores a transition with everything that belongs to it. why is what an
// operator said.
func (e *Engine) moveRollout(ctx context.Context, tx *store.Tx, r api.Rollout, s rollout.Step, why string) (api.Rollout, error) {
	if why != "" {
		s.Message += ": " + why
	}
	r, err := tx.UpdateRollout(ctx, r, s.Transition(r.ID, "", tx.Now()), e.noticeOfMove(r, s))
	if err != nil {
		return r, err
	}
	switch s.Effect {
	case rollout.EffectAssign:
		err = e.assignTarget(ctx, tx, r)
	case rollout.EffectRollback:
		_, err = e.returnTo(ctx, tx, r)
	case rollout.EffectExtend:
		err = e.extendDeadlines(ctx, tx, r, s.Extend)
	case rollout.EffectNone:
	}
	// A rollback that was aborted leaves a rollout in rollingBack that nobody would
	// end any more.
	if err != nil || r.RollbackOf == "" || r.State != api.RolloutAborted {
		return r, err
	}
	return r, e.endRollback(ctx, tx, r)
}

// assignTarget makes the target what the scope runs, and takes every other rollout
// to that scope out of force: what they granted no longer counts.
func (e *Engine) assignTarget(ctx context.Context, tx *store.Tx, r api.Rollout) error {
	a, err := tx.Assignment(ctx, r.Agent, r.Scope)
	if err != nil && api.KindOf(err) != api.KindNotFound {
		return err
	}
	// Only the version: what else the assignment says may have been changed while the
	// rollout went on. And at whatever revision, since nobody is there to repeat it.
	a.Agent, a.Scope, a.Version, a.Revision = r.Agent, r.Scope, r.Version, 0
	if _, err := tx.PutAssignment(ctx, a); err != nil {
		return err
	}
	others, err := tx.RolloutsInForce(ctx, r.Agent, r.Scope)
	if err != nil {
		return err
	}
	for _, o := range others {
		next, s := rollout.RollbackEnded(o, r, tx.Now())
		if o.ID != r.RollbackOf {
			next, s = rollout.Supersede(o, rollout.ReasonSuperseded, "rollout "+r.ID, tx.Now())
		}
		if err := e.withdrawTarget(ctx, tx, next, s); err != nil {
			return err
		}
	}
	return nil
}

// WithdrawFor takes the rollouts of an agent to a scope out of force, because an
// operator assigned a version at once (or removed the assignment). Call it in
// the transaction that does so.
func (e *Engine) WithdrawFor(ctx context.Context, tx *store.Tx, agent string, scope api.Scope) error {
	others, err := tx.RolloutsInForce(ctx, agent, scope)
	if err != nil {
		return err
	}
	for _, o := range others {
		next, s := rollout.Supersede(o, rollout.ReasonAssigned, "an assignment", tx.Now())
		if err := e.withdrawTarget(ctx, tx, next, s); err != nil {
			return err
		}
	}
	return nil
}

// withdrawTarget ends what a rollout's grants mean. Its step may be none when it had
// ended before.
func (e *Engine) withdrawTarget(ctx context.Context, tx *store.Tx, r api.Rollout, s rollout.Step) error {
	// With the row in the same transaction: hosts are told by the assignment or by the
	// rollout, and never for a moment by neither.
	r.Withdrawn = true
	// Else hosts that it granted and that are away would be busy with it until their
	// deadline.
	if err := tx.FreeHosts(ctx, r.ID); err != nil {
		return err
	}
	if !s.Changed() {
		_, err := tx.UpdateRollout(ctx, r, api.Transition{})
		return err
	}
	_, err := tx.UpdateRollout(ctx, r, s.Transition(r.ID, "", tx.Now()), e.noticeOfMove(r, s))
	return err
}

// returnTo begins the rollout that takes hosts back to what they had before r.
func (e *Engine) returnTo(ctx context.Context, tx *store.Tx, r api.Rollout) (api.Rollout, error) {
	return e.beginRollout(ctx, tx, api.Rollout{
		Agent: r.Agent, Scope: r.Scope, Version: r.Previous, Strategy: api.RollbackStrategy(r.Strategy), RollbackOf: r.ID,
	}, beginning{why: "rolls back " + r.ID})
}

// endRollback ends the rollout that r was to take back.
func (e *Engine) endRollback(ctx context.Context, tx *store.Tx, r api.Rollout) error {
	of, err := tx.Rollout(ctx, r.RollbackOf)
	if err != nil {
		return err
	}
	next, s := rollout.RollbackEnded(of, r, tx.Now())
	if !s.Changed() {
		return nil
	}
	_, err = e.moveRollout(ctx, tx, next, s, "")
	return err
}

// beginning is how a rollout begins.
type beginning struct {
	draft bool
	why   string
}

// beginRollout stores a new rollout and ends those it takes the place of. What they
// granted stays in force until this one grants or completes.
func (e *Engine) beginRollout(ctx context.Context, tx *store.Tx, r api.Rollout, b beginning) (api.Rollout, error) {
	others, err := tx.RolloutsInForce(ctx, r.Agent, r.Scope)
	if err != nil {
		return r, err
	}
	if r.Previous, err = previousVersion(ctx, tx.Reader, r); err != nil {
		return r, err
	}
	for _, o := range others {
		if rollout.Ended(o.State) && o.State != api.RolloutRollingBack || o.ID == r.RollbackOf {
			continue
		}
		if r.Supersedes == "" {
			r.Supersedes = o.ID
		}
	}
	// Hosts are placed by a hash with it, so that it is not always the same ones that
	// go first. A schedule has said its own: it was forecast who does.
	if r.Salt == "" {
		r.Salt = rand.Text()
	}
	r, s := rollout.Create(r, b.draft, tx.Now())
	if b.why != "" {
		s.Message += ": " + b.why
	}
	if r, err = tx.CreateRollout(ctx, r, s.Transition("", "", tx.Now())); err != nil {
		return r, err
	}
	if err := tx.Notify(ctx, e.noticeOfMove(r, s)); err != nil {
		return r, err
	}
	return r, e.supersedeOthers(ctx, tx, r, others)
}

func (e *Engine) supersedeOthers(ctx context.Context, tx *store.Tx, by api.Rollout, others []api.Rollout) error {
	for _, o := range others {
		if err := tx.FreeHosts(ctx, o.ID); err != nil {
			return err
		}
		if o.ID == by.RollbackOf {
			continue
		}
		next, s := rollout.Supersede(o, rollout.ReasonSuperseded, "rollout "+by.ID, tx.Now())
		if !s.Changed() {
			continue
		}
		if _, err := e.moveRollout(ctx, tx, next, s, ""); err != nil {
			return err
		}
	}
	return nil
}

// previousVersion is what the scope runs before a rollout: its own assignment, or
// everyone's.
func previousVersion(ctx context.Context, in store.Reader, r api.Rollout) (string, error) {
	for _, scope := range []api.Scope{r.Scope, {Kind: api.ScopeEveryone}} {
		a, err := in.Assignment(ctx, r.Agent, scope)
		if err == nil && a.Version != "" {
			return a.Version, nil
		}
		if err != nil && api.KindOf(err) != api.KindNotFound {
			return "", err
		}
	}
	return "", nil
}

// dropLostPrevious is r as it is to be decided on: one whose previous release is
// gone has nothing to go back to, so that a failure pauses it.
func (e *Engine) dropLostPrevious(ctx context.Context, tx *store.Tx, r api.Rollout) api.Rollout {
	if r.Strategy.OnFailure != api.OnFailureRollback || r.Previous == "" {
		return r
	}
	if _, err := tx.Release(ctx, r.Agent, r.Previous); err != nil && api.KindOf(err) == api.KindNotFound {
		r.Previous = ""
	}
	return r
}

// noticeOfMove is the notice of a transition.
func (e *Engine) noticeOfMove(r api.Rollout, s rollout.Step) api.Notification {
	n := api.Notice{
		Event: api.NotifyRollout + string(s.To), Time: r.UpdatedAt, Agent: r.Agent, Version: r.Version, Rollout: r.ID,
		From: string(s.From), To: string(s.To), Stage: s.Stage, Reason: string(s.Reason), Message: s.Message, Progress: r.Progress,
	}
	if e.opts.Link != nil {
		n.Link = e.opts.Link(r.ID)
	}
	return encodeNotice(n)
}

// noticeOfFailedHost is the notice of a host on which the target failed.
func noticeOfFailedHost(r api.Rollout, j store.Judgement, message string) api.Notification {
	return encodeNotice(api.Notice{
		Event: api.NotifyHostFailed, Time: j.Time, Agent: r.Agent, Version: r.Version, Host: j.Host, Rollout: j.Rollout,
		Reason: j.Reason, HostReason: j.HostReason, Message: fmt.Sprintf("%s %s on %s: %s", r.Agent, r.Version, j.Host, message),
	})
}

func encodeNotice(n api.Notice) api.Notification {
	n.ID = rand.Text()
	payload, err := json.Marshal(n)
	if err != nil { // plain strings and numbers
		panic("rollouts: cannot encode a notice: " + err.Error())
	}
	return api.Notification{Kind: n.Event, Payload: payload}
}
