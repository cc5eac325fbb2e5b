package api

import "time"

// Actor is who writes: it goes into the audit log.
type Actor struct {
	Name string `json:"name"` // of the token or person, or "ops-meta" for the server itself
	From string `json:"from"` // remote address

	// Remits are what they may change at most; none: all that their role may.
	Remits Remits `json:"-"`
}

// MustNotExist as a noun's Revision asks that a write creates it.
const MustNotExist int64 = -1

// Cursor asks for one page of a listing: After is the Next of the page before,
// empty for the first; Limit 0 asks for the default.
type Cursor struct {
	After string
	Limit int
}

// NounKey names a noun, at a revision unless that is 0.
type NounKey struct {
	Name     string
	Revision int64
}

// ReleaseKey names a release, or with Arch one of its artifacts.
type ReleaseKey struct{ Agent, Version, Arch string }

// FilterNames are what a listing was narrowed to, as far as it can name
// something that does not exist.
type FilterNames struct {
	Agent, Group, Version, Status, Phase, Arch string
	Scope                                      Scope
	Actor, Action, Kind                        string // of the audit log
}

// AuditFilter narrows the audit log; empty fields don't.
type AuditFilter struct {
	Actor  string
	Action string
	Kind   string
	Name   string
	Since  time.Time // inclusive
	Until  time.Time // exclusive
}

// EventFilter narrows the hosts' events; empty fields don't.
type EventFilter struct {
	Host    string
	Agent   string
	Rollout string
	Kind    string
	Since   time.Time // inclusive
	Until   time.Time // exclusive
}

// RolloutFilter narrows the rollouts; empty fields don't.
type RolloutFilter struct {
	Agent  string
	State  RolloutState
	Active bool // only those that have not ended
}

// GrantFilter narrows the grants; empty fields don't.
type GrantFilter struct {
	Rollout string
	Host    string
	Outcome string // succeeded, failed
	Open    bool   // only those not yet judged
}

// Grant outcomes.
const (
	OutcomeSucceeded = "succeeded"
	OutcomeFailed    = "failed"
)

// Wanted is everything that decides what hosts are told, read at one moment.
// Serial grows with each change of it.
type Wanted struct {
	Serial      int64        `json:"serial"`
	Agents      []Agent      `json:"agents"`
	Releases    []Release    `json:"releases"`
	Groups      []Group      `json:"groups"`
	Assignments []Assignment `json:"assignments"`
	Holds       []Hold       `json:"holds"`
	Strategies  []Strategy   `json:"strategies"`
	Channels    []Channel    `json:"channels"`
	Schedules   []Schedule   `json:"schedules"`
	Rollouts    []Rollout    `json:"rollouts"` // those that have not ended
	Standstill  *Standstill  `json:"standstill,omitempty"`
	Eras        []string     `json:"-"` // of the database, the present one last
}

// Notification is a message for people that is owed until it is delivered. It
// is written in the same transaction as what it tells.
type Notification struct {
	ID        int64     `json:"id"`
	Kind      string    `json:"kind"` // such as rollout or host
	Target    string    `json:"target,omitempty"`
	Payload   []byte    `json:"payload"`
	CreatedAt time.Time `json:"createdAt"`
	Attempts  int       `json:"attempts"`
	NextAt    time.Time `json:"nextAt"`
	Error     string    `json:"error,omitempty"` // of the last attempt
	Dead      bool      `json:"dead,omitempty"`
}
