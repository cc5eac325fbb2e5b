package fleet

import (
	"slices"
	"sync"

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
// anew each time, so that hosts cannot fill the memory.
const maxAnswers = 4096

// plan is one agent of a profile.
type plan struct {
	agent  string
	offers []offer // best first; at most the last one is an assignment's
	hold   *api.Hold
}

// depends reports whether the answer depends on the host.
func (p *plan) depends() bool {
	return p.hold != nil || (len(p.offers) > 0 && p.offers[0].rollout != "")
}

func (s *Snapshot) newProfile(host string, matched []int, t target) *profile {
	p := &profile{snapshot: s, target: t, answers: make(map[string]*Reply)}
	for _, i := range matched {
		p.groups = append(p.groups, s.matchers[i].group.Name)
	}
	byPriority := slices.Clone(p.groups)
	slices.Sort(p.groups)
	names, rules := s.candidates(host, matched)
	depends := false
	for _, name := range names {
		pl := plan{agent: name, offers: s.offers(name, rules[name], t), hold: s.holds.of(host, name, byPriority)}
		depends = depends || pl.depends()
		p.plans = append(p.plans, pl)
	}
	if !depends {
		p.fixed = p.build(nil, nil)
	}
	return p
}

// offers lists what rules can tell of one agent, up to the first assignment
// that names a version: what comes after it can never win.
func (s *Snapshot) offers(agent string, rules []rule, t target) []offer {
	var offers []offer
	for _, r := range rules {
		var assignment api.Assignment
		if r.assignment != nil {
			assignment = *r.assignment
		}
		for _, ro := range r.rollouts {
			src := s.source(agent, ro.Version)
			src.assignment, src.rollout = assignment, ro.ID
			o := src.offer(t)
			o.open = ro.State == api.RolloutRunning && o.problem == ""
			offers = append(offers, o)
		}
		if assignment.Version != "" {
			src := s.source(agent, assignment.Version)
			src.assignment = assignment
			return append(offers, src.offer(t))
		}
	}
	return offers
}

// choose returns the offer a host gets of an agent, nil for none, and the
// running rollouts that it could be granted instead.
func (p *plan) choose(granted func(rollout string) bool) (*offer, []string) {
	var waits []string
	for i := range p.offers {
		o := &p.offers[i]
		if o.rollout == "" || granted(o.rollout) {
			return o, waits
		}
		if o.open {
			waits = append(waits, o.rollout)
		}
	}
	return nil, waits
}

// view is what a profile needs of a host to answer it.
type view interface {
	granted(rollout string) bool
	reported(agent string) string
}

// answer finds or makes what a host is told. The key says for each agent that
// depends on the host what was chosen for it.
func (p *profile) answer(v view) *Reply {
	if p.fixed != nil {
		return p.fixed
	}
	var buf [128]byte
	key := buf[:0]
	for i := range p.plans {
		key = p.plans[i].appendKey(key, v)
	}
	p.mu.RLock()
	r := p.answers[string(key)]
	p.mu.RUnlock()
	if r != nil {
		return r
	}
	r = p.build(v.granted, v.reported)
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.answers) < maxAnswers {
		p.answers[string(key)] = r
	}
	return r
}

func (p *plan) appendKey(key []byte, v view) []byte {
	switch {
	case p.hold != nil:
		key = append(key, v.reported(p.agent)...)
		return append(key, 0)
	case p.depends():
		for i := range p.offers {
			if p.offers[i].rollout == "" || v.granted(p.offers[i].rollout) {
				return append(key, byte(i), byte(i>>8))
			}
		}
		return append(key, 0xff, 0xff)
	}
	return key
}

// build makes an answer. A nil function is for profiles that don't depend on
// the host.
func (p *profile) build(granted func(string) bool, reported func(string) string) *Reply {
	r := &Reply{compiled: p.snapshot.number, groups: p.groups, Wanted: make([]Wanted, 0, len(p.plans))}
	desired := make([]meta.DesiredAgent, 0, len(p.plans))
	for i := range p.plans {
		pl := &p.plans[i]
		o, waits := pl.choose(granted)
		if pl.hold != nil {
			o, waits = p.kept(pl, o, reported(pl.agent)), nil
		}
		for _, id := range waits {
			r.waits = append(r.waits, wait{agent: pl.agent, rollout: id})
		}
		if o == nil {
			continue
		}
		desired = append(desired, o.desired)
		r.Wanted = append(r.Wanted, Wanted{Agent: pl.agent, Version: o.desired.Version, Cmd: o.desired.Cmd, Problem: o.problem, Held: pl.hold != nil})
	}
	r.encode(p, desired)
	return r
}

// kept is what a held agent is told: the version it reports, as the rule that
// would apply says to run it, or a report only. Without a rule that applies
// there is nothing to keep.
func (p *profile) kept(pl *plan, would *offer, version string) *offer {
	if would == nil {
		return nil
	}
	kept := reportOnly(pl.agent)
	s := p.snapshot
	if version == "" || s.releases[releaseKey{pl.agent, version}] == nil || would.desired.Cmd == meta.CmdStop {
		return &kept
	}
	src := s.source(pl.agent, version)
	src.assignment = api.Assignment{RunUser: would.desired.RunUser, WorkDir: would.desired.WorkDir, Probation: would.desired.Probation, Keep: would.desired.Keep}
	src.rollout = ""
	kept = src.offer(p.target).keeping()
	return &kept
}
