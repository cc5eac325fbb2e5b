package fleet

import (
	"slices"
	"sync"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
)

// profile is what hosts matched by the same rules are told, up to their
// grants and, where a hold applies, their versions.
type profile struct {
	snapshot *Snapshot
	target   target
	groups   []string // that match and are in force, sorted
	plans    []plan   // by agent name
	fixed    *Reply   // the only answer, when nothing depends on the host

	mu      sync.RWMutex
	answers map[string]*Reply
}

// maxAnswers bounds the answers a profile remembers; beyond it they are made
// again each time, so that hosts cannot fill the memory.
const maxAnswers = 4096

// plan is one agent of a profile.
type plan struct {
	agent  string
	offers []offer // best first; at most the last one is an assignment's
	hold   *api.Hold
	// holdEnds is when the last hold ends that covers it; zero: one has no end.
	holdEnds time.Time
}

// dependsOnHost reports whether the answer depends on the host.
func (p *plan) dependsOnHost() bool { return p.hold != nil || p.hasRollouts() || p.lacksArtifacts() }

func (p *plan) hasRollouts() bool { return len(p.offers) > 0 && p.offers[0].rollout != "" }

func (s *Snapshot) newProfile(host string, matched []int, t target) *profile {
	p := &profile{snapshot: s, target: t, answers: make(map[string]*Reply)}
	for _, i := range matched {
		p.groups = append(p.groups, s.matchers[i].group.Name)
	}
	byPriority := slices.Clone(p.groups)
	slices.Sort(p.groups)
	names, rules := s.candidateRules(host, matched)
	depends := false
	for _, name := range names {
		pl := plan{agent: name, offers: s.offersOf(name, rules[name], t), hold: s.holds.holdOn(host, name, byPriority)}
		if pl.hold != nil {
			pl.holdEnds = s.holds.endOn(host, name, byPriority)
		}
		depends = depends || pl.dependsOnHost()
		p.plans = append(p.plans, pl)
	}
	if !depends && !t.fillsPlaces {
		p.fixed = p.buildReply(question{})
	}
	return p
}

// offersOf lists what rules can tell of one agent, up to the first assignment
// that names a version: what comes after it can never win.
func (s *Snapshot) offersOf(agent string, rules []rule, t target) []offer {
	var offers []offer
	for _, r := range rules {
		var assignment api.Assignment
		if r.assignment != nil {
			assignment = *r.assignment
		}
		for _, ro := range r.rollouts {
			src := s.sourceOf(agent, ro.Version)
			src.assignment, src.rollout = assignment, ro.ID
			if ro.RetriedAt != nil {
				src.retry = ro.RetriedAt.Unix()
			}
			o := src.offerFor(t)
			o.open = ro.MayGrant() && o.problem == ""
			offers = append(offers, o)
		}
		if assignment.Version != "" {
			src := s.sourceOf(agent, assignment.Version)
			src.assignment = assignment
			return append(offers, src.offerFor(t))
		}
	}
	return offers
}

// chooseOffer returns the offer a host gets of an agent, nil for none, and the
// running rollouts that it could be granted instead.
func (p *plan) chooseOffer(h *host) (*offer, []string) {
	var waits []string
	for i := range p.offers {
		o := &p.offers[i]
		if o.rollout == "" || h.hasGrant(o.rollout) {
			return o, waits
		}
		if o.open && !h.tookBack(o.rollout) {
			waits = append(waits, o.rollout)
		}
	}
	return nil, waits
}

// question is what a profile is asked for: the answer to a host.
type question struct {
	host  *host
	doubt bool // it may have been told what this server does not know
}

// answerQuestion finds or makes what a host is told. The key says for each agent that
// depends on the host what was chosen for it.
func (p *profile) answerQuestion(q question) *Reply {
	if q.host != nil && p.snapshot.standsStill() {
		return p.answerStill(q)
	}
	if p.fixed != nil {
		return p.fixed
	}
	var buf [128]byte
	key := buf[:0]
	for i := range p.plans {
		key = p.appendKey(key, &p.plans[i], q)
	}
	p.mu.RLock()
	r := p.answers[string(key)]
	p.mu.RUnlock()
	if r != nil {
		return r
	}
	r = p.buildReply(q)
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.answers) < maxAnswers {
		p.answers[string(key)] = r
	}
	return r
}

func (p *profile) appendKey(key []byte, pl *plan, q question) []byte {
	if pl.hold != nil || pl.lacksArtifacts() || p.target.fillsPlaces {
		key = p.appendReported(key, pl, q)
	}
	if pl.hold != nil || !pl.hasRollouts() {
		return key
	}
	for i := range pl.offers {
		switch id := pl.offers[i].rollout; {
		case id == "" || q.host.hasGrant(id):
			return append(key, byte(i), byte(i>>8))
		case q.host.tookBack(id):
			key = append(key, byte(i), byte(i>>8), 'b')
		}
	}
	return append(key, 0xff, 0xff)
}

// appendReported adds what an answer that keeps things takes from a report.
func (p *profile) appendReported(key []byte, pl *plan, q question) []byte {
	a, found := q.host.reportedState(pl.agent)
	for _, part := range []string{a.Version, a.RunUser, a.WorkDir} {
		key = append(append(key, part...), 0)
	}
	if !found {
		key = append(key, 'n')
	}
	if p.target.fillsPlaces {
		key = append(append(key, q.host.facts.Value().runUser...), 0)
		key = append(key, byte('0'+countOf(q.host.namesWorkDirs())))
	}
	return append(key, 0)
}

// buildReply makes an answer. A question without a host is for profiles that don't
// depend on it.
func (p *profile) buildReply(q question) *Reply {
	r := &Reply{compiled: p.snapshot.number, groups: p.groups, Wanted: make([]Wanted, 0, len(p.plans))}
	desired := make([]meta.DesiredAgent, 0, len(p.plans))
	for i := range p.plans {
		pl := &p.plans[i]
		o, waits := pl.chooseOffer(q.host)
		wanted := o
		switch {
		case o == nil:
		case pl.hold != nil:
			o, waits = p.offerKept(pl, o, q), nil
			wanted = o
		case o.problem != "":
			o = p.offerRunning(pl, o, q)
		}
		if o != nil && p.target.fillsPlaces {
			o = o.withPlace(q.host)
		}
		for _, id := range waits {
			r.waits = append(r.waits, wait{agent: pl.agent, rollout: id})
		}
		if o == nil {
			continue
		}
		r.Wanted = append(r.Wanted, Wanted{Agent: pl.agent, Version: wanted.desired.Version, Cmd: wanted.desired.Cmd, Problem: o.problem, Held: pl.hold != nil})
		if !o.untold {
			desired = append(desired, o.desired)
		}
	}
	r.encodeBody(p, desired)
	return r
}
