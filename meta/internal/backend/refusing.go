package backend

import (
	"fmt"
	"strings"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/fleet"
	"github.com/ops-updater/ops-updater/meta/trust"
)

// explainTrust adds to what a host is told who has signed it, whether the host takes it, and
// what the host itself says of it.
func (s hosts) explainTrust(e *api.Explanation, h api.Host) {
	t, _ := s.fleet.Trust(h.Name)
	e.Trust = h.Trust
	reported := map[string]api.HostAgent{}
	for _, on := range h.Agents {
		reported[on.Name] = on
	}
	for i := range e.Agents {
		a := &e.Agents[i]
		on := reported[a.Agent]
		if on.DesiredVersion == a.Version {
			a.HostError, a.HostReason = on.Error, on.Reason
		}
		artifact, known := s.Artifact(api.ReleaseKey{Agent: a.Agent, Version: a.Version, Arch: h.Arch})
		if !known {
			continue
		}
		a.SignedBy = artifact.SignedBy
		if a.Cmd == meta.CmdStart && on.Version != a.Version {
			a.Refusal = refusalOf(t, artifact)
		}
	}
}

// refusalOf is why a host that verifies t refuses an artifact, or warns of it; else nil.
func refusalOf(t fleet.TrustOf, a api.Artifact) *api.Refusal {
	code := t.Doubts(a)
	if code == "" {
		return nil
	}
	r := api.Refusal{Code: string(code), Warns: !t.Refuses(a), Hint: fleet.AdviseSigning(a.Agent, a.Version, a)}
	wants := "wants signatures by key " + strings.Join(t.Counting, " or ")
	switch code {
	case trust.NoKeys:
		r.Text, r.Hint = "the host verifies releases, and no release key counts on it", "ops-meta key list; ops-meta key add has the list of keys name one"
	case trust.UnknownKey:
		r.Text = fmt.Sprintf("the host %s; release %s is signed by %s, which does not count there", wants, a.Version, a.SignedBy)
	default:
		r.Text = fmt.Sprintf("the host %s; release %s is not signed", wants, a.Version)
	}
	if r.Warns {
		r.Text += ": it is installed with a warning, and would be refused if trust.releases there were require"
	} else {
		r.Text += ": it is refused"
	}
	return &r
}
