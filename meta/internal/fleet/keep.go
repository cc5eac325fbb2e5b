package fleet

import (
	"cmp"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
)

// offerKept is what an agent under a hold is told: the version it reports, as the
// rule that would apply says to run it, or a report only. A stop is not carried
// out, and no configuration file is sent, since placing one would restart the
// agent.
func (p *profile) offerKept(pl *plan, would *offer, q question) *offer {
	a, _ := q.host.reportedState(pl.agent)
	kept := reportOnly(pl.agent)
	s := p.snapshot
	if a.Version != "" && s.releases[releaseKey{pl.agent, a.Version}] != nil && would.desired.Cmd != meta.CmdStop {
		src := s.sourceOf(pl.agent, a.Version)
		src.assignment = api.Assignment{RunUser: would.desired.RunUser, WorkDir: would.desired.WorkDir, Probation: would.desired.Probation, Keep: would.desired.Keep, Mirrors: would.desired.Mirrors.List()}
		kept = src.offerFor(p.target)
		kept.desired.ConfigFileName, kept.desired.ConfigRemoteURL = "", ""
	}
	if kept.desired.Cmd != meta.CmdStart {
		kept.desired.Cmd = meta.CmdNone
	}
	kept.desired.RunUser = cmp.Or(a.RunUser, kept.desired.RunUser)
	kept.desired.WorkDir = cmp.Or(a.WorkDir, kept.desired.WorkDir)
	return &kept
}

// isMidway reports whether a host is in the middle of replacing an agent: the
// version that it reports is then not the one that it is about to have.
func isMidway(phase meta.Phase) bool {
	switch phase {
	case meta.PhaseDownloading, meta.PhaseStaging, meta.PhaseStopping, meta.PhaseStarting, meta.PhaseRollingBack:
		return true
	case "", meta.PhaseIdle, meta.PhaseProbation, meta.PhaseRolledBack, meta.PhaseFailed, meta.PhaseHeld:
	}
	return false
}

// reportedState is an agent as a host last reported it.
func (h *host) reportedState(agent string) (a agentState, found bool) {
	if e := h.agentNamed(agent); e != nil {
		return e.state.Value(), true
	}
	return agentState{}, false
}
