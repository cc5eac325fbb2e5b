package httpapi

import (
	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/meta/api"
)

// remitRule is how an operation of operators is held against the remits of its
// caller. One of which nothing is said refuses every caller who has remits.
type remitRule string

const (
	// remitEach lets the call begin: each change that it makes is held against the
	// remits where it is recorded, in the transaction (package store).
	remitEach remitRule = "each"
	// remitAgent also asks, before the body is read or anything is fetched, for a
	// remit that covers the path's agent on every host.
	remitAgent remitRule = "agent"
	// remitNone is for operators without remits.
	remitNone remitRule = "none"
)

// inWords is the rule for the document.
func (r remitRule) inWords() string {
	switch r {
	case remitEach:
		return " Where an operator has remits, one has to cover each change."
	case remitAgent:
		return " Where an operator has remits, one has to cover the agent on every host."
	case remitNone:
		return " Not for an operator who has remits."
	}
	return ""
}

// checkRemits refuses a caller whose remits do not go with the operation. What
// everybody may do who can look is not held against them.
func (r route) checkRemits(c *call) error {
	if len(c.caller.Remits) == 0 || rank[r.role] < rank[api.RoleOperator] {
		return nil
	}
	what := c.Method + " " + printable.Clip(c.URL.Path)
	switch r.remit {
	case remitEach:
		return nil
	case remitAgent:
		reach := api.Reach{Agent: c.PathValue("agent"), Scope: api.Scope{Kind: api.ScopeEveryone}}
		if len(c.caller.Remits.Covering(reach, func(string, string) bool { return false })) > 0 {
			return nil
		}
		return api.OutsideRemit(c.actor(), what, &reach)
	case remitNone:
	}
	return api.OutsideRemit(c.actor(), what, nil)
}
