package plan

import (
	"time"

	"github.com/ops-updater/ops-updater/internal/host/status"
)

// Observation is what disk and control say about an agent, now.
type Observation struct {
	Version  string        `json:"version,omitempty"` // that .version names
	Complete bool          `json:"complete"`          // and is there
	Versions []string      `json:"versions,omitempty"`
	Status   status.Status `json:"status"` // of Version
	Pid      int           `json:"pid,omitempty"`
	At       time.Time     `json:"at"`                // when status was asked
	OwnedBy  string        `json:"ownedBy,omitempty"` // another sidecar, which looks after the agent
	Busy     bool          `json:"busy,omitempty"`    // status is unknown only because of another run of the script
}

// Probe is one look during probation.
type Probe struct {
	Status    status.Status `json:"status"`
	Pid       int           `json:"pid,omitempty"`
	HasHealth bool          `json:"hasHealth,omitempty"`
	Unhealthy string        `json:"unhealthy,omitempty"` // why control health failed
	Unasked   string        `json:"unasked,omitempty"`   // why nobody could ask: no evidence about the version
}
