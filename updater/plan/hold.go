package plan

import "time"

// Hold is an operator's word on this host that an agent's version stays as it
// is, whatever the server wants. A held agent that crashed is started again.
type Hold struct {
	Reason  string    `json:"reason"`
	Since   time.Time `json:"since"`
	Until   time.Time `json:"until,omitzero"`    // it ends by itself then; zero: never
	Version string    `json:"version,omitempty"` // to go back to first; empty: stay at what is there
	Against string    `json:"against,omitempty"` // the hold ends when another version than this is wanted
}
