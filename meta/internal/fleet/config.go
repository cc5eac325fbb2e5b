package fleet

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
)

// Config is everything that decides what hosts are told.
type Config struct {
	// Wanted is what operators said. Its Rollouts are those whose grants
	// still count: unfinished ones, and an aborted one until another rollout
	// or assignment replaces it, since hosts that were granted keep its
	// target. Only a running one has its hosts ask for grants.
	api.Wanted

	PublicURL    string // this server as hosts reach it; tarballs are below it
	Interval     int    // seconds between heartbeats; 0: each host's own
	WaitInterval int    // the same for hosts that wait for a running rollout; 0: Interval
	SerialMark   string // goes with the serial, for hosts to echo
	Signing      Signing
}

// rule is what one scope says of one agent.
type rule struct {
	scope      api.Scope
	priority   int             // of the group
	assignment *api.Assignment // nil: only rollouts
	rollouts   []api.Rollout   // newest first
}

type ruleKey struct {
	scope api.Scope
	agent string
}

// ruleTable finds the rules of a scope.
type ruleTable struct {
	everyone []*agentRule
	groups   map[string][]*agentRule
	hosts    map[string][]*agentRule
}

type agentRule struct {
	agent string
	rule
}

// newRuleTable joins assignments and rollouts of the same (agent, scope).
func newRuleTable(w api.Wanted) ruleTable {
	byKey := make(map[ruleKey]*agentRule)
	get := func(agent string, s api.Scope) *agentRule {
		k := ruleKey{s, agent}
		if byKey[k] == nil {
			byKey[k] = &agentRule{agent: agent, rule: rule{scope: s}}
		}
		return byKey[k]
	}
	for i, a := range w.Assignments {
		get(a.Agent, a.Scope).assignment = &w.Assignments[i]
	}
	for _, r := range w.Rollouts {
		ar := get(r.Agent, r.Scope)
		ar.rollouts = append(ar.rollouts, r)
	}
	t := ruleTable{groups: make(map[string][]*agentRule), hosts: make(map[string][]*agentRule)}
	for _, ar := range byKey {
		slices.SortStableFunc(ar.rollouts, newestFirst)
		t.addRule(ar)
	}
	return t
}

func (t *ruleTable) addRule(ar *agentRule) {
	switch ar.scope.Kind {
	case api.ScopeHost:
		t.hosts[ar.scope.Name] = append(t.hosts[ar.scope.Name], ar)
	case api.ScopeGroup:
		t.groups[ar.scope.Name] = append(t.groups[ar.scope.Name], ar)
	case api.ScopeEveryone:
		t.everyone = append(t.everyone, ar)
	case api.ScopeAgent: // for holds only
	}
}

func newestFirst(a, b api.Rollout) int {
	return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), cmp.Compare(b.ID, a.ID))
}

// holdTable finds the hold that covers a host's agent.
type holdTable struct {
	everyone *api.Hold
	agents   map[string]*api.Hold
	groups   map[string]*api.Hold
	hosts    map[string]*api.Hold
	next     time.Time // when the first of them ends; zero: none does
}

// newHoldTable leaves out what has ended by now. Of several holds on one
// scope the one that ends last counts.
func newHoldTable(holds []api.Hold, now time.Time) holdTable {
	t := holdTable{agents: map[string]*api.Hold{}, groups: map[string]*api.Hold{}, hosts: map[string]*api.Hold{}}
	for i := range holds {
		h := &holds[i]
		if h.Until != nil {
			if !h.Until.After(now) {
				continue
			}
			if t.next.IsZero() || h.Until.Before(t.next) {
				t.next = *h.Until
			}
		}
		t.addHold(h)
	}
	return t
}

func (t *holdTable) addHold(h *api.Hold) {
	put := func(m map[string]*api.Hold) { m[h.Scope.Name] = longerHold(m[h.Scope.Name], h) }
	switch h.Scope.Kind {
	case api.ScopeEveryone:
		t.everyone = longerHold(t.everyone, h)
	case api.ScopeAgent:
		put(t.agents)
	case api.ScopeGroup:
		put(t.groups)
	case api.ScopeHost:
		put(t.hosts)
	}
}

func longerHold(a, b *api.Hold) *api.Hold {
	switch {
	case a == nil:
		return b
	case a.Until == nil:
		return a
	case b.Until == nil || b.Until.After(*a.Until):
		return b
	}
	return a
}

// holdOn returns the hold on one agent of a host, the narrowest first, or nil.
func (t *holdTable) holdOn(host, agent string, groups []string) *api.Hold {
	if h := t.hosts[host]; h != nil {
		return h
	}
	for _, g := range groups {
		if h := t.groups[g]; h != nil {
			return h
		}
	}
	if h := t.agents[agent]; h != nil {
		return h
	}
	return t.everyone
}

// endOn is when the last hold on one agent of a host ends; zero when one has no end.
func (t *holdTable) endOn(host, agent string, groups []string) (end time.Time) {
	on := []*api.Hold{t.hosts[host], t.agents[agent], t.everyone}
	for _, g := range groups {
		on = append(on, t.groups[g])
	}
	for _, h := range on {
		switch {
		case h == nil:
		case h.Until == nil:
			return time.Time{}
		case h.Until.After(end):
			end = *h.Until
		}
	}
	return end
}

// matcher is a group ready to match, in order of priority.
type matcher struct {
	group    api.Group
	selector *Selector
	relevant bool // something in force names it
}

// matchesNothing stands for a selector that does not compile.
var matchesNothing = &Selector{}

// newMatchers orders the groups by priority, then name. A stored group whose
// selector does not compile matches nothing and becomes a problem: it can
// never keep the server from starting.
func newMatchers(w api.Wanted) ([]matcher, []string) {
	var problems []string
	ms := make([]matcher, 0, len(w.Groups))
	inForce := groupsInForce(w)
	for _, g := range w.Groups {
		sel, err := selectors.compileSelector(g.Selector)
		if err != nil {
			problems = append(problems, fmt.Sprintf("group %s matches nothing: %v", g.Name, err))
			sel = matchesNothing
		}
		ms = append(ms, matcher{group: g, selector: sel, relevant: inForce[g.Name]})
	}
	slices.SortFunc(ms, func(a, b matcher) int {
		return cmp.Or(cmp.Compare(b.group.Priority, a.group.Priority), cmp.Compare(a.group.Name, b.group.Name))
	})
	return ms, problems
}

func groupsInForce(w api.Wanted) map[string]bool {
	names := make(map[string]bool)
	note := func(s api.Scope) {
		if s.Kind == api.ScopeGroup {
			names[s.Name] = true
		}
	}
	for _, a := range w.Assignments {
		note(a.Scope)
	}
	for _, h := range w.Holds {
		note(h.Scope)
	}
	for _, r := range w.Rollouts {
		note(r.Scope)
		for _, s := range r.Strategy.Stages {
			names[s.Group] = true
		}
	}
	return names
}
