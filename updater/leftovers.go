package updater

import (
	"cmp"
	"context"
	"time"

	"github.com/ops-updater/ops-updater/internal/buildinfo"
	"github.com/ops-updater/ops-updater/updater/job"
	"github.com/ops-updater/ops-updater/updater/plan"
)

// leftovers are versions nobody needs any more, and what interrupted installs left.
type leftovers struct {
	maybe   bool      // some may lie where the agent is
	lookAt  time.Time // not looked for before
	problem string    // why they could not be removed when it was last tried
	code    string    // of problem
}

// cleanPause is how long is waited before leftovers that could not be removed are
// looked for again.
const cleanPause = 10 * time.Second

// cleanUpPlaces removes the leftovers of a transaction that has ended.
func (k *keeper) cleanUpPlaces(ctx context.Context, t *plan.Txn) {
	places := []plan.Place{t.To.Place}
	if t.From.Version != "" && t.From.Place != t.To.Place {
		places = append(places, t.From.Place)
	}
	k.leftovers = leftovers{}
	for _, p := range places {
		k.cleanUp(ctx, p)
	}
}

// cleanUpLater removes what a crash, or a disk that could not be written, has left. It is
// done while nothing else is to be done. It reports whether that changed what is to be
// told of the agent.
func (k *keeper) cleanUpLater(ctx context.Context, s plan.Situation) bool {
	if !k.leftovers.maybe || k.guest || s.Stored || s.Blind != "" || s.Seen.OwnedBy != "" || s.Seen.Busy || !k.looksAfter() || s.Left != (plan.Place{}) || time.Now().Before(k.leftovers.lookAt) {
		return false
	}
	before := k.leftovers.problem
	k.leftovers = leftovers{}
	k.cleanUp(ctx, s.At)
	return before != k.leftovers.problem
}

// cleanUp removes the leftovers at a place. What cannot be removed is tried again later
// and part of the agent's state until then, but never of an outcome: nothing that was
// done failed by it.
func (k *keeper) cleanUp(ctx context.Context, at plan.Place) {
	err := k.pruneVersions(ctx, at, "")
	switch {
	case err == nil, codeOf(err) == job.CodeUnsafePlace, isOthers(err): // nothing of ours lies there, or who has the agent now cleans up
	case ctx.Err() != nil: // this process ends; the next one looks
		k.leftovers.maybe = true
	default:
		k.log().Warn().Err(err).Msg("cannot clean up")
		k.leftovers = leftovers{maybe: true, lookAt: time.Now().Add(cleanPause), problem: "cannot clean up: " + err.Error(), code: cmp.Or(codeOf(err), job.CodeIO)}
	}
}

// pruneVersions keeps what is running (.version names it), previous and wanted, and
// fills up to the number of versions that shall be kept; but not drop.
func (k *keeper) pruneVersions(ctx context.Context, at plan.Place, drop string) error {
	k.mu.Lock()
	w := k.wish
	k.mu.Unlock()
	j := k.newJob(job.OpPrune, plan.Target{Place: at})
	j.Prune = &job.Prune{Keep: []string{}, Wanted: w.Agent.Version, Count: cmp.Or(w.Agent.Keep, k.e.currentConfig().Keep), Drop: drop}
	for _, v := range []string{k.rec.Previous, w.Agent.Version} {
		if v != "" && v != drop {
			j.Prune.Keep = append(j.Prune.Keep, v)
		}
	}
	if k.isSelf() {
		j.Prune.Keep = append(j.Prune.Keep, buildinfo.Version())
	}
	// Inside a transaction its rollback still needs what it came from.
	if t := k.rec.Txn; t != nil && t.From.Version != "" {
		j.Prune.Keep = append(j.Prune.Keep, t.From.Version)
	}
	_, err := k.runJob(ctx, at.RunUser, j, nil)
	return err
}
