package api

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/meta"
)

// maxNamed is how many names a message lists.
const maxNamed = 8

// Unknown is the error of KindInvalid for a value that is none of those known,
// with the nearest one; nil when it is one of them, or empty.
func Unknown(field, value string, known []string) error {
	if value == "" || slices.Contains(known, value) {
		return nil
	}
	e := Errorf(KindInvalid, "there is no %s %q", field, printable.Clip(value))
	e.Field = field
	if near := Nearest(value, known); near != "" {
		e.Hint = fmt.Sprintf("did you mean %q?", near)
	} else if len(known) > 0 {
		e.Hint = "there are " + SomeOf(known)
	}
	return e
}

// SomeOf lists names, and not more of them than one reads.
func SomeOf(names []string) string {
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	if len(names) > maxNamed {
		names = append(names[:maxNamed:maxNamed], "…")
	}
	return strings.Join(names, ", ")
}

// Phases are the phases in which an agent can be reported.
func Phases() []string {
	return []string{
		string(meta.PhaseIdle), string(meta.PhaseDownloading), string(meta.PhaseStaging), string(meta.PhaseStopping), string(meta.PhaseStarting),
		string(meta.PhaseProbation), string(meta.PhaseRollingBack), string(meta.PhaseRolledBack), string(meta.PhaseFailed), string(meta.PhaseHeld),
	}
}

// TrustRefusing is, among the [TrustStates], that of hosts which do not believe
// their server's replies.
const TrustRefusing = "refusing"

// TrustStates are what a list of hosts can be narrowed to by what they verify.
func TrustStates() []string {
	return []string{string(meta.TrustOff), string(meta.TrustWarn), string(meta.TrustRequire), TrustRefusing}
}

// RolloutStates are what a list of rollouts can be narrowed to: the states,
// and active, which is all but the last ones.
func RolloutStates() []string {
	return []string{
		"active", string(RolloutDraft), string(RolloutAwaitingApproval), string(RolloutRunning), string(RolloutPaused),
		string(RolloutInconclusive), string(RolloutRollingBack), string(RolloutAborted), string(RolloutCompleted),
	}
}

// GrantStates are what a list of grants can be narrowed to.
func GrantStates() []string { return []string{"pending", OutcomeSucceeded, OutcomeFailed} }

// EventKinds are the kinds of events of a host.
func EventKinds() []string {
	return []string{
		EventFirstSeen, EventVersion, EventStatus, EventPhase, EventError, EventRemoved, EventHost, EventConflict, EventGrant, EventJudged,
		EventSilent, EventReturned, EventHeld,
	}
}

// NamesOf lists the names of all.
func NamesOf[T any](all []T, name func(T) string) []string {
	names := make([]string, 0, len(all))
	for _, one := range all {
		names = append(names, name(one))
	}
	return names
}
