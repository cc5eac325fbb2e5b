// Package rollout decides how a release goes out: which host may have it now,
// what a host's report says about it, and when a rollout goes on, stops or
// ends. It is pure: every function takes what is known and the time, and
// returns what is to be so and why; it reads no clock, no store and no fleet.
//
//	draft ─▶ awaitingApproval ─▶ running ─▶ completed
//	              ▲   │            │  ▲
//	              └───┼──── stage ─┘  │ resume
//	                  ▼               │
//	              paused, inconclusive┘ ─▶ aborted
//	                                    ─▶ rollingBack ─▶ aborted
//
// The values that must hold exactly (how many hosts were granted, succeeded,
// failed) are part of the [api.Rollout] itself and change only in the same
// transaction as the grant they count; what changes by itself (who waits, who
// is held or silent) arrives with each [Tick] as a [Census]. A failure is
// judged in the transaction that records it, so that no grant can slip
// between a failed canary and the closed gate.
package rollout
