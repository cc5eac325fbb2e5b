package fleet

import (
	"slices"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
)

// Stand is how a host stands to a rollout that concerns it: one whose scope
// the host is in, and which no narrower rule overrules.
type Stand struct {
	Rollout    string
	Host       string
	Groups     []string      // that match it and are in force
	Agent      api.HostAgent // as it reported; without a Version when it did not
	Seen       time.Time
	Pace       time.Duration // between its heartbeats, when it does not follow the interval; else 0
	Silent     bool
	Repeated   bool   // its last report says the same as the one before
	Granted    bool   // it has the rollout's grant
	Barred     string // why it can't have the target now: held, or no artifact for it; empty: it can
	NoArtifact bool   // that is because there is no artifact for it
	// HeldUntil is when the server's holds on it end; zero: they have no end, or there
	// are none.
	HeldUntil time.Time
	Stop      bool // it would be told to stop the agent, not to start it
}

// EachStand calls do for each host and rollout in force that concerns it, in no
// order, and returns the serial of the configuration that it went by: of a
// rollout written later it knows nothing. No lock is held meanwhile.
func (f *Fleet) EachStand(do func(Stand)) (serial int64) {
	snap := f.snapshot.Load()
	f.EachStandBy(snap, do)
	return snap.Serial()
}

// EachStandBy is [Fleet.EachStand] by a snapshot that need not be the one in use.
func (f *Fleet) EachStandBy(snap *Snapshot, do func(Stand)) {
	var stands []Stand
	for i := range f.shards {
		sh := &f.shards[i]
		stands = stands[:0]
		sh.mu.Lock()
		for _, h := range sh.hosts {
			if h.facts != zeroFacts {
				stands = f.appendStands(stands, snap, h)
			}
		}
		sh.mu.Unlock()
		for _, s := range stands {
			do(s)
		}
	}
}

// StandsAfter calls do for each host that a rollout in force concerns, by name
// and only those that sort after a name, until do returns false. No lock is
// held meanwhile.
func (f *Fleet) StandsAfter(rollout, after string, do func(Stand) bool) {
	names := f.sortedNames()
	first, there := slices.BinarySearch(names, after)
	if there {
		first++
	}
	for _, name := range names[first:] {
		if s, concerned := f.StandOf(name, rollout); concerned && !do(s) {
			return
		}
	}
}

// StandOf is how one host stands to a rollout, if the rollout concerns it.
func (f *Fleet) StandOf(host, rollout string) (Stand, bool) {
	sh := f.shardOf(host)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if h := sh.hosts[host]; h != nil && h.facts != zeroFacts {
		for _, s := range f.appendStands(nil, f.snapshot.Load(), h) {
			if s.Rollout == rollout {
				return s, true
			}
		}
	}
	return Stand{}, false
}

func (f *Fleet) appendStands(to []Stand, snap *Snapshot, h *host) []Stand {
	pace := h.ownPace(f.Interval())
	p := f.profileOf(snap, h)
	for i := range p.plans {
		pl := &p.plans[i]
		for k := range pl.offers {
			o := &pl.offers[k]
			if o.rollout == "" {
				break
			}
			s := Stand{
				Rollout: o.rollout, Host: h.name, Groups: p.groups, Agent: api.HostAgent{Name: pl.agent},
				Seen: fromUnix(h.seen), Pace: pace, Silent: h.has(isSilent), Repeated: h.has(isRepeated), Granted: h.hasGrant(o.rollout), Stop: o.desired.Cmd == meta.CmdStop,
			}
			if e := h.agentNamed(pl.agent); e != nil {
				s.Agent = e.exportAgent()
			}
			s.Barred, s.HeldUntil = whyBarred(pl, o, s.Agent), pl.heldUntil(s.Agent)
			s.NoArtifact = s.Barred != "" && s.Barred == o.problem
			if snap.standsStill() {
				s.Barred, s.NoArtifact = "the fleet stands still", false
			}
			if s.Barred == "" && p.target.fillsPlaces {
				s.Barred = o.withPlace(h).problem
			}
			to = append(to, s)
		}
	}
	return to
}

func whyBarred(pl *plan, o *offer, a api.HostAgent) string {
	switch {
	case pl.hold != nil:
		return "held: " + pl.hold.Reason
	case a.Held:
		return "held on the host: " + a.HoldReason
	}
	return o.problem
}

// heldUntil is when nothing holds an agent any more, as far as anybody has said.
func (p *plan) heldUntil(a api.HostAgent) time.Time {
	if p.hold == nil || a.Held {
		return time.Time{}
	}
	return p.holdEnds
}
