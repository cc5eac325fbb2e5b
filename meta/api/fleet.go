package api

import (
	"time"

	"github.com/ops-updater/ops-updater/meta"
)

// HostReport is a host as its latest heartbeat left it, with the lines its
// timeline gains. The store keeps both in one transaction; a rollout judges
// its grants by them.
type HostReport struct {
	Host   Host    `json:"host"`
	Events []Event `json:"events"`
}

// HostSeen says when a host was last heard. It is kept in batches: losing the
// last few seconds of it is fine.
type HostSeen struct {
	Host string    `json:"host"`
	Seen time.Time `json:"seen"`
}

// GrantRequest is a host that would get a running rollout's target if it were
// granted. It is asked with each of its heartbeats until it is.
type GrantRequest struct {
	Rollout  string   `json:"rollout"`
	Host     string   `json:"host"`
	Agent    string   `json:"agent"`
	Groups   []string `json:"groups"`   // that match the host and that anything in force names, sorted
	Reported string   `json:"reported"` // the version it reports; empty: none
	Held     bool     `json:"held"`     // on the host itself
}

// Explanation is why a host is told what it is told.
type Explanation struct {
	Host     string             `json:"host"`
	Known    bool               `json:"known"`  // false: never heard of; only its name was matched
	Groups   []string           `json:"groups"` // that match, sorted
	Agents   []AgentExplanation `json:"agents"`
	Serial   int64              `json:"serial"`          // of the configuration this is from
	Trust    *meta.TrustReport  `json:"trust,omitempty"` // what the host verifies; nil: nothing, or it does not say
	Problems []string           `json:"problems,omitempty"`
}

// AgentExplanation is every rule that speaks of one agent on one host, best
// first, and what became of them.
type AgentExplanation struct {
	Agent    string `json:"agent"`
	Version  string `json:"version"`  // that the host is told
	Cmd      string `json:"cmd"`      // that the host is told; empty: only report
	Reported string `json:"reported"` // that the host said last
	Reason   string `json:"reason"`   // for people: which rule won and why
	Rules    []Rule `json:"rules"`
	Hold     *Hold  `json:"hold,omitempty"`
	Problem  string `json:"problem,omitempty"` // such as a release without an artifact for the host's arch
	// SignedBy is the id of the key that the version's artifact for the host's arch is
	// signed with; empty: it is not signed, or the host's arch is not known.
	SignedBy string `json:"signedBy,omitempty"`
	// Refusal is why the host refuses the version, or warns of it, by what it says that it
	// verifies; nil: it takes it, or nobody here knows better.
	Refusal *Refusal `json:"refusal,omitempty"`
	// What the host says of it itself, and the code of that: only the host knows its policy.
	HostError  string `json:"hostError,omitempty"`
	HostReason string `json:"hostReason,omitempty"`
	// Remits are those of tokens, users and sessions that cover the agent on this
	// host; who has none and is an operator may change it as well.
	Remits Remits `json:"remits,omitempty"`
}

// Refusal is why a host refuses a release that it is told to run.
type Refusal struct {
	Code  string `json:"code"`            // as the host will report it, such as unsigned
	Text  string `json:"text"`            // for people
	Hint  string `json:"hint,omitempty"`  // the next step
	Warns bool   `json:"warns,omitempty"` // the host only warns, and runs it all the same
}

// Rule is one candidate: an assignment, or a rollout on top of one.
type Rule struct {
	Scope    Scope  `json:"scope"`
	Priority int    `json:"priority,omitempty"` // of the group
	Version  string `json:"version"`
	Rollout  string `json:"rollout,omitempty"` // empty: the assignment itself
	State    string `json:"state,omitempty"`   // of the rollout
	Wins     bool   `json:"wins"`
	Reason   string `json:"reason"` // such as granted, waiting, a narrower scope wins
}

// HostQuery picks and pages hosts. Every field that is set must match.
type HostQuery struct {
	Search  string `json:"search,omitempty"` // part of the name, address or a label's value
	Group   string `json:"group,omitempty"`
	Agent   string `json:"agent,omitempty"`   // reports this agent
	Version string `json:"version,omitempty"` // of Agent, or of any agent
	Status  string `json:"status,omitempty"`  // first word of the status of Agent, or of any
	Phase   string `json:"phase,omitempty"`
	Arch    string `json:"arch,omitempty"`
	// Labels must all be equal.
	Labels  map[string]string `json:"labels,omitempty"`
	Failing bool              `json:"failing,omitempty"` // an agent failed, rolled back, or has an error
	Silent  bool              `json:"silent,omitempty"`
	Problem bool              `json:"problem,omitempty"` // has problems, such as clock skew
	Drifted bool              `json:"drifted,omitempty"` // reports a version other than wanted, or nothing of an agent that shall run
	InOrder bool              `json:"inOrder,omitempty"` // neither silent, nor failing, nor drifted
	// Trust: how strictly it verifies (off, warn, require: the strictest part
	// counts), or refusing: it does not believe this server's replies.
	Trust string `json:"trust,omitempty"`
	After string `json:"after,omitempty"` // cursor: the last name of the previous page
	Limit int    `json:"limit,omitempty"` // 0: 100
}

// Overview is the fleet at a glance.
type Overview struct {
	Hosts    int             `json:"hosts"`
	Silent   int             `json:"silent"`
	Failing  int             `json:"failing"`
	Problems int             `json:"problems"`
	Drifted  int             `json:"drifted"`
	InOrder  int             `json:"inOrder"`  // neither silent, nor failing, nor drifted
	Trust    map[string]int  `json:"trust"`    // how strictly hosts verify: off, warn, require
	Refusing int             `json:"refusing"` // that do not believe this server's replies
	Arches   map[string]int  `json:"arches"`
	Dialects map[string]int  `json:"dialects"`
	Agents   []AgentOverview `json:"agents"`
	At       time.Time       `json:"at"` // when it was counted
	// Standstill: hosts are not told what is wanted; nil: they are.
	Standstill *Standstill `json:"standstill,omitempty"`
}

// AgentOverview counts the hosts that report one agent.
type AgentOverview struct {
	Name     string         `json:"name"`
	Hosts    int            `json:"hosts"`
	Failing  int            `json:"failing"`
	Drifted  int            `json:"drifted"`
	Versions map[string]int `json:"versions"`
	Statuses map[string]int `json:"statuses"` // by first word
	Phases   map[string]int `json:"phases"`
}
