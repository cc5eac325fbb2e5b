package api

import "time"

// RolloutState is where a rollout stands.
type RolloutState string

// The states of a rollout. The last three of them end it.
const (
	RolloutDraft            RolloutState = "draft"
	RolloutAwaitingApproval RolloutState = "awaitingApproval"
	RolloutRunning          RolloutState = "running"
	RolloutPaused           RolloutState = "paused"
	RolloutInconclusive     RolloutState = "inconclusive" // too little to judge; waits like paused
	RolloutRollingBack      RolloutState = "rollingBack"
	RolloutAborted          RolloutState = "aborted"
	RolloutCompleted        RolloutState = "completed"
)

// Strategy is a named way of rolling out, kept in the fleet file.
type Strategy struct {
	Name         string     `json:"name" yaml:"name"`
	Stages       []Stage    `json:"stages" yaml:"stages"`
	OnFailure    string     `json:"onFailure,omitempty" yaml:"onFailure,omitempty"`              // pause (default), abort, rollback
	MaxFailed    int        `json:"maxFailed,omitempty" yaml:"maxFailed,omitempty"`              // hosts; more than this fails the rollout
	MaxFailedPct float64    `json:"maxFailedPct,omitempty" yaml:"maxFailedPct,omitempty"`        // percent of granted hosts; 0: not used
	MinSample    int        `json:"minSample,omitempty" yaml:"minSample,omitempty"`              // judged hosts before the percent counts
	Deadline     int        `json:"deadline,omitempty" yaml:"deadline,omitempty" unit:"seconds"` // seconds a granted host has; 0: 900
	MaxInFlight  int        `json:"maxInFlight,omitempty" yaml:"maxInFlight,omitempty"`          // grants not yet judged; 0: no limit
	Window       *Window    `json:"window,omitempty" yaml:"window,omitempty"`                    // for every stage that has none
	Rate         *RateLimit `json:"rate,omitempty" yaml:"rate,omitempty"`                        // hosts per period
	Parallel     bool       `json:"parallel,omitempty" yaml:"parallel,omitempty"`                // also on hosts in the middle of another agent's rollout
	Revision     int64      `json:"revision,omitempty" yaml:"-"`
}

// Stage is one step of a rollout. Exactly one of Count and Percent is set;
// both are cumulative over the hosts of the stage's group (or of the
// rollout's scope when it has none).
type Stage struct {
	Name     string  `json:"name,omitempty" yaml:"name,omitempty"`
	Count    int     `json:"count,omitempty" yaml:"count,omitempty"`
	Percent  float64 `json:"percent,omitempty" yaml:"percent,omitempty"` // 0 < p ≤ 100
	Group    string  `json:"group,omitempty" yaml:"group,omitempty"`
	Approval bool    `json:"approval,omitempty" yaml:"approval,omitempty"`        // wait for a person before it starts
	Soak     int     `json:"soak,omitempty" yaml:"soak,omitempty" unit:"seconds"` // seconds of health after the last success
	Window   *Window `json:"window,omitempty" yaml:"window,omitempty"`
}

// Window is when grants may be made.
type Window struct {
	Days []string `json:"days,omitempty" yaml:"days,omitempty"` // mon … sun; empty: every day
	From string   `json:"from" yaml:"from"`                     // HH:MM
	To   string   `json:"to" yaml:"to"`                         // HH:MM, exclusive; before From: past midnight
	Zone string   `json:"zone,omitempty" yaml:"zone,omitempty"` // IANA; empty: UTC
}

// RateLimit is at most Hosts grants in any Period seconds.
type RateLimit struct {
	Hosts  int `json:"hosts" yaml:"hosts"`
	Period int `json:"period" yaml:"period" unit:"seconds"` // seconds
}

// Rollout moves a scope from what it has to one release. Agent, scope,
// version and strategy never change; a new target is a new rollout.
type Rollout struct {
	ID         string       `json:"id"`
	Agent      string       `json:"agent"`
	Scope      Scope        `json:"scope"`
	Version    string       `json:"version"`
	Previous   string       `json:"previous,omitempty"` // what the scope's assignment said before
	Strategy   Strategy     `json:"strategy"`
	Salt       string       `json:"salt"`
	State      RolloutState `json:"state"`
	Stage      int          `json:"stage"`  // index of the current stage
	Reason     string       `json:"reason"` // of the last transition, machine-readable
	Supersedes string       `json:"supersedes,omitempty"`
	Schedule   string       `json:"schedule,omitempty"` // that began it
	RollbackOf string       `json:"rollbackOf,omitempty"`
	CreatedAt  time.Time    `json:"createdAt"`
	CreatedBy  string       `json:"createdBy"`
	UpdatedAt  time.Time    `json:"updatedAt"`
	Progress   []StageCount `json:"progress"`
	Revision   int64        `json:"revision,omitempty"`

	// What the engine must remember between two ticks.
	Approved     int        `json:"approved,omitempty"`     // stages below this one need no more approval
	Waived       int        `json:"waived,omitempty"`       // stages below this one pass on an operator's word
	WindowClosed bool       `json:"windowClosed,omitempty"` // no grants until its window opens
	StageSince   time.Time  `json:"stageSince"`             // when the current stage began
	SettledAt    *time.Time `json:"settledAt,omitempty"`    // since when the stage waits for nothing but its soak
	JudgedBefore int        `json:"judgedBefore,omitempty"` // hosts judged before the last resume: thresholds start there
	RetriedAt    *time.Time `json:"retriedAt,omitempty"`    // when failed hosts were last let try again: failures before it say nothing
	FailedBefore int        `json:"failedBefore,omitempty"` // hosts failed before the last resume

	// Withdrawn: what it granted no longer counts, because the assignment, or
	// another rollout that completed, took its place. Until then hosts keep
	// what they were granted, also by one that was aborted.
	Withdrawn bool `json:"withdrawn,omitempty"`
}

// MayGrant reports whether hosts may be granted the target at all: while the
// rollout runs, and by one that takes hosts back until it ends, so that a host
// that was away is not left on a bad release. What a person paused stays so.
func (r Rollout) MayGrant() bool {
	switch r.State {
	case RolloutRunning:
		return true
	case RolloutPaused, RolloutInconclusive, RolloutAwaitingApproval:
		return r.RollbackOf != "" && r.Reason != ReasonPaused && r.Reason != ReasonStandstill
	case RolloutDraft, RolloutRollingBack, RolloutAborted, RolloutCompleted:
	}
	return false
}

// Why a rollout is paused that no host may be granted by meanwhile.
const (
	ReasonPaused     = "paused"     // a person wants it so
	ReasonStandstill = "standstill" // the server's database went back
)

// StageCount is how a stage stands, in hosts. Each host counts for one stage:
// the one that granted it, or else the first it is a member of. Granted,
// Succeeded, Failed and Forgiven are exact: they change in the transaction
// that makes or judges a grant. The others are as the last tick saw them.
type StageCount struct {
	Size      int `json:"size"`      // hosts that belong to it, as known now
	Granted   int `json:"granted"`   // let have the target
	Succeeded int `json:"succeeded"` // granted, and have it in good health
	Failed    int `json:"failed"`    // rolled back, failed or silent past the deadline
	Held      int `json:"held"`
	Forgiven  int `json:"forgiven,omitempty"` // of Failed, those before the last resume
	Already   int `json:"already,omitempty"`  // on the target without a grant
	Waiting   int `json:"waiting,omitempty"`  // may be granted when they ask
	Silent    int `json:"silent,omitempty"`   // not granted and not seen lately
	HeldLate  int `json:"heldLate,omitempty"` // granted, not judged, and held since
	// NoArtifact cannot have the target: it has no artifact for their arch.
	NoArtifact int `json:"noArtifact,omitempty"`
}

// Transition is one change of a rollout's state or stage.
type Transition struct {
	Rollout string       `json:"rollout"`
	Time    time.Time    `json:"time"`
	Actor   string       `json:"actor"` // token name, or "ops-meta"
	From    RolloutState `json:"from"`
	To      RolloutState `json:"to"`
	Stage   int          `json:"stage"`
	Reason  string       `json:"reason"`  // machine-readable, such as stage-complete
	Message string       `json:"message"` // for people
}

// Grant lets one host have a rollout's target. There is at most one per
// (rollout, host), and it is durable before the reply that carries it.
type Grant struct {
	Rollout  string     `json:"rollout"`
	Host     string     `json:"host"`
	Stage    int        `json:"stage"`
	Granted  time.Time  `json:"granted"`
	Deadline time.Time  `json:"deadline"`
	Outcome  string     `json:"outcome,omitempty"` // succeeded, failed; empty: not yet judged
	Judged   *time.Time `json:"judged,omitempty"`
	Reason   string     `json:"reason,omitempty"` // machine-readable, such as host-rolled-back

	HostReason string `json:"hostReason,omitempty"` // the host's own code, such as wrong-digest
}
