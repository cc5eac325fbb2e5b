package control

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ops-updater/ops-updater/internal/host/status"
	"github.com/ops-updater/ops-updater/meta"
)

// Unasked is the status where the script could not be run.
func Unasked(err error) status.Status {
	s := status.Unknown(err.Error())
	if u, ok := errors.AsType[*Unrunnable](err); ok {
		s.Host, s.Code = u.Host, u.Code
	}
	return s
}

// ParseStatus reads the outcome of `control status`: the first word printed,
// exactly. A substring test would call "not started" started.
func ParseStatus(o Outcome) status.Status {
	if o.Crowded != "" {
		return status.Unknown(o.Explain("control status"))
	}
	if o.TimedOut {
		return status.Unknown("control status did not return within " + Roundly(o.Limit))
	}
	if o.ExitCode != 0 {
		return status.Unknown(o.Explain("control status"))
	}
	words := strings.Fields(o.Head)
	if len(words) == 0 {
		return status.Unknown("control status printed nothing")
	}
	switch words[0] {
	case meta.StatusStarted:
		return status.Status{Word: meta.StatusStarted}
	case meta.StatusStopped, "stopped":
		return status.Status{Word: meta.StatusStopped}
	}
	s := status.Unknown(o.LastLine())
	s.First = fmt.Sprintf("%.40s", words[0])
	return s
}

// Roundly is a time as people read it; what was left of a longer one comes
// with nanoseconds.
func Roundly(d time.Duration) string {
	if d < time.Second {
		return d.Round(time.Millisecond).String()
	}
	return d.Round(100 * time.Millisecond).String()
}
