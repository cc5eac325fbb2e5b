package rollouts

import (
	"context"
	"sync"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/fleet"
	"github.com/ops-updater/ops-updater/meta/internal/rollout"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

// key is one host in one rollout.
type key struct{ rollout, host string }

// inbox holds whose grants are to be looked at, each once.
type inbox struct {
	mu    sync.Mutex
	items map[key]struct{}
	some  chan struct{}
}

func newInbox() inbox {
	return inbox{items: make(map[key]struct{}), some: make(chan struct{}, 1)}
}

func (in *inbox) addKey(k key) {
	in.mu.Lock()
	in.items[k] = struct{}{}
	in.mu.Unlock()
	select {
	case in.some <- struct{}{}:
	default:
	}
}

func (in *inbox) takeAll() map[key]struct{} {
	in.mu.Lock()
	defer in.mu.Unlock()
	items := in.items
	in.items = make(map[key]struct{})
	return items
}

// HostChanged has the grants of a host judged by what it now reports.
func (e *Engine) HostChanged(r api.HostReport) {
	for _, a := range r.Host.Agents {
		for _, id := range e.book.rolloutsConcerned(a, r.Host.Name) {
			e.inbox.addKey(key{id, r.Host.Name})
		}
	}
}

// rolloutsConcerned is the rollouts that a report on an agent may be about.
func (b *book) rolloutsConcerned(a api.HostAgent, host string) (ids []string) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for id, x := range b.entries {
		if x.rollout.Agent != a.Name {
			continue
		}
		// A success is looked at again, since the host may fail later; a failure stays
		// one until somebody lets it retry. A grant that is not known here may be
		// another replica's.
		if n, granted := x.grants[host]; granted && n.outcome != failed || !granted && a.Rollout == id {
			ids = append(ids, id)
		}
	}
	return ids
}

// judgeReports judges until the context ends. What fails to be stored is
// found again by the next tick.
func (e *Engine) judgeReports(ctx context.Context) {
	for {
		select {
		case <-e.inbox.some:
		case <-ctx.Done():
			return
		}
		var found []verdict
		reported := e.inbox.takeAll()
		if e.still.Load() {
			continue // the first tick after the standstill looks at all of them
		}
		for k := range reported {
			if v, ok := e.verdictOn(ctx, k); ok {
				found = append(found, v)
			}
		}
		if err := e.storeVerdicts(ctx, found); err != nil && ctx.Err() == nil {
			e.opts.Log.Warn().Err(err).Msg("cannot store verdicts; they will be judged again")
		}
	}
}

// verdict is a judgement with what it means.
type verdict struct {
	store.Judgement
	message string
}

func (e *Engine) verdictOn(ctx context.Context, k key) (verdict, bool) {
	r, n, granted, known := e.book.lookUp(k.rollout, k.host)
	if known && !granted { // another replica granted it
		if err := e.learnGrant(ctx, k.rollout, k.host); err != nil {
			return verdict{}, false
		}
		r, n, granted, known = e.book.lookUp(k.rollout, k.host)
	}
	stand, concerned := e.opts.Fleet.StandOf(k.host, k.rollout)
	if !granted || !known || !concerned {
		return verdict{}, false
	}
	g, rep := n.grantOf(k.rollout, k.host), reportOf(stand)
	rep.SinceGrant = true // only reports of hosts that are granted get here
	return judgementOf(r, g, rollout.Judge(r, g, rep), time.Now())
}

func reportOf(s fleet.Stand) rollout.Report {
	return rollout.Report{Agent: s.Agent, Desired: s.Agent.DesiredVersion, Stop: s.Stop, At: s.Seen, Repeated: s.Repeated}
}

// judgementOf is a verdict of the policy ready to be stored; false when there is
// none.
func judgementOf(r api.Rollout, g api.Grant, v rollout.Verdict, now time.Time) (verdict, bool) {
	if v.Outcome == "" {
		return verdict{}, false
	}
	j := store.Judgement{
		Rollout: g.Rollout, Host: g.Host, Outcome: v.Outcome, Reason: string(v.Reason), HostReason: v.HostReason, Time: now, Undo: g.Outcome == api.OutcomeSucceeded,
		Events: []api.Event{{
			Host: g.Host, Time: now, Kind: api.EventJudged, Agent: r.Agent, Rollout: g.Rollout, To: v.Outcome, Reason: v.HostReason, Message: v.Message,
		}},
	}
	if v.Outcome == api.OutcomeFailed {
		j.Notes = []api.Notification{noticeOfFailedHost(r, j, v.Message)}
	}
	return verdict{j, v.Message}, true
}

// storeVerdicts keeps verdicts: successes together, and the failures of each rollout
// with what they do to it.
func (e *Engine) storeVerdicts(ctx context.Context, found []verdict) error {
	var good []store.Judgement
	bad := make(map[string][]verdict)
	for _, v := range found {
		if v.Outcome == api.OutcomeSucceeded {
			good = append(good, v.Judgement)
		} else {
			bad[v.Rollout] = append(bad[v.Rollout], v)
		}
	}
	// Failures first: they close a gate that the successes beside them might open.
	for id, failures := range bad {
		if err := e.storeFailures(ctx, id, failures); err != nil {
			return err
		}
	}
	if len(good) == 0 {
		return nil
	}
	took, err := e.opts.Store.JudgeGrants(ctx, good)
	if err != nil {
		return err
	}
	return e.noteSettled(ctx, took)
}

// storeFailures stores failures and, in the same transaction, what they do to their
// rollout.
func (e *Engine) storeFailures(ctx context.Context, id string, failures []verdict) error {
	js := make([]store.Judgement, len(failures))
	for i, f := range failures {
		js[i] = f.Judgement
	}
	last := failures[len(failures)-1]
	var took []store.Judgement
	err := e.steerRollout(ctx, self, id, func(tx *store.Tx, _ api.Rollout) (err error) {
		// None took effect where another replica judged them first: it has drawn the
		// consequences as well.
		if took, err = tx.JudgeGrants(ctx, js); err != nil || len(took) == 0 {
			return err
		}
		r, err := tx.Rollout(ctx, id) // with what was just counted
		if err != nil {
			return err
		}
		next, step := rollout.Evaluate(e.dropLostPrevious(ctx, tx, r), last.Host+" "+last.message, tx.Now())
		if !step.Changed() {
			return nil
		}
		_, err = e.moveRollout(ctx, tx, next, step, "")
		return err
	})
	if err != nil {
		return err
	}
	return e.noteSettled(ctx, took)
}

// noteSettled notes verdicts that were stored, and looks at once whether a stage
// is complete.
func (e *Engine) noteSettled(ctx context.Context, took []store.Judgement) error {
	ids := make(map[string]bool)
	for _, j := range took {
		e.book.noteJudgement(j)
		if rollout.TakesBack(j.Reason) {
			e.opts.Fleet.TakeBack(j.Rollout, j.Host)
		}
		ids[j.Rollout] = true
	}
	for id := range ids {
		r, err := e.opts.Store.Rollout(ctx, id)
		if err != nil {
			return err
		}
		e.book.refreshRollout(r)
	}
	// A stage of one host need not wait for the next tick to be over.
	if len(took) > 0 {
		e.wake()
	}
	return nil
}

func (b *book) noteJudgement(j store.Judgement) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if x := b.entries[j.Rollout]; x != nil {
		n := x.grants[j.Host]
		n.outcome = outcomeOf(j.Outcome, j.Reason)
		x.grants[j.Host] = n
	}
}
