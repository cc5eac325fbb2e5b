package updater

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/agent"
)

// maxDoubts is how many looks in a row may fail to tell, or may find a version
// sick that was healthy before: a loaded host answers late.
const (
	maxDoubts  = 3
	maxStopped = 2
)

// trial judges a version that was just started.
//
// It fails when status says stoped twice in a row (one look may fall into the
// moment in which a pid file is rewritten), when the pid changes, and after
// three looks in a row that could not tell. Health counts only where the
// control script has the verb, and may take its time: a version that was never
// healthy fails at the end, one that was healthy fails after three looks in a
// row that found it sick.
type trial struct {
	ends    time.Time
	pid     int
	stopped int
	doubts  int
	sick    int
	healthy bool
}

type verdict int

const (
	undecided verdict = iota
	proved
	failed
)

// see takes one look into account.
func (t *trial) see(p agent.Probe, now time.Time) (verdict, string) {
	over := !now.Before(t.ends)
	switch {
	case p.Status.Stopped():
		if t.stopped++; t.stopped >= maxStopped {
			return failed, "it stopped during probation"
		}
		return undecided, ""
	case !p.Status.Started():
		if t.doubts++; t.doubts >= maxDoubts {
			return failed, fmt.Sprintf("its status could not be told %d times in a row during probation: %s", t.doubts, p.Status)
		}
		return undecided, ""
	case p.Pid != 0 && t.pid != 0 && p.Pid != t.pid:
		return failed, fmt.Sprintf("it was restarted during probation: its pid changed from %d to %d", t.pid, p.Pid)
	}
	t.doubts, t.stopped = 0, 0
	t.pid = max(t.pid, p.Pid)
	if p.HasHealth {
		if v, why := t.feel(p, over); v == failed {
			return v, why
		}
	}
	if over && t.sick == 0 {
		return proved, ""
	}
	return undecided, ""
}

func (t *trial) feel(p agent.Probe, over bool) (verdict, string) {
	if p.Unhealthy == "" {
		t.healthy, t.sick = true, 0
		return undecided, ""
	}
	t.sick++
	if t.healthy && t.sick >= maxDoubts || !t.healthy && over {
		return failed, "it is not healthy: " + p.Unhealthy
	}
	return undecided, ""
}

// prove watches the new version until it has proved itself or failed. The end
// of the sidecar leaves it in probation; the next start begins that anew.
func (k *keeper) prove(ctx context.Context, t *Txn) error {
	k.mustEnter(t, meta.PhaseProbation)
	k.update(func(s *State) {
		s.Version, s.Status, s.Timestamp = t.To.Version, meta.StatusStarted, time.Now().Unix()
		s.RunUser, s.WorkDir = t.To.RunUser, t.To.WorkDir
		if t.From.Version != "" && t.From.Version != t.To.Version {
			s.PreviousVersion = t.From.Version // where a rollback goes, also an operator's
		}
	})
	length := k.e.config().Probation
	if p := t.Wish.Agent.Probation; p > 0 {
		length = time.Duration(p) * time.Second
	}
	judge, unasked := trial{ends: t.Since.Add(length)}, 0
	tick := time.NewTicker(min(max(length/20, 50*time.Millisecond), 2*time.Second))
	defer tick.Stop()
	for {
		r, err := k.do(ctx, t.To.RunUser, k.job(OpProbe, t.To), nil)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return err // nobody could look: that is not the version's fault
		}
		if r.Probe.Status.Host { // nor is it here
			return machineryError{&JobError{Message: "cannot look at " + t.To.Version + " on probation: " + r.Probe.Status.Detail, Reason: r.Probe.Status.Code, Host: true}}
		}
		if r.Probe.Unasked != "" {
			if unasked++; unasked >= maxDoubts {
				return machineryError{errors.New("cannot look at " + k.name + " on probation: " + r.Probe.Unasked)}
			}
		} else if v, why := judge.see(r.Probe, time.Now()); v == failed {
			t.Code = codeProbation
			return k.rollBack(ctx, t, why, true)
		} else if v == proved {
			k.rec.Unproven = ""
			return k.commit(ctx, t, "it proved itself")
		} else {
			unasked = 0
		}
		if h := k.e.holds.get(k.name); h != nil && h.Version != "" && h.Version == t.From.Version {
			t.Code = codeOperator
			return k.rollBack(ctx, t, "an operator went back: "+h.Reason, false)
		}
		if k.superseded(t) {
			k.rec.Unproven = t.To.Version
			return k.commit(ctx, t, "before it proved itself, because something else is wanted")
		}
		k.watched(judge, length)
		k.dismiss() // between two looks no child is needed
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// superseded: what the server wants is not what is on probation.
func (k *keeper) superseded(t *Txn) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	w := k.wish
	return t.Act != ActRollback && w.Listed && w.Refused == "" && k.e.holds.get(k.name) == nil &&
		(w.Agent.Cmd == meta.CmdStop || w.Agent.Cmd == meta.CmdStart && (w.Agent.Version != t.To.Version || w.Place != t.To.Place))
}

func (k *keeper) watched(judge trial, length time.Duration) {
	left := time.Until(judge.ends)
	k.update(func(s *State) {
		s.Timestamp = time.Now().Unix()
		s.Progress = min(max(1-float64(left)/float64(length), 0), 1)
	})
}
