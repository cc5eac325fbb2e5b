package api

import (
	"cmp"

	"github.com/ops-updater/ops-updater/internal/printable"
)

// What an operator may do to a rollout.
const (
	ActionApprove  = "approve"  // opens the gate the rollout waits at
	ActionPause    = "pause"    // stops new grants
	ActionResume   = "resume"   // after pause or inconclusive
	ActionAbort    = "abort"    // ends it; what was not granted never will be
	ActionRetry    = "retry"    // lets the hosts that failed try again, and goes on
	ActionSkip     = "skip"     // begins the last stage, whatever those before it wait for
	ActionRollback = "rollback" // ends it and makes a rollout to the previous release
)

// NewRollout asks for a rollout.
type NewRollout struct {
	Agent    string    `json:"agent"`
	Version  string    `json:"version"`
	Scope    Scope     `json:"scope"`
	Strategy string    `json:"strategy,omitempty"` // by name; empty: the agent's default
	Inline   *Strategy `json:"inline,omitempty"`   // instead of a named one
	Draft    bool      `json:"draft,omitempty"`    // made, not started
	Reason   string    `json:"reason,omitempty"`   // for people, kept with the first transition
	Force    bool      `json:"force,omitempty"`    // also when no host of the scope can have the release
}

// AssignOptions say how an assignment is made.
type AssignOptions struct {
	DryRun bool // change nothing, but refuse what the real call refuses
	Force  bool // also when no host of the scope can have the release
}

// RolloutAction is what an operator does to a rollout, and why.
type RolloutAction struct {
	Reason string `json:"reason,omitempty"`
}

// NewArtifact registers a tarball that is hosted elsewhere; the server
// fetches and hashes it.
type NewArtifact struct {
	Arch     string `json:"arch"`
	External string `json:"external,omitempty"` // base URL: {external}/{arch}/{name}-{version}.tar.gz

	// From is the address of a tarball that is fetched once and kept here,
	// instead of External: for places that hosts cannot reach or log in to.
	From string  `json:"from,omitempty"`
	As   FetchAs `json:"as,omitzero"` // of From; used once and kept nowhere
}

// NewToken asks for a token.
type NewToken struct {
	Name   string `json:"name"`
	Role   Role   `json:"role"`             // viewer, operator, admin, enroll
	Remits Remits `json:"remits,omitempty"` // of an operator: what the token may change at most; none: everything
	TTL    int64  `json:"ttl,omitempty"`    // seconds; 0: it never expires
}

// ReleaseNotes is what of a release may be written after it was made.
type ReleaseNotes struct {
	Notes string `json:"notes"`
}

// Validate checks the name and the role of a token that an operator makes.
// The error is an [*Error] of KindInvalid with its Field.
func (t Token) Validate() error {
	switch t.Role {
	case RoleViewer, RoleOperator, RoleAdmin, RoleEnroll:
		return cmp.Or(validName("name", t.Name), validateRemits(t.Role, t.Remits))
	case RoleHost:
		return fieldErr("role", "host is for credentials that enrolment gives")
	}
	return fieldErr("role", "%q is not known: want viewer, operator, admin or enroll", printable.Clip(string(t.Role)))
}
