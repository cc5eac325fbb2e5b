package updater

import (
	"cmp"
	"context"
	"errors"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/job"
	"github.com/ops-updater/ops-updater/updater/plan"
)

// installInTurn installs once there is a slot. A download that crawls while
// others wait is ended, and goes on from where it was in its next turn.
func (k *keeper) installInTurn(ctx context.Context, t *plan.Txn) (job.Result, error) {
	cfg := k.e.currentConfig()
	s := &slot{agent: k.name, grace: min(cmp.Or(cfg.Limits.StallTimeout, crawlGrace), crawlGrace), rate: crawlRate}
	if limit := cfg.Limits.MaxRate; limit > 0 {
		s.rate = min(s.rate, limit/2)
	}
	for {
		if err := k.awaitSlot(ctx, s); err != nil {
			return job.Result{}, err
		}
		r, err := k.installWithSlot(ctx, t, s)
		k.e.slots.leaveSlot(s)
		if !errors.Is(err, errYielded) {
			return r, err
		}
		s.yields++
		k.log().Warn().Str("to", t.To.Version).Int("yields", s.yields).Msg("the download goes on later: " + err.Error())
	}
}

func (k *keeper) awaitSlot(ctx context.Context, s *slot) error {
	waited := false
	err := k.e.slots.takeSlot(ctx, s, func(holders []string) {
		if !waited {
			k.returnChildren() // who waits needs no child
			k.e.wakeHeartbeat()
		}
		waited = true
		k.updateState(func(st *plan.State) { st.Error, st.Reason = waitsFor(holders), plan.CodeWaiting })
	})
	if waited {
		k.updateState(func(st *plan.State) { st.Error, st.Reason = "", "" })
	}
	return err
}

// installWithSlot gives errYielded when the slot was wanted back.
func (k *keeper) installWithSlot(ctx context.Context, t *plan.Txn, s *slot) (job.Result, error) {
	turn, end := context.WithCancelCause(ctx)
	defer end(nil)
	k.e.slots.onYield(s, end)
	r, err := k.installVersion(turn, t, s)
	// A child that is cut off fails in any way it likes: only the cause tells a turn
	// that is over from a download that failed.
	if err != nil && ctx.Err() == nil && errors.Is(context.Cause(turn), errYielded) {
		return r, errYielded
	}
	return r, err
}

// installVersion has the wanted version completed by a child.
func (k *keeper) installVersion(ctx context.Context, t *plan.Txn, s *slot) (job.Result, error) {
	if err := k.e.prepareDir(ctx, t.To.Place, k.name); err != nil {
		return job.Result{}, err
	}
	if t.Act == plan.ActChangeUser {
		if _, err := k.runJobOnce(ctx, t.To.RunUser, k.newJob(job.OpClaim, t.To), nil); err != nil {
			return job.Result{}, err
		}
	}
	if err := k.dropSuspect(ctx, t); err != nil {
		return job.Result{}, err
	}
	// Once, unlike other jobs: bytes that cost one child its life would cost the next
	// ones theirs. The failure is backed off.
	return k.runJobOnce(ctx, t.To.RunUser, k.installJob(t), func(p job.Progress) {
		if p.Phase == meta.PhaseStaging {
			k.e.slots.noteDownloaded(s, -1)
		} else {
			k.e.slots.noteDownloaded(s, p.Done)
		}
		k.reportProgress(t, p)
	})
}
