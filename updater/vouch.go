package updater

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/trust"
	"github.com/ops-updater/ops-updater/updater/config"
	"github.com/ops-updater/ops-updater/updater/job"
	"github.com/ops-updater/ops-updater/updater/plan"
)

// Whether somebody vouched for what is executed: children verify it while they install,
// the journal keeps what came of that, and nothing that was never verified is started
// where trust.releases is require. What runs already is left running.

// trustNow is what is verified, and with which keys.
func (e *Engine) trustNow() (plan.Trust, trust.Keys) {
	cfg := e.currentConfig()
	var keys trust.Keys
	if cfg.ReleaseKeys != nil {
		keys = cfg.ReleaseKeys()
	} else {
		keys = trust.Heard{}.Counting(cfg.Trust.Anchors).Keys(trust.UseRelease, time.Now())
	}
	return plan.Trust{Releases: cfg.Trust.Releases, Configs: cfg.Trust.Configs, Keys: keys.IDs()}, keys
}

// Replan makes every keeper look and plan now, because what it depends on has changed:
// the keys that count, for one.
func (e *Engine) Replan() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.replanAll()
}

// mayExecute is an error for a version that was never verified where that is required.
func (k *keeper) mayExecute(to plan.Target) error {
	trusted, _ := k.e.trustNow()
	if why, code := trusted.WhyNotExecute(&k.rec, to); why != "" {
		return &job.Error{Message: "cannot start " + k.name + ": " + why, Code: code}
	}
	return nil
}

// whyNotBack says why an operator cannot go back to the version before, or nothing.
func (e *Engine) whyNotBack(s plan.State) string {
	trusted, _ := e.trustNow()
	why, _ := trusted.WhyNotSwitchTo(&plan.Record{Verified: s.Verifications}, plan.Target{Place: plan.Place{WorkDir: s.WorkDir}, Version: s.PreviousVersion})
	return why
}

// startTarget starts a version. Nothing else does.
func (k *keeper) startTarget(ctx context.Context, to plan.Target) error {
	if err := k.mayExecute(to); err != nil {
		return err
	}
	_, err := k.runJob(ctx, to.RunUser, k.newJob(job.OpStart, to), nil)
	return err
}

// forgetReplaced: what was known of a version whose files the install brings anew is
// forgotten before it begins, with the journal of its first phase. Should we die
// afterwards, they are not taken for what was verified.
func (k *keeper) forgetReplaced(s plan.Situation, t *plan.Txn) {
	there := t.To.WorkDir == s.At.WorkDir && slices.Contains(s.Seen.Versions, t.To.Version)
	if !there || t.To.Version != t.From.Version && k.rec.FailedBefore(t.To.Version) {
		k.rec.ForgetVerified(t.To)
	}
}

// verifyRelease is what the child is to verify, and whether also what is there already.
func (k *keeper) verifyRelease(t *plan.Txn) (v job.Verify, anew bool) {
	trusted, keys := k.e.trustNow()
	v = job.Verify{Mode: trusted.Releases, Keys: keys, Arch: k.e.currentConfig().Arch}
	why, _ := trusted.WhyNotSwitchTo(&k.rec, t.To)
	// The files of what runs are not taken from under it.
	runs := t.From.Version == t.To.Version && t.From.WorkDir == t.To.WorkDir
	return v, why != "" && !runs
}

// verifiedConfig is the remote configuration of a with what the child is to verify of it.
func (k *keeper) verifiedConfig(a meta.DesiredAgent) *job.RemoteConfig {
	c := remoteConfig(a)
	if c == nil {
		return nil
	}
	trusted, keys := k.e.trustNow()
	c.Agent, c.Verify = k.name, job.Verify{Mode: trusted.Configs, Keys: keys}
	return c
}

// noteProofs keeps what came of the signatures of an install. The journal has it with the
// next phase, before the version is executed.
func (k *keeper) noteProofs(t *plan.Txn, r job.Installed) {
	if p := r.Proof; p != (job.Proof{}) {
		k.rec.NoteVerified(plan.Verification{Version: t.To.Version, WorkDir: t.To.WorkDir, Key: p.Key, Code: p.Code, Why: p.Why})
	}
	k.logProof(t, "release", r.Proof)
	k.logProof(t, "configuration", r.Config)
	k.noteUnverified(t, r.Config)
}

func (k *keeper) logProof(t *plan.Txn, what string, p job.Proof) {
	switch {
	case p.Key != "":
		k.log().Info().Str("version", t.To.Version).Str("key", p.Key).Msg("the " + what + " is verified")
	case p.Code != "":
		k.log().Warn().Str("version", t.To.Version).Str("reason", p.Code).Msg("the " + what + " is used though it is not verified: " + p.Why)
	}
}

// noteUnverified has it reported, when the transaction is over, that a configuration is used
// which nobody vouched for. For a release the journal says so as long as it is there.
func (k *keeper) noteUnverified(t *plan.Txn, config job.Proof) {
	if config.Code != "" {
		t.Notes, t.NoteCode = plan.JoinSentences(t.Notes, config.Why), config.Code
	}
}

// checkVouched tells of versions that would not be started again because nobody
// vouched for them, as far as the journal knows what runs.
func checkVouched(c config.Config) []Finding {
	if !(plan.Trust{Releases: c.Trust.Releases}).Verifies() {
		return nil
	}
	required := plan.Trust{Releases: meta.TrustRequire}
	mend := "deploy a signed release before trust.releases is require"
	if c.Trust.Releases == meta.TrustRequire {
		mend = "deploy a signed release; until then it runs on, and is not started again when it stops"
	}
	var findings []Finding
	for _, name := range slices.Sorted(maps.Keys(lastWishes(c))) {
		r := journalOf(c, name)
		if r.Current == "" {
			continue
		}
		v := plan.Target{Place: r.At, Version: r.Current}
		if why, _ := required.WhyNotExecute(&r, v); why != "" {
			findings = append(findings, Finding{Name: "agent " + name, Verdict: VerdictWarn, Detail: name + " " + r.VerificationOf(v).Unverified(v.Version), Mend: mend})
		}
	}
	return findings
}
