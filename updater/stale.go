package updater

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/job"
	"github.com/ops-updater/ops-updater/updater/plan"
)

// staleAfter is how old an intention may be and still be carried out without
// asking the server again, while what ran before still runs.
const staleAfter = time.Hour

// whyOutdated says why a transaction that an earlier process left is not to be
// finished or undone: the host is no longer where the journal has it.
func (k *keeper) whyOutdated(ctx context.Context, t *plan.Txn) string {
	for _, target := range []plan.Target{t.From, t.To} {
		if target.Place == (plan.Place{}) || target.Version == "" {
			continue
		}
		r, err := k.runJob(ctx, target.RunUser, k.newJob(job.OpObserve, target), nil)
		if err != nil || !r.Seen.Complete {
			continue // nothing is known that speaks against it: who damaged .version wanted nothing
		}
		if !slices.Contains(k.expectedVersions(t, target.WorkDir), r.Seen.Version) {
			return fmt.Sprintf(".version in %s names %s by now, which somebody else made so", dirOf(target.Place, k.name).Path, r.Seen.Version)
		}
		if target == t.From && t.StoppedNothing() && time.Since(t.Since) > staleAfter && r.Seen.Version == t.From.Version && r.Seen.Status.Started() {
			return fmt.Sprintf("%s runs on, and what was wanted then need not be what is wanted now", t.From.Version)
		}
	}
	return ""
}

// expectedVersions are the versions that .version in workDir may name in the course of
// t and of its rollback.
func (k *keeper) expectedVersions(t *plan.Txn, workDir string) (versions []string) {
	for _, target := range []plan.Target{t.From, t.To} {
		if target.WorkDir == workDir {
			versions = append(versions, target.Version)
		}
	}
	if t.From.WorkDir == workDir && k.rec.Unproven != "" {
		versions = append(versions, k.rec.Unproven) // see fallBackOnProven
	}
	return versions
}

// dropTransaction forgets a transaction that is not about what is there any more, and
// says so.
func (k *keeper) dropTransaction(ctx context.Context, t *plan.Txn, why string) error {
	from := ""
	if t.From.Version != "" {
		from = " from " + t.From.Version
	}
	said := fmt.Sprintf("a half-done %s%s to %s, in phase %s since %s, is dropped: %s",
		t.Act, from, t.To.Version, t.Phase, t.Since.Local().Format(time.DateTime), why)
	k.log().Warn().Str("act", string(t.Act)).Str("to", t.To.Version).Msg(said)
	k.endTransaction(ctx, t, plan.Outcome{Phase: meta.PhaseIdle, Error: said, Code: plan.CodeStale})
	return nil
}
