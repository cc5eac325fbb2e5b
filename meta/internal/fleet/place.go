package fleet

import (
	"cmp"

	"github.com/ops-updater/ops-updater/meta"
)

// fillsPlaces: the first sidecars of this dialect, which know nothing of our
// additions, compare the run user and work directory they are told with those
// that they have. An empty one is a change to them: they stop and delete the
// running agent and install nothing. So they are told what they report.
func (f facts) fillsPlaces() bool {
	return f.dialect == meta.DialectV1 && !f.isSteered() && f.arch == ""
}

// withPlace fills in where and as whom an agent runs on a host that must be told.
// Where nobody knows it, the agent is not told.
func (o offer) withPlace(h *host) *offer {
	a, found := h.reportedState(o.desired.Name)
	o.desired.RunUser = cmp.Or(o.desired.RunUser, a.RunUser, h.facts.Value().runUser)
	o.desired.WorkDir = cmp.Or(o.desired.WorkDir, a.WorkDir)
	if o.problem == "" {
		o.problem = o.whyNoPlace(h, found)
		o.untold = o.problem != ""
	}
	return &o
}

// whyNoPlace says why an agent that a host does not have cannot be installed
// there, or "".
func (o *offer) whyNoPlace(h *host, found bool) string {
	if found || o.desired.Cmd != meta.CmdStart || o.desired.WorkDir != "" || !h.namesWorkDirs() {
		return ""
	}
	return "its sidecar must be told a work directory, and " + o.desired.Name + " has none: give the agent a workDir"
}

// namesWorkDirs reports whether a host says where its agents are.
func (h *host) namesWorkDirs() bool {
	for _, e := range h.agents {
		if e.state.Value().WorkDir != "" {
			return true
		}
	}
	return false
}
