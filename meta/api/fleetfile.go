package api

import (
	"fmt"
	"net/url"
)

// Fleet is everything an operator says, as a fleet file holds it. A nil
// section says nothing: anyone who applies the file leaves that kind alone. An
// empty one says that there shall be none.
type Fleet struct {
	Agents      []Agent      `json:"agents,omitempty" yaml:"agents"`
	Strategies  []Strategy   `json:"strategies,omitempty" yaml:"strategies"`
	Groups      []Group      `json:"groups,omitempty" yaml:"groups"`
	Assignments []Assignment `json:"assignments,omitempty" yaml:"assignments"`
	Channels    []Channel    `json:"channels,omitempty" yaml:"channels"`
	Schedules   []Schedule   `json:"schedules,omitempty" yaml:"schedules"`
	Holds       []Hold       `json:"holds,omitempty" yaml:"holds"`
}

// What a [FleetChange] does.
const (
	ChangeCreate = "create"
	ChangeUpdate = "update"
	ChangeDelete = "delete"
)

// FleetChange is one difference between two fleets. A list of them is in an
// order that can be applied as it stands: what is referred to is made before
// what refers to it, and removed after.
type FleetChange struct {
	Action string        `json:"action"` // create, update, delete
	Kind   string        `json:"kind"`   // agent, strategy, group, assignment, channel, schedule, hold
	Name   string        `json:"name"`   // for people, such as "falcon-agent on group canary"
	Fields []FieldChange `json:"fields,omitempty"`
	Before *FleetObject  `json:"before,omitempty"` // nil: created
	After  *FleetObject  `json:"after,omitempty"`  // nil: deleted

	// Of an assignment whose version is changed by a rollout and not at once:
	Rollout  string `json:"rollout,omitempty"`  // its ID, which a dry run does not keep
	Strategy string `json:"strategy,omitempty"` // the name of its strategy

	Warning string `json:"warning,omitempty"` // for people: what may not be meant
}

// FieldChange is one field of a change. An empty Before or After means that
// the field is not set.
type FieldChange struct {
	Field  string `json:"field"` // as the fleet file spells it, such as selector.prefixes
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
}

// FleetObject is one object of a fleet: exactly one field is set.
type FleetObject struct {
	Agent      *Agent      `json:"agent,omitempty"`
	Strategy   *Strategy   `json:"strategy,omitempty"`
	Group      *Group      `json:"group,omitempty"`
	Assignment *Assignment `json:"assignment,omitempty"`
	Channel    *Channel    `json:"channel,omitempty"`
	Schedule   *Schedule   `json:"schedule,omitempty"`
	Hold       *Hold       `json:"hold,omitempty"`
}

// FileProblem is one thing that is wrong with a file, with its place.
type FileProblem struct {
	Line    int    `json:"line"`   // from 1; 0: the file as a whole
	Column  int    `json:"column"` // from 1, in characters
	Path    string `json:"path,omitempty"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"` // such as the nearest known name
}

// Import is an older ops-meta's configuration in today's terms.
type Import struct {
	Fleet    Fleet             `json:"fleet"`
	Releases []ImportedRelease `json:"releases,omitempty"` // to be fetched, hashed and registered
	Taken    []ImportNote      `json:"taken"`              // what was taken, and how
	Refused  []ImportNote      `json:"refused,omitempty"`  // what could not be

	// Logins are those that stand in addresses, by host and port. They are
	// told to nobody.
	Logins map[string]*url.Userinfo `json:"-"`
}

// ImportedRelease is a version that an imported configuration names, with the
// addresses that it gives for it. A release has one content, so what lies at
// all of them must be the same.
type ImportedRelease struct {
	Agent    string   `json:"agent"`
	Version  string   `json:"version"`
	Tarballs []string `json:"tarballs"` // base URLs, most used first
}

// ImportNote is one line of an import's report.
type ImportNote struct {
	Path string `json:"path"` // in the file that was read, such as agents[0].others[2]
	Note string `json:"note"`
}

// String is the problem on one line: place, message and hint.
func (p FileProblem) String() string {
	s := p.Message
	if p.Line > 0 {
		s = fmt.Sprintf("%d:%d: %s", p.Line, p.Column, s)
	}
	if p.Hint != "" {
		s += ": " + p.Hint
	}
	return s
}
