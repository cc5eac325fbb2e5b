package agent

import (
	"path/filepath"
	"strings"
	"time"

	"github.com/ops-updater/ops-updater/internal/host/control"
)

// asking is a control script that answers a question, found among processes.
type asking struct {
	script string // its path
	verb   string
	since  time.Time
}

func (a asking) describe(d Dir) string {
	if a.script == "" {
		return "its control script"
	}
	return "control " + a.verb + " of " + filepath.Base(strings.TrimSuffix(strings.TrimPrefix(a.script, d.Path+"/"), "/"+scriptName))
}

func (a asking) describeAge() string {
	if a.since.IsZero() {
		return ""
	}
	return " since " + control.Roundly(max(time.Since(a.since), 0))
}
