package api

import (
	"context"
	"slices"
	"time"
)

// RolloutHostState is how one host stands to a rollout.
type RolloutHostState string

// The states of a host in a rollout; the counts of a [StageCount] are of them.
const (
	RolloutHostWaiting    RolloutHostState = "waiting"   // may be granted in its stage
	RolloutHostInFlight   RolloutHostState = "inFlight"  // granted, not yet judged
	RolloutHostSucceeded  RolloutHostState = "succeeded" // granted, and has it in good health
	RolloutHostAlready    RolloutHostState = "already"   // on the target without a grant
	RolloutHostFailed     RolloutHostState = "failed"    // granted, and the target failed there
	RolloutHostHeld       RolloutHostState = "held"
	RolloutHostNoArtifact RolloutHostState = "noArtifact" // there is nothing for its arch
	RolloutHostSilent     RolloutHostState = "silent"     // not granted and not heard of lately
)

// RolloutHostStates is all of them.
func RolloutHostStates() []RolloutHostState {
	return []RolloutHostState{
		RolloutHostWaiting, RolloutHostInFlight, RolloutHostSucceeded, RolloutHostAlready,
		RolloutHostFailed, RolloutHostHeld, RolloutHostNoArtifact, RolloutHostSilent,
	}
}

// Known reports whether s is one of the states.
func (s RolloutHostState) Known() bool { return slices.Contains(RolloutHostStates(), s) }

// RolloutHost is one host of a rollout, as it stands now.
type RolloutHost struct {
	Host   string           `json:"host"`
	State  RolloutHostState `json:"state"`
	Stage  int              `json:"stage"`            // index of the stage that granted it, or that it belongs to
	Reason string           `json:"reason,omitempty"` // machine-readable, such as not-yet or host-rolled-back

	HostReason string     `json:"hostReason,omitempty"` // the host's own code, such as wrong-digest
	Message    string     `json:"message,omitempty"`    // for people: why it waits, is held or has failed
	Version    string     `json:"version,omitempty"`    // that it reports now
	Status     string     `json:"status,omitempty"`
	Phase      string     `json:"phase,omitempty"`
	LastSeen   *time.Time `json:"lastSeen,omitempty"`
	Granted    *time.Time `json:"granted,omitempty"`
	Deadline   *time.Time `json:"deadline,omitempty"`
	Judged     *time.Time `json:"judged,omitempty"`
}

// RolloutHosts lists a rollout's hosts by name. It knows State, one of the
// RolloutHost states.
func (c *Client) RolloutHosts(ctx context.Context, id string, o ListOptions) (Page[RolloutHost], error) {
	return getResource[Page[RolloutHost]](ctx, c, o.Values(), "rollouts", id, "hosts")
}
