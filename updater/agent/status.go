package agent

import (
	"errors"
	"fmt"
	"strings"
	"time"

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

// wordHint helps whoever reads "unknown: started": the last line says it, the
// first word does not.
func (s Status) wordHint() string {
	if s.First == "" {
		return ""
	}
	return fmt.Sprintf(" (its first word is %q; started or stoped must come first)", s.First)
}

// stranger says why the agent counts as stopped although its script says
// started, or nothing.
func (s Status) stranger() string {
	if s.Stopped() {
		return s.Detail
	}
	return ""
}

func stoppedAlthough(detail string) Status {
	return Status{Word: meta.StatusStopped, Detail: detail}
}

// unasked is the status where the script could not be run.
func unasked(err error) Status {
	s := unknown(err.Error())
	if u, ok := errors.AsType[*Unrunnable](err); ok {
		s.Host, s.Code = u.Host, u.Code
	}
	return s
}

func unknown(detail string) Status { return Status{Word: meta.StatusUnknown, Detail: detail} }

// ParseStatus reads the outcome of `control status`: the first word printed,
// exactly. A substring test would call "not started" started.
func ParseStatus(o Outcome) Status {
	if o.Crowded != "" {
		return unknown(o.explain("control status"))
	}
	if o.TimedOut {
		return unknown("control status did not return within " + roundly(o.Limit))
	}
	if o.ExitCode != 0 {
		return unknown(o.explain("control status"))
	}
	words := strings.Fields(o.Head)
	if len(words) == 0 {
		return unknown("control status printed nothing")
	}
	switch words[0] {
	case meta.StatusStarted:
		return Status{Word: meta.StatusStarted}
	case meta.StatusStopped, "stopped":
		return Status{Word: meta.StatusStopped}
	}
	s := unknown(o.LastLine())
	s.First = fmt.Sprintf("%.40s", words[0])
	return s
}

// roundly is a time as people read it; what was left of a longer one comes
// with nanoseconds.
func roundly(d time.Duration) string {
	if d < time.Second {
		return d.Round(time.Millisecond).String()
	}
	return d.Round(100 * time.Millisecond).String()
}
