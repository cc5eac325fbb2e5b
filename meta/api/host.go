package api

import (
	"encoding/json"
	"time"

	"github.com/ops-updater/ops-updater/meta"
)

// Host is a machine as its heartbeats describe it.
type Host struct {
	Name           string            `json:"name"`
	IP             string            `json:"ip"`
	Arch           string            `json:"arch"`
	RunUser        string            `json:"runUser,omitempty"`
	UpdaterVersion string            `json:"updaterVersion,omitempty"`
	Labels         map[string]string `json:"labels,omitempty"`
	BootID         string            `json:"bootId,omitempty"`
	BootTime       int64             `json:"bootTime,omitempty"` // Unix seconds
	Dialect        string            `json:"dialect"`            // v1 or legacy
	FirstSeen      time.Time         `json:"firstSeen"`
	LastSeen       time.Time         `json:"lastSeen"`
	Silent         bool              `json:"silent"`             // not seen for three intervals
	Protocol       int               `json:"protocol,omitempty"` // of our additions that its sidecar speaks; 0: it keeps a pace of its own
	Pace           int               `json:"pace,omitempty"`     // seconds between its heartbeats, as observed
	Trust          *meta.TrustReport `json:"trust,omitempty"`    // what it verifies; nil: nothing, or it does not say
	Problems       []string          `json:"problems,omitempty"` // such as two hosts under one name, clock skew
	Agents         []HostAgent       `json:"agents"`
	Missing        []string          `json:"missing,omitempty"` // agents that shall run on it and that it does not report
}

// HostAgent is an agent as a host reports it ([meta.RealAgent]), beside what is
// wanted there.
type HostAgent struct {
	Name            string     `json:"name"`
	Version         string     `json:"version"`
	Status          string     `json:"status"`
	Phase           meta.Phase `json:"phase,omitempty"`
	Wanted          string     `json:"wanted,omitempty"`         // version that this server wants
	DesiredVersion  string     `json:"desiredVersion,omitempty"` // what the host says it works towards
	PreviousVersion string     `json:"previousVersion,omitempty"`
	Error           string     `json:"error,omitempty"`
	Reason          string     `json:"reason,omitempty"` // the code of Error
	Since           int64      `json:"since,omitempty"`
	Progress        float64    `json:"progress,omitempty"`
	RunUser         string     `json:"runUser,omitempty"`
	WorkDir         string     `json:"workDir,omitempty"`
	Held            bool       `json:"held,omitempty"`
	HoldReason      string     `json:"holdReason,omitempty"`
	Orphaned        bool       `json:"orphaned,omitempty"`
	Rollout         string     `json:"rollout,omitempty"`
}

// Reported is an agent as its host reported it. A new field of a report is
// taken over here.
func Reported(a meta.RealAgent) HostAgent {
	return HostAgent{
		Name: a.Name, Version: a.Version, Status: a.Status, Phase: a.Phase,
		DesiredVersion: a.DesiredVersion, PreviousVersion: a.PreviousVersion, Error: a.Error, Reason: a.Reason,
		Since: a.Since, Progress: a.Progress, RunUser: a.RunUser, WorkDir: a.WorkDir,
		Held: a.Held, HoldReason: a.HoldReason, Orphaned: a.Orphaned, Rollout: a.Rollout,
	}
}

// Event is one line of a host's timeline.
type Event struct {
	ID      int64     `json:"id"`
	Host    string    `json:"host"`
	Time    time.Time `json:"time"`
	Kind    string    `json:"kind"` // see the Event constants
	Agent   string    `json:"agent,omitempty"`
	Rollout string    `json:"rollout,omitempty"`
	From    string    `json:"from,omitempty"`
	To      string    `json:"to,omitempty"`
	Reason  string    `json:"reason,omitempty"` // the host's code for what Message says
	Message string    `json:"message,omitempty"`
}

// What an [Event] tells.
const (
	EventFirstSeen = "firstSeen"
	EventVersion   = "version"  // an agent's version changed
	EventStatus    = "status"   // an agent's status changed
	EventPhase     = "phase"    // an agent's phase changed
	EventError     = "error"    // an agent's error appeared, changed or went away
	EventRemoved   = "removed"  // an agent is no longer reported
	EventHost      = "host"     // address, arch, sidecar version, labels
	EventConflict  = "conflict" // two hosts under one name
	EventGrant     = "grant"    // a rollout let this host have its target
	EventJudged    = "judged"   // a grant succeeded or failed
	EventSilent    = "silent"
	EventReturned  = "returned"
	EventHeld      = "held"
)

// AuditKinds are the kinds of an [AuditEntry].
var AuditKinds = []string{
	"agent", "release", "artifact", "group", "assignment", "hold", "strategy", "channel", "schedule", "rollout", "host", "token", "user", "session",
	"notification target", "notification", "standstill", "key", "server",
}

// AuditEntry is one write by an operator: who, what, before, after, from where.
type AuditEntry struct {
	ID     int64           `json:"id"`
	Time   time.Time       `json:"time"`
	Actor  string          `json:"actor"` // name of the token or person
	From   string          `json:"from"`  // remote address
	Action string          `json:"action"`
	Kind   string          `json:"kind"` // agent, release, group, …
	Name   string          `json:"name"`
	Reason string          `json:"reason,omitempty"` // what the operator said, of an action on a rollout
	Before json.RawMessage `json:"before,omitempty"`
	After  json.RawMessage `json:"after,omitempty"`
}

// Role is what a token may do: each includes the ones before it.
type Role string

// The roles. RoleEnroll can only exchange itself for a host's credential and
// RoleHost can only send that host's heartbeats.
const (
	RoleViewer   Role = "viewer"
	RoleOperator Role = "operator"
	RoleAdmin    Role = "admin"
	RoleEnroll   Role = "enroll"
	RoleHost     Role = "host"
)

// EnrolAgain is for how long a host may repeat its enrolment: the reply that
// carried its credential may have been lost.
const EnrolAgain = 10 * time.Minute

// Token is a credential; its secret is shown once, when it is made, and
// stored only as a hash.
type Token struct {
	ID        string     `json:"id"`
	Name      string     `json:"name"`
	Role      Role       `json:"role"`
	Remits    Remits     `json:"remits,omitempty"` // of an operator: what they may change at most
	Host      string     `json:"host,omitempty"`   // of RoleHost: whose heartbeats
	Secret    string     `json:"secret,omitempty"` // only in the reply that creates it
	CreatedAt time.Time  `json:"createdAt"`
	CreatedBy string     `json:"createdBy"`
	ExpiresAt *time.Time `json:"expiresAt,omitempty"`
	LastUsed  *time.Time `json:"lastUsed,omitempty"`
	IsSession bool       `json:"-"` // it stands for a [Session]
	Provider  string     `json:"-"` // of that session
}
