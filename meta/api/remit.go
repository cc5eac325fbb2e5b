package api

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/meta"
)

// Remit is a part of the fleet that an operator may change: AGENTS@GROUP, such
// as falcon-*@canary. AGENTS is an agent's name in which each * stands for any
// letters; GROUP is the name of one group, or * for every host. Both sides are
// always said: demo@* is one agent everywhere, *@canary every agent in a group.
type Remit string

// Remits limit an operator to what one of them covers; none: to nothing less
// than their role.
type Remits []Remit

// maxRemits bounds how many one operator has.
const maxRemits = 64

// anything is a side of a remit that covers everything.
const anything = "*"

// Reach is what a change is about: an agent, and the hosts on which.
type Reach struct {
	Agent string // empty: every agent
	Scope Scope  // everyone, a group or a host
}

// parts are the two sides of a remit.
func (r Remit) parts() (agents, group string) {
	agents, group, _ = strings.Cut(string(r), "@")
	return agents, group
}

// validate checks a remit by itself; why is empty when it is right.
func (r Remit) validate() (why string) {
	agents, group, both := strings.Cut(string(r), "@")
	switch {
	case !both:
		return fmt.Sprintf("has no @: want AGENTS@GROUP, such as %s@* for every host", orAnything(agents))
	case strings.Contains(agents, "**") || !meta.ValidName(strings.ReplaceAll(agents, "*", "x")):
		return "begins with no name of an agent: want letters, digits and . _ + -, with * for any of them"
	case group != anything && !meta.ValidName(group):
		return "ends with no name of a group: want one, or * for every host"
	}
	return ""
}

func orAnything(s string) string {
	if s == "" {
		return anything
	}
	return s
}

// coversAgent reports whether it is for an agent; for every one when that is empty.
func (r Remit) coversAgent(agent string) bool {
	agents, _ := r.parts()
	if agents == anything {
		return true
	}
	matches, err := path.Match(agents, agent)
	return agent != "" && matches && err == nil
}

// coversScope reports whether it is for every host of a scope. isMember says
// whether a host is in a group.
func (r Remit) coversScope(s Scope, isMember func(host, group string) bool) bool {
	_, group := r.parts()
	switch s.Kind {
	case ScopeEveryone:
		return group == anything
	case ScopeGroup:
		return group == anything || group == s.Name && s.Name != ""
	case ScopeHost:
		return group == anything || isMember(s.Name, group)
	case ScopeAgent: // what is about an agent is its Reach.Agent
	}
	return false
}

// Covering are those of them that cover a reach; none when there are none.
// isMember says whether a host is in a group.
func (rs Remits) Covering(reach Reach, isMember func(host, group string) bool) (those Remits) {
	for _, r := range rs {
		if r.validate() == "" && r.coversAgent(reach.Agent) && r.coversScope(reach.Scope, isMember) {
			those = append(those, r)
		}
	}
	return those
}

// Strings are the remits as text.
func (rs Remits) Strings() (texts []string) {
	for _, r := range rs {
		texts = append(texts, string(r))
	}
	return texts
}

// String is all of them for people.
func (rs Remits) String() string { return strings.Join(rs.Strings(), ", ") }

// RemitsOf are the remits of a list of texts; none of an empty one.
func RemitsOf(texts []string) (rs Remits) {
	for _, text := range texts {
		rs = append(rs, Remit(strings.TrimSpace(text)))
	}
	return rs
}

// Within is a role with what it is limited to, for people.
func (r Role) Within(rs Remits) string {
	if len(rs) == 0 {
		return string(r)
	}
	return string(r) + " of " + rs.String()
}

// validateRemits refuses remits of a role that has none, and what is no remit.
// The error is an [*Error] of KindInvalid with its Field.
func validateRemits(role Role, rs Remits) error {
	if len(rs) > 0 && role != RoleOperator {
		return fieldErr("remits", "the role %s has none: only an operator is limited to parts of the fleet", printable.Clip(string(role)))
	}
	if len(rs) > maxRemits {
		return fieldErr("remits", "%d are too many: at most %d", len(rs), maxRemits)
	}
	for i, r := range rs {
		field := fmt.Sprintf("remits[%d]", i)
		if why := r.validate(); why != "" {
			return fieldErr(field, "%q %s", printable.Clip(string(r)), why)
		}
		if slices.Index(rs, r) != i {
			return fieldErr(field, "%q is said twice", r)
		}
	}
	return nil
}

// InWords is the reach for people, such as "agent demo on group canary".
func (r Reach) InWords() string {
	agent := "every agent"
	if r.Agent != "" {
		agent = "agent " + r.Agent
	}
	return agent + " on " + r.Scope.InWords()
}

// remit is the smallest one that covers the reach, for people.
func (r Reach) remit() string {
	group := anything
	switch r.Scope.Kind {
	case ScopeGroup:
		group = r.Scope.Name
	case ScopeHost:
		group = "GROUP-OF-" + r.Scope.Name
	case ScopeEveryone, ScopeAgent:
	}
	return orAnything(r.Agent) + "@" + group
}

// OutsideRemit is the refusal of a change by somebody whose remits do not cover
// it: what, such as "update assignment demo/everyone", and its reach; without one
// no remit covers it.
func OutsideRemit(by Actor, what string, reach *Reach) *Error {
	e := &Error{Kind: KindOutsideRemit}
	if reach == nil {
		e.Message = fmt.Sprintf("%s may not %s: that is for operators without remits, and %s has %s", by.Name, what, by.Name, by.Remits)
		e.Hint = "ask an operator without remits, or an admin to do it"
		return e
	}
	e.Message = fmt.Sprintf("%s may not %s: that takes a remit for %s, and %s has %s", by.Name, what, reach.InWords(), by.Name, by.Remits)
	e.Hint = fmt.Sprintf("ask an operator without remits, or an admin for the remit %s (ops-meta user set, token create)", reach.remit())
	return e
}
