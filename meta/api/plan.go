package api

import "encoding/json"

// Plan is what applying a fleet file changes.
type Plan struct {
	DryRun  bool     `json:"dryRun"`
	Changes []Change `json:"changes"` // in the order they are made; empty: nothing to do
}

// What a [Change] does.
const (
	ChangeCreate = "create"
	ChangeUpdate = "update"
	ChangeDelete = "delete"
)

// Change is one write that a fleet file asks for.
type Change struct {
	Action string          `json:"action"` // see the Change constants
	Kind   string          `json:"kind"`   // agent, group, assignment, hold, strategy
	Name   string          `json:"name"`
	Fields []string        `json:"fields,omitempty"` // that differ, for an update
	Before json.RawMessage `json:"before,omitempty"`
	After  json.RawMessage `json:"after,omitempty"`
}

// ImportReport is what became of an older ops-meta's configuration.
type ImportReport struct {
	Fleet string       `json:"fleet"` // the fleet file it becomes, YAML
	Lines []ImportLine `json:"lines"`
	Plan  Plan         `json:"plan"`
}

// ImportLine says how one entry was taken.
type ImportLine struct {
	Path  string `json:"path"`  // where it was, such as agents[0].others[1]
	Taken bool   `json:"taken"` // false: left out
	As    string `json:"as"`    // what it became, or why it was left out
}
