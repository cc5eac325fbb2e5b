package updater

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/ops-updater/ops-updater/internal/buildinfo"
	"github.com/ops-updater/ops-updater/updater/job"
	"github.com/ops-updater/ops-updater/updater/plan"
)

// leftovers are versions nobody needs any more, and what interrupted installs left.
type leftovers struct {
	maybe   bool        // some may lie where the agent is, or was to be
	spared  plan.Target // what was wanted when they were removed: parts of it were kept, to go on with
	lookAt  time.Time   // not looked for before
	problem string      // why they could not be removed when it was last tried
	code    string      // of problem
}

// cleanPause is how long is waited before leftovers that could not be removed are
// looked for again.
const cleanPause = 10 * time.Second

// cleanUpLater removes what a crash, or a disk that could not be written, has left, and
// what was kept for a wish that is another one now. It is done while nothing else is to
// be done. It reports whether that changed what is to be told of the agent.
func (k *keeper) cleanUpLater(ctx context.Context, s plan.Situation) bool {
	due := k.leftovers.maybe || k.leftovers.spared != k.wishedTarget()
	if !due || k.guest || s.Stored || s.Blind != "" || s.Seen.OwnedBy != "" || s.Seen.Busy || !k.looksAfter() || s.Left != (plan.Place{}) || time.Now().Before(k.leftovers.lookAt) {
		return false
	}
	before := k.leftovers.problem
	k.cleanUp(ctx, s.At)
	return before != k.leftovers.problem
}

func (k *keeper) wishedTarget() plan.Target {
	k.mu.Lock()
	defer k.mu.Unlock()
	return plan.Target{Place: k.wish.Place, Version: k.wish.Agent.Version}
}

// cleanUp removes the leftovers where the agent is, and elsewhere. What cannot be removed
// is tried again later and part of the agent's state until then, but never of an outcome:
// nothing that was done failed by it.
func (k *keeper) cleanUp(ctx context.Context, at plan.Place) {
	wished := k.wishedTarget()
	k.leftovers = leftovers{spared: wished}
	if at != (plan.Place{}) {
		k.cleanUpPlace(ctx, at)
	}
	for _, p := range slices.Clone(k.rec.Elsewhere) {
		// Where it is wanted, a part of it stays to go on with: that place is looked at
		// again when it is not wanted there any more.
		if k.cleanUpPlace(ctx, p) && p != wished.Place {
			k.rec.LeaveElsewhere(p)
			k.saveRecordOrLog()
		}
	}
}

// cleanUpPlace reports whether nothing is left to be removed at a place.
func (k *keeper) cleanUpPlace(ctx context.Context, at plan.Place) bool {
	err := k.pruneVersions(ctx, at, "")
	switch {
	case err == nil, codeOf(err) == job.CodeUnsafePlace, isOthers(err): // nothing of ours lies there, or who has the agent now cleans up
		return true
	case ctx.Err() != nil: // this process ends; the next one looks
		k.leftovers.maybe = true
	default:
		k.log().Warn().Err(err).Msg("cannot clean up")
		k.leftovers.maybe, k.leftovers.lookAt = true, time.Now().Add(cleanPause)
		k.leftovers.problem, k.leftovers.code = "cannot clean up: "+err.Error(), cmp.Or(codeOf(err), job.CodeIO)
	}
	return false
}

// pruneVersions keeps what is running (.version names it, or did when it was seen last),
// previous and wanted, and
// fills up to the number of versions that shall be kept; but not drop. Parts of what is
// wanted stay where it is wanted.
func (k *keeper) pruneVersions(ctx context.Context, at plan.Place, drop string) error {
	k.mu.Lock()
	w := k.wish
	k.mu.Unlock()
	j := k.newJob(job.OpPrune, plan.Target{Place: at})
	j.Prune = &job.Prune{Keep: []string{}, Count: cmp.Or(w.Agent.Keep, k.e.currentConfig().Keep), Drop: drop}
	if at.WorkDir == w.Place.WorkDir {
		j.Prune.Wanted = w.Agent.Version
	}
	for _, v := range []string{k.rec.Previous, w.Agent.Version} {
		if v != "" && v != drop {
			j.Prune.Keep = append(j.Prune.Keep, v)
		}
	}
	if k.isSelf() {
		j.Prune.Keep = append(j.Prune.Keep, buildinfo.Version())
	}
	// .version may have been lost since: what it named runs on.
	if c := k.rec.Current; c != "" && c != drop && at == k.rec.At {
		j.Prune.Keep = append(j.Prune.Keep, c)
	}
	// Inside a transaction its rollback still needs what it came from.
	if t := k.rec.Txn; t != nil && t.From.Version != "" {
		j.Prune.Keep = append(j.Prune.Keep, t.From.Version)
	}
	_, err := k.runJob(ctx, at.RunUser, j, nil)
	return err
}
