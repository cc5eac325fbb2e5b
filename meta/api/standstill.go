package api

import "time"

// Standstill is the state of a server whose database has gone back to an
// earlier moment: what it wants is old. Every host is told to keep what it
// reports, rollouts are paused and nothing is granted or judged, until a
// person has seen the difference and ends it.
type Standstill struct {
	Since  time.Time `json:"since"`
	Reason string    `json:"reason"` // for people: how the server knows
	// Paused says that the rollouts that were under way have been paused.
	Paused bool `json:"paused,omitempty"`
}

// StandstillReport is the difference between what hosts report and what they
// would be told once the standstill ends.
type StandstillReport struct {
	Active     bool        `json:"active"`
	Standstill *Standstill `json:"standstill,omitempty"`
	Hosts      int         `json:"hosts"`
	// Unheard is how many hosts have not reported since the standstill began:
	// what is known of them is as old as the database.
	Unheard int `json:"unheard"`
	// Unchanged is how many hosts would be told to go on as they are.
	Unchanged int    `json:"unchanged"`
	Moves     []Move `json:"moves"` // the most hosts first
	// Seen stands for the moves listed here: anyone who ends the standstill gives
	// it, and is refused when there are others by then.
	Seen string `json:"seen"`
}

// Move is what would happen to an agent on some hosts.
type Move struct {
	Agent  string   `json:"agent"`
	From   string   `json:"from"` // version; empty: it is not there
	To     string   `json:"to"`
	Cmd    string   `json:"cmd"`           // start or stop
	Why    string   `json:"why"`           // the rule that says so
	Bad    string   `json:"bad,omitempty"` // why that version is not to be trusted; empty: nothing is known against it
	Hosts  int      `json:"hosts"`
	Sample []string `json:"sample"` // names of some of them
}

// EndStandstill ends a standstill.
type EndStandstill struct {
	Seen   string `json:"seen"` // of the report that was looked at
	Reason string `json:"reason,omitempty"`
}
