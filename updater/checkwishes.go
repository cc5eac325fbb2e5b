package updater

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"github.com/ops-updater/ops-updater/updater/config"
	"github.com/ops-updater/ops-updater/updater/plan"
)

// checkWishes says what of the last reply this host does not follow: what breaks the
// contract, what its policy refuses, and releases that could not be verified.
func checkWishes(c config.Config) []Finding {
	wishes, trusted := lastWishes(c), storedTrust(c)
	var findings []Finding
	for _, name := range slices.Sorted(maps.Keys(wishes)) {
		if f := checkWish(c, wishes[name], trusted); f != nil {
			findings = append(findings, *f)
		}
	}
	return findings
}

func checkWish(c config.Config, w plan.Wish, trusted plan.Trust) *Finding {
	if w.Refused != "" {
		return &Finding{
			Name: "agent " + w.Agent.Name, Verdict: VerdictWarn, Detail: "what the server wants of it is refused: " + w.Refused,
			Mend: "want something else of this host in ops-meta",
		}
	}
	r := journalOf(c, w.Agent.Name)
	what := w.Agent.Name + " " + w.Agent.Version
	if why := c.Policy.Refuses(w, r.Current); why != "" {
		return &Finding{
			Name: "policy", Verdict: VerdictWarn, Detail: fmt.Sprintf("%s is refused: %s", what, why),
			Mend: "want something else of this host in ops-meta, or change policy in " + filepath.Base(c.Path),
		}
	}
	if b := r.SignatureBlock(w, trusted); b != nil && r.Current != w.Agent.Version {
		return &Finding{Name: "trust", Verdict: VerdictWarn, Detail: fmt.Sprintf("%s is refused: %s", what, b.Reason), Mend: plan.AdviseSigning(w, b.Code)}
	}
	return nil
}

// storedTrust is what is verified of releases, and with which keys, without a running sidecar.
func storedTrust(c config.Config) plan.Trust {
	t := plan.Trust{Releases: c.Trust.Releases, Configs: c.Trust.Configs}
	if heard, _ := StoredTrust(c); heard != nil { // lost: another check says so
		t.Keys = heard.Keys
	}
	return t
}

// journalOf is the journal of an agent. What cannot be read, which another check says, is as
// good as none: nothing is known then of what runs.
func journalOf(c config.Config, name string) (r plan.Record) {
	_ = loadJSON(filepath.Join(c.VarDir, journalName, name+".json"), readState, &r)
	return r
}
