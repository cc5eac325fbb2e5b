package updater

import (
	"context"
	"errors"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/job"
	"github.com/ops-updater/ops-updater/updater/plan"
)

// watchProbation watches the new version until it has proved itself or failed. The end
// of the sidecar leaves it in probation; the next start begins that anew.
func (k *keeper) watchProbation(ctx context.Context, t *plan.Txn) error {
	k.mustEnterPhase(t, meta.PhaseProbation)
	k.updateState(func(s *plan.State) {
		s.Version, s.Status, s.Timestamp = t.To.Version, meta.StatusStarted, time.Now().Unix()
		s.RunUser, s.WorkDir = t.To.RunUser, t.To.WorkDir
		if t.From.Version != "" && t.From.Version != t.To.Version {
			s.PreviousVersion = t.From.Version // where a rollback goes, also an operator's
		}
	})
	// The phase was just entered anew, so an interrupted probation has its whole
	// length again: nobody watched meanwhile.
	length := k.e.currentConfig().Probation
	if p := t.Wish.Agent.Probation; p > 0 {
		length = time.Duration(p) * time.Second
	}
	judge, unasked := plan.Trial{Ends: t.Since.Add(length)}, 0
	// Twenty looks, but not so many that a long probation keeps children busy nor so
	// few that a version which dies and comes back is missed.
	tick := time.NewTicker(min(max(length/20, 50*time.Millisecond), 2*time.Second))
	defer tick.Stop()
	for {
		r, err := k.runJob(ctx, t.To.RunUser, k.newJob(job.OpProbe, t.To), nil)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return err // nobody could look: that is not the version's fault
		}
		if r.Probe.Status.Host { // nor is it here
			return machineryError{&job.Error{Message: "cannot look at " + t.To.Version + " on probation: " + r.Probe.Status.Detail, Code: r.Probe.Status.Code, Host: true}}
		}
		if r.Probe.Unasked != "" {
			// What nobody could ask, since somebody else runs the script, is no
			// evidence; but a probation in which nobody can look must not pass either.
			if unasked++; unasked >= plan.MaxDoubts {
				return machineryError{errors.New("cannot look at " + k.name + " on probation: " + r.Probe.Unasked)}
			}
		} else if v, why := judge.Judge(r.Probe, time.Now()); v == plan.Disproved {
			t.Code = plan.CodeProbation
			return k.rollBack(ctx, t, why, true)
		} else if v == plan.Proved {
			k.rec.Unproven = ""
			return k.commitTransaction(ctx, t, "it proved itself")
		} else {
			unasked = 0
		}
		// After the verdict: a version that has failed already is blamed for it, also
		// when an operator was about to leave it.
		if h := k.e.holds.holdOf(k.name); h != nil && h.Version != "" && h.Version == t.From.Version {
			t.Code = plan.CodeOperator
			return k.rollBack(ctx, t, "an operator went back: "+h.Reason, false)
		}
		if k.isSuperseded(t) {
			// The next rollback passes it over, see fallBackOnProven: it would return
			// to what nobody knows to be good.
			k.rec.Unproven = t.To.Version
			return k.commitTransaction(ctx, t, "before it proved itself, because something else is wanted")
		}
		k.reportProbation(judge, length)
		k.returnChildren() // between two looks no child is needed
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// isSuperseded: what the server wants is not what is on probation.
func (k *keeper) isSuperseded(t *plan.Txn) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	w := k.wish
	// A rollback goes against the wish on purpose, and a wish that cannot be followed
	// takes nobody's place.
	return t.Act != plan.ActRollback && w.Listed && w.Refused == "" && k.e.holds.holdOf(k.name) == nil &&
		(w.Agent.Cmd == meta.CmdStop || w.Agent.Cmd == meta.CmdStart && (w.Agent.Version != t.To.Version || w.Place != t.To.Place))
}

func (k *keeper) reportProbation(judge plan.Trial, length time.Duration) {
	left := time.Until(judge.Ends)
	k.updateState(func(s *plan.State) {
		s.Timestamp = time.Now().Unix()
		s.Progress = min(max(1-float64(left)/float64(length), 0), 1)
	})
}
