package fleet

import "github.com/ops-updater/ops-updater/meta"

// lacksArtifacts reports whether a host may be wanted to run what there is no artifact
// of for it.
func (p *plan) lacksArtifacts() bool {
	for i := range p.offers {
		if p.offers[i].problem != "" {
			return true
		}
	}
	return false
}

// offerRunning is what a host is told of a release that nobody can fetch: to run
// what it has. A tarball that has vanished is no reason to leave an agent that
// died where it is. A host that has neither this version nor one that is known
// here is only asked for a report.
func (p *profile) offerRunning(pl *plan, o *offer, q question) *offer {
	a, found := q.host.reportedState(pl.agent)
	if !found || isMidway(a.Phase) {
		return o
	}
	kept := *o
	if a.Version == o.desired.Version {
		kept.desired.Cmd = meta.CmdStart // it is there: it needs no tarball
		return &kept
	}
	if have := p.offerKept(pl, o, q); have.desired.Cmd == meta.CmdStart {
		kept.desired = have.desired
	}
	return &kept
}
