package rollout

import (
	"fmt"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
)

// Report is what a host last said of the agent that is rolled out.
type Report struct {
	Agent api.HostAgent
	// Desired is the version the host says it is working towards; empty when
	// it does not say.
	Desired    string
	Stop       bool // the agent shall be stopped, not started
	At         time.Time
	SinceGrant bool // it was made after the grant that is judged
	Repeated   bool // the one before said the same
}

// Verdict is what a report, or silence, says about a grant.
type Verdict struct {
	Outcome string // [api.OutcomeSucceeded], [api.OutcomeFailed]; empty: nothing yet
	Reason  Reason
	Message string

	HostReason string // the code that the host gives
}

// Judge is the verdict of a report on g, a grant of r. An earlier success is
// taken back when the host turns unhealthy; a failure is final.
func Judge(r api.Rollout, g api.Grant, rep Report) Verdict {
	a := rep.Agent
	if g.Outcome == api.OutcomeFailed || a.Rollout != "" && a.Rollout != r.ID {
		return Verdict{} // final, or about something else than this grant
	}
	switch phase := a.Phase; {
	case phase == meta.PhaseIdle || phase == "":
		return judgeIdle(r, g, rep)
	case !aboutGrant(r, rep):
		return Verdict{} // it may still speak of what was wanted before
	case beforeRetry(r, a):
		return Verdict{} // the failure that it shall try again after
	case phase == meta.PhaseRolledBack:
		return failedVerdict(ReasonHostUndone, a, "went back to "+orNone(a.Version))
	case phase == meta.PhaseFailed:
		return failedVerdict(ReasonHostFailed, a, "failed")
	}
	return Verdict{} // in the middle of its transaction, or held
}

// aboutGrant reports whether a host speaks of a grant of r: it echoes the rollout,
// or says since it was granted that it works towards the target.
func aboutGrant(r api.Rollout, rep Report) bool {
	if rep.Desired != "" && rep.Desired != r.Version {
		return false
	}
	return rep.Agent.Rollout != "" || rep.Desired != "" && rep.SinceGrant
}

func judgeIdle(r api.Rollout, g api.Grant, rep Report) Verdict {
	a := rep.Agent
	judged := g.Outcome != ""
	switch {
	case OnTarget(r, rep) && !judged:
		return Verdict{Outcome: api.OutcomeSucceeded, Reason: ReasonHealthy, Message: "runs " + r.Version + " in good health"}
	case stuckOnTarget(r, rep) && (judged || rep.Repeated && rep.SinceGrant) && !Ended(r.State):
		return failedVerdict(ReasonStopped, a, fmt.Sprintf("is %s on %s, and its sidecar knows no way back", a.Status, r.Version))
	case judged && !Ended(r.State) && (a.Version != r.Version || statusAsWanted(a.Status, !rep.Stop)):
		return failedVerdict(ReasonUnhealthy, a, fmt.Sprintf("was healthy and now is %s at %s", orNone(a.Status), orNone(a.Version)))
	}
	return Verdict{}
}

// stuckOnTarget reports whether a host is on the target, which does not run there, and
// its sidecar is one of those that know no phases: they do not go back by
// themselves.
func stuckOnTarget(r api.Rollout, rep Report) bool {
	a := rep.Agent
	return a.Phase == "" && a.Version == r.Version && !rep.Stop && statusAsWanted(a.Status, true)
}

// TakesBack reports whether a verdict for that reason means that the host is
// no longer told the target, because it cannot go back by itself.
func TakesBack(reason string) bool { return reason == string(ReasonStopped) }

// OnTarget reports whether a host runs r's target in good health.
func OnTarget(r api.Rollout, rep Report) bool {
	a := rep.Agent
	return a.Version == r.Version && statusAsWanted(a.Status, rep.Stop) && (a.Phase == "" || a.Phase == meta.PhaseIdle)
}

// Overdue is the verdict on a grant that is not judged when its deadline has
// passed. A held host is not failed by silence: its deadline moves instead,
// which the reason says.
func Overdue(r api.Rollout, g api.Grant, last Report, now time.Time) Verdict {
	if g.Outcome != "" || now.Before(g.Deadline) {
		return Verdict{}
	}
	if last.Agent.Held || last.Agent.Phase == meta.PhaseHeld {
		return Verdict{Reason: ReasonHeldDeadline, Message: "the host is held"}
	}
	took := g.Deadline.Sub(g.Granted).Round(time.Second)
	seen := "it has not been heard of since it was granted"
	if last.At.After(g.Granted) {
		seen = fmt.Sprintf("it last reported %s, %s, %s", orNone(last.Agent.Version), orNone(last.Agent.Status), orNone(string(last.Agent.Phase)))
	}
	why := ReasonDeadline
	if stuckOnTarget(r, last) {
		why = ReasonStopped
	}
	return failedVerdict(why, last.Agent, fmt.Sprintf("not healthy on %s within %s: %s", r.Version, took, seen))
}

func failedVerdict(why Reason, a api.HostAgent, message string) Verdict {
	if a.Error != "" {
		message += ": " + a.Error
	}
	return Verdict{Outcome: api.OutcomeFailed, Reason: why, Message: message, HostReason: a.Reason}
}

func statusAsWanted(status string, stop bool) bool {
	if stop {
		return status == meta.StatusStopped || status == "stopped"
	}
	return status == meta.StatusStarted
}

func orNone(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}
