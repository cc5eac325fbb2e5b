package api

import (
	"context"
	"net/url"
	"strconv"
	"time"
)

// PlanQuery asks when which host would change if a schedule's channel pointed at
// a version. Nothing is written by it.
type PlanQuery struct {
	Schedule string
	Agent    string    // empty: every agent of the schedule
	Version  string    // that the channel would point at, of the one agent; empty: what it does
	From     time.Time // zero: now
	Takes    int       // seconds that each host is assumed to need; 0: as the server reckons
}

// PlanHorizon is how far a plan looks ahead.
const PlanHorizon = 400 * 24 * time.Hour

// SchedulePlan is when an agent of a schedule would change, wave by wave. Times are
// those of a fleet that is well, under the assumptions in Notes.
type SchedulePlan struct {
	Schedule string    `json:"schedule"`
	Agent    string    `json:"agent"`
	Channel  string    `json:"channel"`
	Version  string    `json:"version,omitempty"`  // that the channel points at, or would
	Assigned string    `json:"assigned,omitempty"` // that the scope is assigned
	Scope    Scope     `json:"scope"`
	Strategy string    `json:"strategy,omitempty"`
	From     time.Time `json:"from"`
	Takes    int       `json:"takes"`             // seconds that each host is assumed to need, from when it may have the version until it has shown that it works
	Rollout  string    `json:"rollout,omitempty"` // that is under way already
	// Reason is why nothing would begin, or why what begins would not come to its end
	// by itself; empty: it would complete.
	Reason  string      `json:"reason,omitempty"`
	Message string      `json:"message"`          // for people
	Begins  *time.Time  `json:"begins,omitempty"` // the rollout
	Ends    *time.Time  `json:"ends,omitempty"`   // every wave is over
	Stages  []PlanStage `json:"stages,omitempty"` // the waves, in their order
	// Hosts counts the hosts of the scope by what would become of them.
	Hosts map[PlanHostState]int `json:"hosts,omitempty"`
	Notes []string              `json:"notes,omitempty"` // what is assumed, and what nobody can know beforehand
}

// PlanStage is one wave of a plan. A time that is missing is not reached.
type PlanStage struct {
	Name     string     `json:"name"`
	Group    string     `json:"group,omitempty"`
	Hosts    int        `json:"hosts"` // that it lets have the version, or has already
	Begins   *time.Time `json:"begins,omitempty"`
	First    *time.Time `json:"first,omitempty"` // when the first host may have it
	Last     *time.Time `json:"last,omitempty"`  // when the last one may
	Ends     *time.Time `json:"ends,omitempty"`  // its hosts are well and its soak time is over
	Waits    []PlanWait `json:"waits,omitempty"` // for its window
	Approval bool       `json:"approval,omitempty"`
	// NotBefore: a person has to approve this wave or one before it, so its times are
	// the earliest that there can be.
	NotBefore bool `json:"notBefore,omitempty"`
}

// PlanWait is a time outside of a window.
type PlanWait struct {
	From  time.Time `json:"from"`
	Until time.Time `json:"until"`
}

// PlanHostState is what would become of a host.
type PlanHostState string

// What would become of a host. Only the first changes.
const (
	PlanHostChanges    PlanHostState = "changes"
	PlanHostAlready    PlanHostState = "already"    // runs the version
	PlanHostHeld       PlanHostState = "held"       // somebody holds it, without an end within the plan
	PlanHostSilent     PlanHostState = "silent"     // not heard of lately: it has it when it returns
	PlanHostNoArtifact PlanHostState = "noArtifact" // the release has none for its arch
	PlanHostOverruled  PlanHostState = "overruled"  // a narrower rule names a version for it
	PlanHostRefuses    PlanHostState = "refuses"    // it requires a signature that the release does not have: it would fail
	PlanHostFailed     PlanHostState = "failed"     // the version has failed on it
	PlanHostNotReached PlanHostState = "notReached" // nothing begins, or what does stops before it
)

// PlanHostStates are all of them.
func PlanHostStates() []PlanHostState {
	return []PlanHostState{
		PlanHostChanges, PlanHostAlready, PlanHostHeld, PlanHostSilent, PlanHostNoArtifact, PlanHostOverruled, PlanHostRefuses, PlanHostFailed, PlanHostNotReached,
	}
}

// PlanHost is one host of a plan.
type PlanHost struct {
	Host    string        `json:"host"`
	State   PlanHostState `json:"state"`
	Stage   string        `json:"stage,omitempty"` // the wave that surely has it
	From    *time.Time    `json:"from,omitempty"`  // when it may have the version at the earliest
	By      *time.Time    `json:"by,omitempty"`    // and at the latest; the same where the wave has no limits
	Chance  *PlanChance   `json:"chance,omitempty"`
	Message string        `json:"message,omitempty"` // why it would not change
}

// PlanChance is an earlier wave that takes a number of hosts: those that ask first.
type PlanChance struct {
	Stage string    `json:"stage"`
	From  time.Time `json:"from"`
}

// Validate checks q by itself. The error is an [*Error] of KindInvalid with its Field.
func (q PlanQuery) Validate() error {
	if q.Takes > int(PlanHorizon.Seconds()) {
		return fieldErr("takes", "is more than the %d days that a plan looks ahead", int(PlanHorizon.Hours()/24))
	}
	return nil
}

// Values are the query's fields as the query of an address.
func (q PlanQuery) Values() url.Values {
	v := url.Values{}
	setParam(v, "agent", q.Agent)
	setParam(v, "version", q.Version)
	if !q.From.IsZero() {
		v.Set("from", q.From.UTC().Format(time.RFC3339Nano))
	}
	if q.Takes > 0 {
		v.Set("takes", strconv.Itoa(q.Takes))
	}
	return v
}

// SchedulePlan says when what would change by a schedule, agent by agent.
func (c *Client) SchedulePlan(ctx context.Context, q PlanQuery) (Page[SchedulePlan], error) {
	return getResource[Page[SchedulePlan]](ctx, c, q.Values(), "schedules", q.Schedule, "plan")
}

// SchedulePlanHosts lists the hosts of the plan of one agent, by name. Give From, so
// that all pages are of one plan.
func (c *Client) SchedulePlanHosts(ctx context.Context, q PlanQuery, page Cursor) (Page[PlanHost], error) {
	v := q.Values()
	setPage(v, page.Limit, page.After)
	return getResource[Page[PlanHost]](ctx, c, v, "schedules", q.Schedule, "plan", "hosts")
}
