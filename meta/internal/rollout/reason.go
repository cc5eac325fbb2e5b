package rollout

import "github.com/ops-updater/ops-updater/meta/api"

// Reason says why, in words that machines may compare.
type Reason string

// Why a rollout's state or stage changed.
const (
	ReasonCreated         Reason = "created"
	ReasonApprovalNeeded  Reason = "approval-needed"
	ReasonApproved        Reason = "approved"
	ReasonStageStarted    Reason = "stage-started"
	ReasonSkipped         Reason = "skipped"       // an operator went on with the last stage
	ReasonRetried         Reason = "retried"       // failed hosts try again
	ReasonStageSettled    Reason = "stage-settled" // every host is judged; the soak time runs
	ReasonWindowClosed    Reason = "window-closed"
	ReasonWindowOpened    Reason = "window-opened"
	ReasonTooManyFailures Reason = "too-many-failures"  // more than maxFailed
	ReasonFailureRate     Reason = "failure-rate"       // more than maxFailedPct
	ReasonStageFailed     Reason = "stage-failed"       // no host of the stage succeeded
	ReasonNoEvidence      Reason = "no-evidence"        // nobody was heard of
	ReasonNoArtifact      Reason = "no-artifact"        // for the arch of any host, or of this one
	ReasonTooManySilent   Reason = "too-many-silent"    // more hosts are silent than were heard of
	ReasonSmallSample     Reason = "sample-too-small"   // failures, but fewer judged than minSample
	ReasonPaused          Reason = api.ReasonPaused     // by a person
	ReasonStandstill      Reason = api.ReasonStandstill // the server's database went back
	ReasonResumed         Reason = "resumed"
	ReasonAborted         Reason = "aborted"
	ReasonRollback        Reason = "rollback-requested"
	ReasonRolledBack      Reason = "rolled-back"
	ReasonRollbackEnded   Reason = "rollback-ended" // without returning every host
	ReasonSuperseded      Reason = "superseded"
	ReasonAssigned        Reason = "assigned" // the release was assigned at once
	ReasonExtended        Reason = "deadlines-extended"
	ReasonCompleted       Reason = "completed"
)

// Why a host was granted the target now, or was not.
const (
	ReasonGranted       Reason = "granted"
	ReasonNotRunning    Reason = "not-running"
	ReasonOnTarget      Reason = "on-target"
	ReasonHostHeld      Reason = "host-held"
	ReasonHostBusy      Reason = "host-busy" // in the middle of another rollout
	ReasonNotYet        Reason = "not-yet"   // a later stage's host
	ReasonLimitReached  Reason = "limit-reached"
	ReasonInFlightLimit Reason = "in-flight-limit"
	ReasonRateLimited   Reason = "rate-limited"
	ReasonOutsideWindow Reason = "outside-window"
	ReasonHostSilent    Reason = "host-silent"
	ReasonNotAsked      Reason = "not-asked" // nothing is in the way but its next heartbeat
)

// What a grant was judged on.
const (
	ReasonHealthy      Reason = "healthy"
	ReasonHostFailed   Reason = "host-failed"
	ReasonHostUndone   Reason = "host-rolled-back"
	ReasonDeadline     Reason = "deadline-passed"
	ReasonUnhealthy    Reason = "unhealthy-after-success"
	ReasonStopped      Reason = "stopped-on-target"  // by a host that cannot go back by itself
	ReasonHeldDeadline Reason = "held-past-deadline" // not judged: the deadline moves
)
