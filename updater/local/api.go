package local

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/ops-updater/ops-updater/meta"
)

// SocketName is the unix socket's name in the sidecar's var directory.
const SocketName = "ops-updater.sock"

// Status is what the sidecar knows about itself and its agents.
type Status struct {
	Version     string           `json:"version"`
	Installed   string           `json:"installed,omitempty"` // version of the installed program, where another one is current
	Trial       string           `json:"trial,omitempty"`     // what this version has to do before it is current
	Hostname    string           `json:"hostname"`
	IP          string           `json:"ip"`
	RunUser     string           `json:"runUser"`
	Pid         int              `json:"pid"`
	Started     time.Time        `json:"started"`
	Config      string           `json:"config"`                // path of cfg.json
	ConfigError string           `json:"configError,omitempty"` // why its last reload changed nothing
	Damaged     []string         `json:"damaged,omitempty"`     // what this run found damaged in var and set aside
	Heartbeat   Heartbeat        `json:"heartbeat"`
	Trust       *Trust           `json:"trust,omitempty"` // nil: nothing is verified
	Agents      []meta.RealAgent `json:"agents"`
	// Verified is the id of the release key that had signed the version that is there, by
	// agent. An agent without one was not verified; nil where releases are not verified.
	Verified map[string]string `json:"verified,omitempty"`
}

// Heartbeat is how the last heartbeat went and when the next one is due.
type Heartbeat struct {
	IP       string       `json:"ip,omitempty"`     // as reported last
	Server   string       `json:"server,omitempty"` // that answered last
	Dialect  meta.Dialect `json:"dialect,omitempty"`
	Interval float64      `json:"interval"` // seconds, as configured or steered
	LastOK   time.Time    `json:"lastOk,omitzero"`
	Next     time.Time    `json:"next,omitzero"`
	Failures int          `json:"failures,omitempty"` // in a row
	Error    string       `json:"error,omitempty"`    // of the last one

	Refused []meta.Rejected `json:"refused,omitempty"` // entries of the last reply that are not followed
}

// Trust is what this host verifies, and what it heard of the server.
type Trust struct {
	meta.TrustReport
	Serial  int64     `json:"serial,omitempty"`    // the highest one that was acted on
	Expires time.Time `json:"expires,omitzero"`    // of the reply that was believed last, in this run
	Stale   time.Time `json:"staleSince,omitzero"` // since when no reply has been believed
}

// Plan is what the sidecar would do now.
type Plan struct {
	Steps []Step `json:"steps"`
}

// Step is what is to be done next about one agent, and why.
type Step struct {
	Agent  string    `json:"agent"`
	Act    string    `json:"act"`
	From   string    `json:"from,omitempty"` // version
	To     string    `json:"to,omitempty"`   // version
	Reason string    `json:"reason"`
	Until  time.Time `json:"until,omitzero"` // of a step that waits
	Code   string    `json:"code,omitempty"` // of what keeps the wish from being followed

	Wanted   *Stand    `json:"wanted,omitempty"`   // nil: the server does not list the agent
	There    *Stand    `json:"there,omitempty"`    // nil: nothing is there
	Refusals []Refusal `json:"refusals,omitempty"` // the first is what has to be mended first
}

// Stand is an agent as it is wanted, or as it is there.
type Stand struct {
	Version string `json:"version,omitempty"`
	State   string `json:"state,omitempty"` // wanted: start, stop or empty; there: started, stoped or unknown
	WorkDir string `json:"workDir,omitempty"`
	RunUser string `json:"runUser,omitempty"`
	From    string `json:"from,omitempty"`     // of what is wanted: the address of its tarballs
	Key     string `json:"signedBy,omitempty"` // of what is there: the release key that vouched for it
}

// Refusal is why this host does not follow a wish, or not now.
type Refusal struct {
	Code string `json:"code,omitempty"` // as in reports
	Why  string `json:"why"`
	Next string `json:"next,omitempty"` // what a person can do about it
}

// Verb is what an operator orders.
type Verb string

// The verbs of an [Order].
const (
	VerbHold     Verb = "hold"     // change nothing about the agent until VerbUnhold
	VerbUnhold   Verb = "unhold"   // follow the server again
	VerbRollback Verb = "rollback" // go back to the previous version
	VerbClear    Verb = "clear"    // forget failures, so that a quarantined release is tried again
)

// Order is one thing an operator wants of one agent.
type Order struct {
	Verb   Verb      `json:"verb"`
	Agent  string    `json:"agent"`
	Reason string    `json:"reason,omitempty"`
	Until  time.Time `json:"until,omitzero"` // of a hold; zero: until unhold
	By     string    `json:"by,omitempty"`   // user name, for the log
}

// Validate says what is wrong with o.
func (o Order) Validate() error {
	switch o.Verb {
	case VerbHold, VerbUnhold, VerbRollback, VerbClear:
	default:
		return fmt.Errorf("verb %q is not known", o.Verb)
	}
	if !meta.ValidName(o.Agent) {
		return fmt.Errorf("%q is not an agent's name", o.Agent)
	}
	if len(o.Reason) > 1000 || len(o.By) > 100 {
		return fmt.Errorf("the reason is too long")
	}
	return nil
}

// Reloaded is the configuration after a reload.
type Reloaded struct {
	Config  json.RawMessage `json:"config"`
	Restart []string        `json:"restart,omitempty"` // changed keys that only count after a restart
}

// Output is what an agent's control script printed last.
type Output struct {
	Text string `json:"text"`
}

// Daemon is what the interfaces need of the running sidecar. Each function may
// be called at any time from any goroutine.
type Daemon struct {
	Status  func(context.Context) Status
	Plan    func(context.Context) (Plan, error)
	Do      func(context.Context, Order) error
	Reload  func(context.Context) (Reloaded, error)
	Output  func(ctx context.Context, agent string) (Output, error)
	Beat    func(context.Context) (Heartbeat, error) // now; returns how it went
	Settle  func(context.Context) error              // waits until nothing is left to be done
	Metrics *Metrics
}
