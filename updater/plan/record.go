package plan

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/ops-updater/ops-updater/meta"
)

// Record is what the journal keeps about one agent. It holds intent and
// outcomes, which the host cannot be asked for; what is true on the host is
// asked of disk and control every time.
type Record struct {
	Name     string   `json:"name"`
	At       Place    `json:"at,omitzero"`        // where the agent is
	Current  string   `json:"current,omitempty"`  // what .version named there when it was seen last, or made to
	Previous string   `json:"previous,omitempty"` // the version before the last committed one
	Unproven string   `json:"unproven,omitempty"` // replaced another one and was superseded before it proved itself
	Txn      *Txn     `json:"txn,omitempty"`      // half done; nil otherwise
	Last     Outcome  `json:"last"`
	Blocks   []Block  `json:"blocks,omitempty"`
	Learned  Learned  `json:"learned,omitzero"`
	Config   string   `json:"config,omitempty"` // digest of the remote config it was started with
	Crash    CrashLog `json:"crash,omitzero"`
	Retried  int64    `json:"retried,omitempty"` // the server's last word that what failed is to be tried again
	// Verified is what is known of the signatures of the versions on disk.
	Verified []Verification `json:"verified,omitempty"`
	// Elsewhere are places where the agent is not, but where something of it may lie:
	// where it was before a move, and where one that failed was to go.
	Elsewhere []Place `json:"elsewhere,omitempty"`
}

// NoteElsewhere takes those of the targets of a transaction that has ended for elsewhere
// at which the agent is not.
func (r *Record) NoteElsewhere(targets ...Target) {
	r.LeaveElsewhere(r.At)
	for _, t := range targets {
		if t.Version != "" && t.Place != r.At && !slices.Contains(r.Elsewhere, t.Place) {
			r.Elsewhere = append(r.Elsewhere, t.Place)
		}
	}
}

// LeaveElsewhere forgets a place: nothing of the agent lies there that is to be removed.
func (r *Record) LeaveElsewhere(p Place) {
	r.Elsewhere = slices.DeleteFunc(r.Elsewhere, func(e Place) bool { return e == p })
}

// Whereabouts are where an agent is, and between which two targets it is on its way: what
// outlives a lost journal.
type Whereabouts struct {
	At   Place  `json:"at"`
	Act  Act    `json:"act,omitempty"` // under way; empty, with To: ActMove
	From Target `json:"from,omitzero"` // no version: nothing ran before
	To   Target `json:"to,omitzero"`
	// Elsewhere is [Record.Elsewhere].
	Elsewhere []Place `json:"elsewhere,omitempty"`
}

// Whereabouts of the agent, as r has them.
func (r Record) Whereabouts() Whereabouts {
	w := Whereabouts{At: r.At, Elsewhere: slices.Clone(r.Elsewhere)}
	if t := r.Txn; t != nil && t.leavesTraces() {
		w.Act, w.From, w.To = t.Act, t.From, t.To
	}
	return w
}

// leavesTraces: who knew nothing of t could leave two versions running, or take a version
// that has not proved itself for one that has.
func (t *Txn) leavesTraces() bool {
	switch {
	case t.Act == ActConfig:
		return false // the next look at the config begins it again
	case t.From.Version != "" && t.From.Place != t.To.Place:
		return true
	}
	return t.Phase != meta.PhaseDownloading && t.Phase != meta.PhaseStaging
}

// FoundBy is a record that was lost, with what its whereabouts still say. What was under
// way is undone, and may then begin again: what may run where it went is stopped before
// anything else, and whether it had failed is found out anew.
func (r Record) FoundBy(w Whereabouts, now time.Time) Record {
	r.At, r.Elsewhere = w.At, w.Elsewhere
	if w.To.Version == "" {
		return r
	}
	if w.From.Version != "" {
		r.At = w.From.Place
	}
	act := cmp.Or(w.Act, ActMove)
	r.Txn = &Txn{
		Act: act, Reason: "its journal was lost", From: w.From, To: w.To, Phase: meta.PhaseRollingBack, Began: now, Since: now,
		Failure: "the journal was lost during the " + w.describeWay(act), Code: CodeJournalLost,
		Wish: Wish{Place: w.To.Place, Agent: meta.DesiredAgent{Name: r.Name, Version: w.To.Version}},
	}
	return r
}

func (w Whereabouts) describeWay(act Act) string {
	switch {
	case w.From.Version == "":
		return fmt.Sprintf("%s of %s", act, w.To.Version)
	case w.From.WorkDir != w.To.WorkDir:
		return fmt.Sprintf("%s from %s to %s", act, w.From.WorkDir, w.To.WorkDir)
	}
	return fmt.Sprintf("%s from %s to %s", act, w.From.Version, w.To.Version)
}

// Txn is a transaction: one version in one place takes over from another.
type Txn struct {
	Act      Act        `json:"act"`
	Reason   string     `json:"reason"`
	From     Target     `json:"from,omitzero"` // no version: nothing ran before
	To       Target     `json:"to"`
	Left     Place      `json:"left,omitzero"` // that root gives up: others can change it
	Wish     Wish       `json:"wish"`          // as it was when the transaction began
	Key      string     `json:"key"`           // what is blocked when the new version fails
	Phase    meta.Phase `json:"phase"`
	Began    time.Time  `json:"began"`
	Since    time.Time  `json:"since"` // when Phase was entered
	Resumed  int        `json:"resumed,omitempty"`
	Failure  string     `json:"failure,omitempty"`  // why it is being rolled back
	Code     string     `json:"code,omitempty"`     // of Failure
	Blame    bool       `json:"blame,omitempty"`    // the release is at fault
	Notes    string     `json:"notes,omitempty"`    // what an operator should know of how it went
	NoteCode string     `json:"noteCode,omitempty"` // of what Notes says of a signature
	Config   string     `json:"config,omitempty"`   // digest of the remote config, of ActConfig
}

// StoppedNothing reports whether the journal does not know that anything was stopped.
func (t *Txn) StoppedNothing() bool {
	return t.Phase == meta.PhaseDownloading || t.Phase == meta.PhaseStaging || t.Phase == meta.PhaseStopping
}

// Outcome is how the last transaction, or the last attempt at anything else, ended.
type Outcome struct {
	Phase   meta.Phase `json:"phase"`             // idle, rolledBack or failed
	Version string     `json:"version,omitempty"` // that was wanted
	Error   string     `json:"error,omitempty"`
	Code    string     `json:"code,omitempty"` // of Error
	Key     string     `json:"key,omitempty"`  // of the block that a failure made
	At      Place      `json:"at,omitzero"`    // where that was wanted, of a transaction
	Rollout string     `json:"rollout,omitempty"`
	Since   time.Time  `json:"since"`
}

// Learned is the digest that an install found behind an address.
type Learned struct {
	Source string `json:"source"` // digest of the address
	MD5    string `json:"md5"`
}

// Back-off of starts after crashes.
const (
	crashBase  = 5 * time.Second
	crashLimit = 5 * time.Minute
	crashCalm  = 10 * time.Minute // this long after a start it counts as a new crash
)

// CrashLog counts the starts of an agent that did not stay up.
type CrashLog struct {
	Starts int       `json:"starts"`
	Last   time.Time `json:"last"`
	Until  time.Time `json:"until"` // no start before
}

// WithStart notes a start at now: the first crash after a calm time is answered
// at once, the following ones wait twice as long each time.
func (c CrashLog) WithStart(now time.Time) CrashLog {
	if now.Sub(c.Last) > crashCalm {
		c.Starts = 0
	}
	c.Starts++
	c.Last = now
	c.Until = now.Add(doubledUpTo(crashBase, crashLimit, c.Starts))
	return c
}
