package updater

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/job"
	"github.com/ops-updater/ops-updater/updater/plan"
)

// Which of several sidecars looks after an agent: see [job.Owner].

// looksAfter reports whether the agent is ours to look after: somebody wants
// something of it, or we have begun something with it.
func (k *keeper) looksAfter() bool {
	k.mu.Lock()
	w := k.wish
	k.mu.Unlock()
	wanted := w.Listed && w.Refused == "" && w.Agent.Cmd != meta.CmdNone
	return wanted || k.rec.Txn != nil || k.e.holds.holdOf(k.name) != nil
}

// disownUnwanted gives the agent up when it is no longer ours to look after, so
// that another sidecar may have it.
func (k *keeper) disownUnwanted(ctx context.Context, s plan.Situation) {
	if k.guest || s.Blind != "" { // what cannot be seen is not given up
		return
	}
	had := k.owns
	if k.owns = s.Seen.OwnedBy == "" && k.looksAfter(); k.owns || !had {
		return
	}
	if _, err := k.runJob(ctx, s.At.RunUser, k.newJob(job.OpDisown, plan.Target{Place: s.At}), nil); err != nil {
		k.log().Warn().Err(err).Msg("cannot leave the agent to another sidecar")
	}
}

// noticeOthers says when .version was changed by somebody else since the last
// look: a sidecar of an older version or an ancestor, which know of no owner,
// or a person. All that we can do is to say so.
func (k *keeper) noticeOthers(s plan.Situation) {
	was := k.last
	k.last = plan.Target{Place: s.At, Version: s.Seen.Version}
	if s.Blind != "" || s.Seen.OwnedBy != "" || was.Version == "" || was.Place != s.At || was.Version == s.Seen.Version {
		return
	}
	k.others = fmt.Sprintf(".version was changed from %s to %s by somebody else: a person, or another updater on this host, which should be stopped", was.Version, cmp.Or(s.Seen.Version, "nothing"))
	k.log().Warn().Msg(k.others)
}

// isOthers: another sidecar, or another run of the control script, was in the
// way. That is neither the release's fault nor the agent's.
func isOthers(err error) bool {
	je := (*job.Error)(nil)
	return errors.As(err, &je) && (je.Code == job.CodeBusy || je.Code == job.CodeOwned)
}
