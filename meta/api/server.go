package api

import (
	"fmt"
	"time"

	"github.com/ops-updater/ops-updater/meta"
)

// Impact is what a change would do, before it is made.
type Impact struct {
	Hosts   int `json:"hosts"`   // in the scope
	Changed int `json:"changed"` // that would be told something else
	// Overruled is how many of the hosts a narrower rule keeps as they are.
	Overruled int `json:"overruled,omitempty"`
	// Held is how many that would change are kept as they are by a hold, until
	// it is released.
	Held   int            `json:"held,omitempty"`
	From   map[string]int `json:"from,omitempty"`   // changed hosts by the version they report
	Sample []string       `json:"sample,omitempty"` // names of some changed hosts
	// NoArtifact is hosts that cannot have the release, which has no artifact
	// for their arch, by arch.
	NoArtifact map[string]int `json:"noArtifact,omitempty"`
	// Unsigned is how many hosts require a signature of releases that this one
	// lacks, or has of a key that does not count on them: they refuse it.
	Unsigned int    `json:"unsigned,omitempty"`
	Warning  string `json:"warning,omitempty"`
}

// Version is what the server is.
type Version struct {
	Version  string `json:"version"`
	Protocol int    `json:"protocol"` // of the heartbeat
	Arch     string `json:"arch"`
}

// Identity is who the caller is to the server.
type Identity struct {
	Name      string     `json:"name"`
	Role      Role       `json:"role"`
	Remits    Remits     `json:"remits,omitempty"` // of an operator: what they may change at most
	TokenID   string     `json:"tokenId,omitempty"`
	SessionID string     `json:"sessionId,omitempty"` // of a person who logged in
	Provider  string     `json:"provider,omitempty"`  // that vouches for this person; empty: none does
	ExpiresAt *time.Time `json:"expiresAt,omitempty"`
	From      string     `json:"from"` // the address the server sees
}

// Enrolment asks for a host's credential with an enrolment token.
type Enrolment = meta.Enrolment

// Credential is a host's own bearer token, shown once.
type Credential = meta.Credential

// Check is one finding of doctor.
type Check struct {
	Name   string `json:"name"`
	Level  string `json:"level"` // ok, warning, error
	Detail string `json:"detail"`
	Hint   string `json:"hint,omitempty"`
}

// Checkf is a check with what was found, and what to do about it.
func Checkf(name, level, hint, format string, args ...any) Check {
	return Check{Name: name, Level: level, Detail: fmt.Sprintf(format, args...), Hint: hint}
}

// Pruned is what the retention of unused artifacts removes.
type Pruned struct {
	DryRun    bool       `json:"dryRun"`
	Artifacts []Artifact `json:"artifacts"` // no assignment, rollout or host uses them
	Bytes     int64      `json:"bytes"`
}

// FeedItem says that something changed, on the stream of /api/v1/events. It
// names what to look at again; it does not carry it.
type FeedItem struct {
	Seq  int64     `json:"seq"`
	Time time.Time `json:"time"`
	Kind string    `json:"kind"` // host, agent, release, group, assignment, hold, strategy, rollout, token, notification, open, reset
	Name string    `json:"name"`
}

// Levels of a [Check].
const (
	CheckOK      = "ok"
	CheckWarning = "warning"
	CheckError   = "error"
)
