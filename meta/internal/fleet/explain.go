package fleet

import (
	"fmt"
	"slices"
	"unique"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
)

// Explain tells what a host is told and why: every rule that speaks of it,
// which one wins, holds, and where rollouts stand. A host never heard of is
// explained by its name alone.
func (f *Fleet) Explain(name string) api.Explanation { return f.explainBy(f.snapshot.Load(), name) }

// ExplainBy is why a snapshot, which need not be the one in use, tells a host
// what it tells it of an agent.
func (f *Fleet) ExplainBy(snap *Snapshot, host, agent string) string {
	for _, a := range f.explainBy(snap, host).Agents {
		if a.Agent == agent {
			return a.Reason
		}
	}
	return ""
}

func (f *Fleet) explainBy(snap *Snapshot, name string) api.Explanation {
	sh := f.shardOf(name)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	h := sh.hosts[name]
	if h == nil {
		h = &host{name: name, grants: sh.early[name], facts: unique.Make(facts{dialect: meta.DialectV1, protocol: meta.Protocol})}
		return snap.explainHost(h, f.factsOf(h))
	}
	e := snap.explainHost(h, f.factsOf(h))
	e.Known = true
	e.Problems = append(e.Problems, h.listProblems()...)
	return e
}

func (s *Snapshot) explainHost(h *host, f Facts) api.Explanation {
	e := api.Explanation{Host: f.Name, Groups: s.Groups(f), Agents: []api.AgentExplanation{}, Serial: s.Serial(), Problems: s.Problems()}
	var matched []int
	for i, m := range s.matchers {
		if m.selector.Match(f) {
			matched = append(matched, i)
		}
	}
	p := s.profileByFacts(f, h.facts.Value().targetOf())
	names, rules := s.candidateRules(f.Name, matched)
	for _, name := range names {
		e.Agents = append(e.Agents, p.explainAgent(name, rules[name], h))
	}
	return e
}

func (p *profile) explainAgent(name string, rules []rule, h *host) api.AgentExplanation {
	a := api.AgentExplanation{Agent: name, Reported: h.reportedVersion(name), Rules: explainRules(rules, h)}
	winner := "no rule applies: this agent is left out of the answer"
	for _, r := range a.Rules {
		if r.Wins {
			winner = fmt.Sprintf("%s %s", r.Scope.InWords(), winText(r))
		}
	}
	a.Reason = winner
	if w := p.answerQuestion(question{host: h}).wantedOf(name); w != nil {
		a.Version, a.Cmd, a.Problem = w.Version, w.Cmd, w.Problem
	}
	if st := p.snapshot.cfg.Standstill; st != nil {
		a.Reason = "the fleet stands still (" + st.Reason + "), so it keeps what it reports; otherwise " + winner
		return a
	}
	for i := range p.plans {
		if p.plans[i].agent == name && p.plans[i].hold != nil {
			a.Hold = p.plans[i].hold
			a.Reason = fmt.Sprintf("held (%s: %s), so it keeps what it has; otherwise %s", a.Hold.Scope.InWords(), a.Hold.Reason, winner)
		}
	}
	return a
}

// explainRules lists every candidate in the order they are asked.
func explainRules(rules []rule, h *host) []api.Rule {
	var out []api.Rule
	won := false
	for _, r := range rules {
		for _, ro := range r.rollouts {
			e := api.Rule{Scope: r.scope, Priority: r.priority, Version: ro.Version, Rollout: ro.ID, State: string(ro.State)}
			granted := h.hasGrant(ro.ID)
			e.Wins, e.Reason = !won && granted, rolloutReason(won, h, ro)
			won = won || e.Wins
			out = append(out, e)
		}
		if r.assignment == nil {
			continue
		}
		e := api.Rule{Scope: r.scope, Priority: r.priority, Version: r.assignment.Version}
		e.Wins, e.Reason = !won && e.Version != "", assignmentReason(won, e.Version)
		won = won || e.Wins
		out = append(out, e)
	}
	return out
}

func rolloutReason(won bool, h *host, ro api.Rollout) string {
	switch {
	case won:
		return "a rule before it wins"
	case h.hasGrant(ro.ID):
		return "this host has its grant"
	case h.tookBack(ro.ID):
		return "it did not run on this host, which is told the release before"
	case ro.MayGrant():
		return "this host waits for its grant"
	}
	return "this host has no grant, and none are made while it is " + string(ro.State)
}

func assignmentReason(won bool, version string) string {
	switch {
	case won:
		return "a rule before it wins"
	case version == "":
		return "it names no version"
	}
	return "the narrowest rule that applies"
}

// Overruled reports whether a rule that is narrower than scope names a version
// of an agent for a host: what the scope is told does not reach it.
func (s *Snapshot) Overruled(f Facts, agent string, scope api.Scope) bool {
	if scope.Kind == api.ScopeHost {
		return false
	}
	if assignsVersion(s.rules.hosts[f.Name], agent) {
		return true
	}
	for _, m := range s.matchers {
		if scope.Kind == api.ScopeGroup && m.group.Name == scope.Name {
			return false
		}
		if assignsVersion(s.rules.groups[m.group.Name], agent) && m.selector.Match(f) {
			return true
		}
	}
	return false
}

// HoldOn is the hold that keeps an agent of a host as it is, or nil.
func (s *Snapshot) HoldOn(f Facts, agent string) *api.Hold {
	var groups []string
	for _, m := range s.matchers {
		if s.holds.groups[m.group.Name] != nil && m.selector.Match(f) {
			groups = append(groups, m.group.Name)
		}
	}
	return s.holds.holdOn(f.Name, agent, groups)
}

// assignsVersion reports whether one of a scope's rules assigns a version of agent.
func assignsVersion(rules []*agentRule, agent string) bool {
	return slices.ContainsFunc(rules, func(r *agentRule) bool {
		return r.agent == agent && r.assignment != nil && r.assignment.Version != ""
	})
}

func winText(r api.Rule) string {
	if r.Rollout != "" {
		return "by rollout " + r.Rollout
	}
	return "by assignment"
}
