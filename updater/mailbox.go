package updater

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/job"
	"github.com/ops-updater/ops-updater/updater/plan"
)

// What others tell a keeper, and what it tells them.

// setWish sets the wish. An install of something else is given up.
func (k *keeper) setWish(w plan.Wish) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if w == k.wish {
		return
	}
	k.wish = w
	k.noteOrder()
}

// replan makes the keeper look and plan now.
func (k *keeper) replan() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.noteOrder()
}

// clearFailures makes the keeper forget what failed and try again now.
func (k *keeper) clearFailures() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.cleared = true
	k.noteOrder()
}

// noteOrder: k.mu is held.
func (k *keeper) noteOrder() {
	// Whoever waits for calm waits for this order as well, also when the keeper has
	// not woken up yet.
	k.orders++
	select {
	case <-k.calm:
		k.calm = make(chan struct{})
	default:
	}
	// Set only while a release is fetched: once the old version is being stopped, the
	// transaction goes to its end.
	if k.giveUp != nil {
		k.giveUp()
	}
	k.wakeUp()
}

func (k *keeper) wakeUp() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// lookSoon makes the keeper look; the channel is closed once it has. A keeper in a
// transaction is not waited for.
func (k *keeper) lookSoon() <-chan struct{} {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.busy {
		done := make(chan struct{})
		close(done)
		return done
	}
	k.wakeUp()
	return k.looked
}

// underWay is the account of the agent while the keeper carries out a step that replaces a
// version.
func (k *keeper) underWay() (plan.Account, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	step := k.state.Step
	step.Reason = fmt.Sprintf("under way: %s since %s; %s", k.state.Phase, time.Since(time.Unix(k.state.Since, 0)).Round(time.Second), step.Reason)
	at := plan.Place{WorkDir: k.state.WorkDir, RunUser: k.state.RunUser}
	return plan.Account{Step: step, Wish: k.state.Wish, Seen: k.state.Seen, At: at, Verified: k.state.Verified}, k.busy
}

// whenSettled is closed while the keeper has nothing to do.
func (k *keeper) whenSettled() <-chan struct{} {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.calm
}

// markSettled says that nothing is left to be done, unless something new has come.
func (k *keeper) markSettled() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.wake) > 0 {
		return
	}
	select {
	case <-k.calm:
	default:
		close(k.calm)
	}
}

// takeOrders does what an operator asked for.
func (k *keeper) takeOrders() {
	k.mu.Lock()
	cleared := k.cleared
	k.cleared = false
	k.mu.Unlock()
	if !cleared {
		return
	}
	k.forgetFailures()
	k.log().Info().Msg("quarantine and back-off cleared by an operator")
}

// takeRetry tries again what failed when the server says so; it says so until
// the rollout is over, which counts once.
func (k *keeper) takeRetry() {
	k.mu.Lock()
	retry := k.wish.Agent.Retry
	k.mu.Unlock()
	if retry <= k.rec.Retried {
		return
	}
	// With the journal, which forgetFailures writes: a restart must not take the same
	// word for a new one.
	k.rec.Retried = retry
	k.forgetFailures()
	k.log().Info().Int64("retry", retry).Msg("the server wants what failed to be tried again; quarantine and back-off end")
}

// forgetFailures ends every quarantine and back-off.
func (k *keeper) forgetFailures() {
	k.rec.Blocks, k.rec.Crash = nil, plan.CrashLog{}
	k.configAt = time.Time{}
	// In a transaction the outcome is still to come.
	if k.rec.Txn == nil {
		k.rec.Last = plan.Outcome{Phase: meta.PhaseIdle, Since: time.Now()}
	}
	k.saveRecordOrLog()
}

// isForgettable: nothing ties the agent to this host.
func (k *keeper) isForgettable() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return !k.wish.Listed && !k.saved && !k.busy && k.state.Version == ""
}

// endKeeper ends the keeper.
func (k *keeper) endKeeper() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.endRun != nil {
		k.endRun()
	}
}

func (k *keeper) currentState() plan.State {
	k.mu.Lock()
	defer k.mu.Unlock()
	return withTroubles(k.state, k.untold)
}

// publishLook makes a look and what was planned after it known.
func (k *keeper) publishLook(s plan.Situation, step plan.Step) {
	k.logStep(s, step)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.state = s.State(step)
	k.busy = step.Act.Replaces() || step.Act == plan.ActResume
	if k.busy || k.orders == k.ordersSeen { // else it is about what was wanted before
		close(k.looked)
		k.looked = make(chan struct{})
	}
}

// trouble is something that went wrong.
type trouble struct{ text, code string }

// maxUntold bounds what is kept of an agent while no heartbeat gets through.
const maxUntold = 8

// tell has the next heartbeat that gets through say what went wrong, also when
// everything is well again by then.
func (k *keeper) tell(text, code string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if t := (trouble{text, cmp.Or(code, job.CodeIO)}); text != "" && len(k.untold) < maxUntold && !slices.Contains(k.untold, t) {
		k.untold = append(k.untold, t)
	}
}

// reportedState is the state as a heartbeat says it, with what nobody has been told
// yet. When that heartbeat does not get through, heartbeatLost brings it back.
func (k *keeper) reportedState() plan.State {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := withTroubles(k.state, k.untold)
	k.telling, k.untold = k.untold, nil
	return s
}

func (k *keeper) heartbeatLost() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.untold = append(k.telling, k.untold...)
	k.untold, k.telling = k.untold[:min(len(k.untold), maxUntold)], nil
}

// withTroubles adds what s does not say anyway.
func withTroubles(s plan.State, troubles []trouble) plan.State {
	for _, t := range troubles {
		if !strings.Contains(s.Error, t.text) {
			s.Error = plan.JoinSentences(s.Error, t.text)
			s.Reason = cmp.Or(s.Reason, t.code)
		}
	}
	return s
}

// logStep logs a plan once.
func (k *keeper) logStep(s plan.Situation, step plan.Step) {
	if old := k.currentState().Step; old.Act == step.Act && old.Reason == step.Reason {
		return
	}
	level := zerolog.InfoLevel
	switch {
	case s.Blind != "" && s.Journal.Txn == nil:
		level = zerolog.ErrorLevel
		k.tell(s.Blind, s.Code)
	case step.Act == plan.ActStart && (s.Journal.Crash.Starts > 0 || s.Seen.Status.Detail != ""), step.Act == plan.ActWait && step.Block == nil:
		level = zerolog.WarnLevel // it does not stay up
	case step.Act == plan.ActNone, step.Act == plan.ActWait:
		level = zerolog.DebugLevel
	}
	k.log().WithLevel(level).Str("act", string(step.Act)).Str("from", step.From.Version).Str("to", step.To.Version).Msg(step.Reason)
}

// updateState changes the state that others see, in the middle of an act.
func (k *keeper) updateState(change func(*plan.State)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	change(&k.state)
}
