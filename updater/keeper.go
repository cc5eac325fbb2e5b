package updater

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/ops-updater/ops-updater/internal/host/status"
	"github.com/ops-updater/ops-updater/internal/jitter"
	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/job"
	"github.com/ops-updater/ops-updater/updater/plan"
	"github.com/ops-updater/ops-updater/updater/pool"
)

// keeper looks after one agent: it observes, plans one step, acts, and begins
// again, until nothing is left to be done. Everything about the agent happens
// in its goroutine, one thing after the other.
type keeper struct {
	e    *Engine
	name string
	wake chan struct{}

	// Of the goroutine.
	rec        plan.Record
	configAt   time.Time        // when the remote config was looked at
	digestAt   time.Time        // when the digest of a quarantined release was
	stuck      int              // times in a row that our own machinery failed
	resumed    bool             // the transaction that the last process left was taken up
	guest      bool             // only looks, for somebody who asks for a plan
	asked      bool             // the wish is not of a stored reply, whatever the engine's are
	ordersSeen int              // when it looked last
	owns       bool             // the agent was ours to look after at the last look
	last       plan.Target      // as seen at the last look; none after we changed it ourselves
	others     string           // what somebody else did to the agent, until it is as wanted again
	placed     plan.Whereabouts // as it is on disk
	leftovers  leftovers
	children   map[string]*pool.Lent

	mu      sync.Mutex
	saved   bool // a record of the agent is on disk
	wish    plan.Wish
	state   plan.State
	looked  chan struct{} // closed after the next look
	calm    chan struct{} // closed while nothing is left to be done
	busy    bool          // in a transaction: do not wait for a look
	orders  int           // counts what came in
	untold  []trouble     // what went wrong and is in no heartbeat yet
	telling []trouble     // what is in the heartbeat that goes out
	cleared bool          // an operator wants everything tried again
	giveUp  context.CancelFunc
	endRun  context.CancelFunc
}

func newKeeper(e *Engine, name string, access stateAccess) *keeper {
	k := &keeper{
		e: e, name: name, wake: make(chan struct{}, 1), children: map[string]*pool.Lent{},
		looked: make(chan struct{}), calm: make(chan struct{}), guest: access == readState,
		leftovers: leftovers{maybe: access == ownState}, // a crash may have come before the last transaction cleaned up
	}
	var err error
	if k.rec, err = e.openRecord(name, access); err != nil {
		e.damage.addDamage(err)
		k.log().Error().Err(err).Msg("the journal is rebuilt from what is on disk")
		k.rec.Last = plan.Outcome{Phase: meta.PhaseIdle, Error: err.Error(), Code: plan.CodeJournalLost, Since: time.Now()}
		k.tell(err.Error(), plan.CodeJournalLost)
	}
	k.saved = k.rec.Last.Phase != ""
	k.state = plan.State{RealAgent: meta.RealAgent{
		Name: name, Status: meta.StatusUnknown, RunUser: k.rec.At.RunUser, WorkDir: k.rec.At.WorkDir,
	}}
	return k
}

func (k *keeper) log() *zerolog.Logger {
	l := k.e.currentConfig().Log.With().Str("agent", k.name).Logger()
	return &l
}

// run keeps the agent until ctx ends.
func (k *keeper) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	k.mu.Lock()
	k.endRun = cancel
	k.mu.Unlock()
	defer k.returnChildren()
	defer k.e.outputs.dropAgent(k.name)
	for ctx.Err() == nil {
		// A child that is kept while nothing is to be done would be missing elsewhere:
		// few of them serve all agents of the host.
		pause := k.doRound(ctx)
		k.returnChildren()
		// Something was done, so what was seen before says nothing any more: look
		// again.
		if pause <= 0 {
			continue
		}
		k.markSettled()
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-k.wake:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// doRound does one round and says how long nothing is to be done after it.
func (k *keeper) doRound(ctx context.Context) time.Duration {
	k.takeOrders()
	k.takeRetry()
	// After the orders: what an operator cleared counts in this plan, not in the next.
	s := k.observeSituation(ctx)
	if ctx.Err() != nil {
		return 0
	}
	step := plan.Next(s)
	k.publishLook(s, step)
	return k.actOn(ctx, s, step)
}

func (k *keeper) actOn(ctx context.Context, s plan.Situation, step plan.Step) time.Duration {
	pause := jitter.Around(k.e.currentConfig().CheckEvery)
	var err error
	switch step.Act {
	case plan.ActNone:
		if k.cleanUpLater(ctx, s) {
			return 0
		}
		return pause
	case plan.ActWait:
		if k.cleanUpLater(ctx, s) || k.hasNewDigest(ctx, s, step) {
			return 0
		}
		// Never 0, which would be a round at once: a time that passed since the plan
		// was made must not spin.
		return max(min(pause, time.Until(step.Until)), time.Millisecond)
	case plan.ActResume:
		err = k.resumeTransaction(ctx)
	case plan.ActStart:
		err = k.startVersion(ctx, s, step)
	case plan.ActStop:
		err = k.stopVersion(ctx, step)
	case plan.ActConfig:
		err = k.checkConfig(ctx, s, step)
	case plan.ActRestore:
		err = k.restoreVersion(ctx, step)
	case plan.ActInstall, plan.ActUpgrade, plan.ActDowngrade, plan.ActChange, plan.ActMove, plan.ActChangeUser, plan.ActRollback:
		err = k.replaceVersion(ctx, s, step)
	}
	if err == nil {
		k.stuck = 0
		return 0
	}
	if ctx.Err() != nil {
		return 0
	}
	return k.machineryFailed(err)
}

// machineryFailed: what was to be done is still to be done, a little later.
func (k *keeper) machineryFailed(err error) time.Duration {
	// Once: a machine that stays broken is not worth a heartbeat with each try.
	if k.stuck++; k.stuck == 1 {
		k.e.wakeHeartbeat()
	}
	pause := jitter.Backoff(time.Second, time.Minute, k.stuck)
	k.log().Error().Err(err).Int("failures", k.stuck).Dur("pause", pause).Msg("cannot go on, trying again")
	code := cmp.Or(codeOf(err), job.CodeIO)
	if !isOthers(err) {
		k.tell(err.Error(), code)
	}
	k.updateState(func(s *plan.State) { s.Error, s.Reason = plan.JoinSentences(s.Error, err.Error()), code })
	return pause
}

// observeSituation gathers everything that a decision depends on.
func (k *keeper) observeSituation(ctx context.Context) plan.Situation {
	k.mu.Lock()
	// Both under one lock: publishLook tells by the count whether this look is still
	// about the wish in force.
	wish := k.wish
	k.ordersSeen = k.orders
	k.mu.Unlock()
	s := plan.Situation{Name: k.name, Wish: wish, Hold: k.currentHold(wish), Policy: k.e.currentConfig().Policy, Now: time.Now()}
	s.Trust, _ = k.e.trustNow()
	k.rec = k.rec.AsOf(s.Now)
	s.Stored = !k.asked && !k.e.asked.Load()
	s.Unclean, s.UncleanCode = k.leftovers.problem, k.leftovers.code
	s.ConfigDue = s.Now.Sub(k.configAt) >= k.e.currentConfig().ConfigEvery
	s.At = k.rec.At
	if s.At == (plan.Place{}) {
		s.At = wish.Place
	}
	if k.isSelf() {
		k.observeSelf(ctx, &s)
		return s
	}
	s.Withheld = k.e.standing.why()
	if !meta.ValidName(k.name) || s.At == (plan.Place{}) { // there is nowhere to look
		s.Seen = plan.Observation{Status: status.Status{Word: meta.StatusUnknown}, At: s.Now}
		s.Journal = k.rec
		return s
	}
	s.Seen, s.Blind, s.Code = k.observePlace(ctx, s.At)
	// Before the place may change below: what is given up is what was looked at.
	k.disownUnwanted(ctx, s)
	if s.Blind == "" && s.Seen.Version == "" && len(s.Seen.Versions) == 0 && s.At != wish.Place && wish.Listed && k.rec.Txn == nil {
		// What was there is gone; nothing ties the agent to that place.
		s.At = wish.Place
		s.Seen, s.Blind, s.Code = k.observePlace(ctx, s.At)
	}
	// Root does not enter a place whose way another user can change. With a
	// transaction half done the agent stays blind instead: what is to be finished lies
	// there.
	if s.Code == job.CodeUnsafePlace && k.rec.Txn == nil && s.MayLeave() {
		s.Left, s.At = s.At, wish.Place
		s.Seen, s.Blind, s.Code = k.observePlace(ctx, s.At)
	}
	// The journal follows what was found, so that an agent is looked for where it is,
	// also when the server names another place by then.
	if s.Seen.Version != "" && k.rec.Txn == nil && s.Left == (plan.Place{}) {
		k.rec.At = s.At
		k.noteCurrent(s.Seen)
	}
	if s.Blind == "" {
		k.rec.KeepVerified(s.At.WorkDir, s.Seen.Versions)
	}
	k.noticeOthers(s)
	s.Journal = k.rec
	return s
}

// noteCurrent keeps in the journal what .version names, for when that is lost. Whoever only
// looks, or looks at what is another sidecar's, writes nothing.
func (k *keeper) noteCurrent(seen plan.Observation) {
	if !seen.Complete || k.rec.Current == seen.Version {
		return
	}
	k.rec.Current = seen.Version
	if !k.guest && seen.OwnedBy == "" && k.looksAfter() {
		k.saveRecordOrLog()
	}
}

// observePlace returns what is there, or why that could not be seen and the code of that.
func (k *keeper) observePlace(ctx context.Context, at plan.Place) (seen plan.Observation, blind, code string) {
	j := k.newJob(job.OpObserve, plan.Target{Place: at})
	// A guest leaves no .owner behind: a mere look must not take the agent from the
	// sidecar that has it.
	j.Guest = k.guest || !k.looksAfter()
	r, err := k.runJob(ctx, at.RunUser, j, nil)
	if err != nil {
		return plan.Observation{Status: status.Status{Word: meta.StatusUnknown, Detail: err.Error()}, At: time.Now()}, err.Error(), codeOf(err)
	}
	return r.Seen, "", ""
}

// currentHold is the operator's hold, unless the server wants something newer than
// what it was made against.
func (k *keeper) currentHold(w plan.Wish) *plan.Hold {
	h := k.e.holds.holdOf(k.name)
	// A refused entry wants nothing that could be followed.
	if h == nil || h.Against == "" || !w.Listed || w.Refused != "" || w.Agent.Version == h.Against {
		return h
	}
	if k.guest { // only looks
		return nil
	}
	// On disk first: a hold that only ended in memory would be back after a restart
	// and take the agent to the old version once more.
	if err := k.e.holds.setHold(k.name, nil); err != nil {
		k.log().Error().Err(err).Msg("cannot end the hold")
		return h
	}
	k.log().Info().Str("version", w.Agent.Version).Msg("the hold after the rollback ends: another version is wanted")
	return nil
}

// newJob is a job on the agent's directory in t's place.
func (k *keeper) newJob(op job.Op, t plan.Target) job.Job {
	cfg := k.e.currentConfig()
	return job.Job{Op: op, Dir: dirOf(t.Place, k.name), Version: t.Version, Timeouts: cfg.timeouts(), Env: cfg.Env, Owner: &k.e.owner, Known: k.knownVersions()}
}

// knownVersions are those that the journal has seen run.
func (k *keeper) knownVersions() (versions []string) {
	for _, v := range []string{k.rec.Last.Version, k.rec.Current, k.rec.Previous} {
		if meta.ValidName(v) && !k.isSelf() {
			versions = append(versions, v)
		}
	}
	return versions
}

// runJob has a job done by a child that is user. One that is lost is replaced:
// every job may be repeated.
func (k *keeper) runJob(ctx context.Context, user string, j job.Job, progress func(job.Progress)) (job.Result, error) {
	const tries = 3
	for try := 1; ; try++ {
		r, err := k.runJobOnce(ctx, user, j, progress)
		if err == nil || !errors.Is(err, pool.ErrLost) || try == tries || ctx.Err() != nil {
			return r, err
		}
		k.log().Warn().Err(err).Str("op", string(j.Op)).Msg("the child is replaced")
	}
}

func (k *keeper) runJobOnce(ctx context.Context, user string, j job.Job, progress func(job.Progress)) (job.Result, error) {
	child := k.children[user]
	if child == nil {
		var err error
		if child, err = k.e.pool.Lend(ctx, user, k.mayNotWait()); err != nil {
			return job.Result{}, machineryError{err}
		}
		k.children[user] = child
	}
	r, err := child.Do(ctx, j, j.Patience(), progress)
	// Whoever is interrupted leaves a child at work, whose answer would be taken for
	// that of its next job.
	if errors.Is(err, pool.ErrLost) || ctx.Err() != nil || j.ReadsStrangers() {
		k.e.pool.Lose(child)
		delete(k.children, user)
	}
	if err == nil {
		k.noteOutput(user, j, r)
	}
	return r, err
}

// mayNotWait: something was or may be stopped, or another child waits already.
func (k *keeper) mayNotWait() bool {
	t := k.rec.Txn
	// Two keepers that each have a child and wait for another one would wait for each
	// other.
	return len(k.children) > 0 || t != nil && (t.Phase == meta.PhaseStopping || t.Phase == meta.PhaseStarting || t.Phase == meta.PhaseRollingBack)
}

// returnChildren gives the children to whoever needs one.
func (k *keeper) returnChildren() {
	for user, child := range k.children {
		k.e.pool.GiveBack(child)
		delete(k.children, user)
	}
}

// machineryError: it is ourselves who failed, neither the release nor the agent.
type machineryError struct{ err error }

func (e machineryError) Error() string { return e.err.Error() }
func (e machineryError) Unwrap() error { return e.err }

func isMachinery(err error) bool {
	var m machineryError
	return errors.As(err, &m) || errors.Is(err, pool.ErrLost) || isOthers(err)
}

// saveRecord writes the journal.
func (k *keeper) saveRecord() error {
	if !meta.ValidName(k.name) {
		return nil
	}
	// A record without a phase counts as none at all, see newKeeper.
	if k.rec.Last.Phase == "" {
		k.rec.Last = plan.Outcome{Phase: meta.PhaseIdle, Since: time.Now()}
	}
	if err := k.savePlace(); err != nil {
		return err
	}
	if err := saveJSON(k.e.journalFile(k.name), k.rec); err != nil {
		return fmt.Errorf("cannot write the journal of %s: %w", k.name, err)
	}
	k.mu.Lock()
	k.saved = true
	k.mu.Unlock()
	return nil
}

// saveRecordOrLog saves what happened; when that cannot be written, what happened has
// happened all the same.
func (k *keeper) saveRecordOrLog() {
	if err := k.saveRecord(); err != nil {
		k.log().Error().Err(err).Msg("an outcome is not in the journal")
		k.tell(err.Error(), codeOf(err))
	}
}
