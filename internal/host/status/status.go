// Package status is the answer of a control script to the question whether its
// program runs.
package status

import (
	"fmt"

	"github.com/ops-updater/ops-updater/meta"
)

// Status is what an agent's control script says about it.
type Status struct {
	Word   string `json:"word"`             // started, stoped or unknown: the constants of meta
	Detail string `json:"detail,omitempty"` // why it is unknown, or counts as stoped
	First  string `json:"first,omitempty"`  // the first word printed, where it is no status
	Host   bool   `json:"host,omitempty"`   // it could not be asked, for a reason of the host's
	Code   string `json:"code,omitempty"`   // of that reason: see Unrunnable
}

// String is the status as the wire has it.
func (s Status) String() string {
	if s.Word == meta.StatusUnknown && s.Detail != "" {
		return s.Word + ": " + s.Detail
	}
	return s.Word
}

// Started reports whether the agent certainly runs.
func (s Status) Started() bool { return s.Word == meta.StatusStarted }

// Stopped reports whether the agent certainly does not run.
func (s Status) Stopped() bool { return s.Word == meta.StatusStopped }

// WordHint helps anyone who reads "unknown: started": the last line says it, the
// first word does not.
func (s Status) WordHint() string {
	if s.First == "" {
		return ""
	}
	return fmt.Sprintf(" (its first word is %q; started or stoped must come first)", s.First)
}

// Stranger says why the agent counts as stopped although its script says
// started, or nothing.
func (s Status) Stranger() string {
	if s.Stopped() {
		return s.Detail
	}
	return ""
}

// StoppedAlthough is for an agent whose script takes a stranger for it.
func StoppedAlthough(detail string) Status {
	return Status{Word: meta.StatusStopped, Detail: detail}
}

// Unknown is the status where none could be told.
func Unknown(detail string) Status { return Status{Word: meta.StatusUnknown, Detail: detail} }
