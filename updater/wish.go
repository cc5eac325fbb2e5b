package updater

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/ops-updater/ops-updater/internal/atomicfile"
	"github.com/ops-updater/ops-updater/internal/plainfile"
	"github.com/ops-updater/ops-updater/meta"
)

// Desired is one reply of the server, as far as it concerns agents.
type Desired struct {
	Agents  []meta.DesiredAgent `json:"agents"`
	Dialect meta.Dialect        `json:"dialect"`              // the reply was in; DialectV1 if empty
	Refused []meta.Rejected     `json:"refused,omitempty"`    // entries of the reply that are not followed
	Mark    string              `json:"serialMark,omitempty"` // of the last reply that had one
}

// maxAgents bounds what one reply can make of a host: each agent has a keeper.
const maxAgents = 1000

func (d Desired) equal(other Desired) bool {
	return d.Dialect == other.Dialect && slices.Equal(d.Agents, other.Agents) && slices.Equal(d.Refused, other.Refused) && d.Mark == other.Mark
}

// Wish is what is wanted of one agent, with the host's defaults filled in.
type Wish struct {
	Agent   meta.DesiredAgent `json:"agent"`
	Place   Place             `json:"place"`
	Dialect meta.Dialect      `json:"dialect"`
	Listed  bool              `json:"listed"`            // the agent was in the reply
	Refused string            `json:"refused,omitempty"` // why its entry is not followed
}

// wishes takes a reply apart: one wish for each name. An entry that is not
// allowed, or comes twice, becomes a refused wish and does not touch the others.
func (c EngineConfig) wishes(d Desired) map[string]Wish {
	all := make(map[string]Wish, min(len(d.Agents), maxAgents))
	for i, a := range d.Agents {
		if i == maxAgents {
			c.Log.Error().Int("agents", len(d.Agents)).Int("max", maxAgents).Msg("the list of desired agents is too long; the rest of it is not followed")
			break
		}
		w := Wish{Agent: a, Dialect: d.Dialect, Listed: true, Place: Place{WorkDir: a.WorkDir, RunUser: a.RunUser}}
		if w.Place.WorkDir == "" {
			w.Place.WorkDir = c.DefaultWorkDir
		}
		if w.Place.RunUser == "" {
			w.Place.RunUser = c.RunUser
		}
		if w.Dialect == "" {
			w.Dialect = meta.DialectV1
		}
		if err := a.Validate(); err != nil {
			w.Refused = err.Error()
		}
		if _, twice := all[a.Name]; twice {
			w.Refused = "the name is in the list twice"
		}
		all[a.Name] = w
	}
	for _, r := range d.Refused {
		if _, listed := all[r.Name]; !listed && meta.ValidName(r.Name) {
			all[r.Name] = Wish{
				Agent: meta.DesiredAgent{Name: r.Name}, Listed: true, Refused: r.Reason,
				Place: Place{WorkDir: c.DefaultWorkDir, RunUser: c.RunUser}, Dialect: meta.DialectV1,
			}
		}
	}
	return all
}

// loadDesired reads the last good reply. None is no error; one that cannot be
// read is set aside.
func loadDesired(path string, access stateAccess) (Desired, error) {
	var d Desired
	err := loadJSON(path, access, &d)
	return d, err
}

// stateAccess is what may be done with the files in the var directory.
type stateAccess int

const (
	ownState  stateAccess = iota // they are ours to change
	readState                    // somebody only asks: they stay as they are
)

func saveJSON(path string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	return atomicfile.Write(path, data, 0o600)
}

// maxStateFile bounds what is read back of our own files.
const maxStateFile = 16 << 20

// loadJSON reads path into v. A missing file leaves v as it is. A file that
// cannot be understood is set aside as {path}.corrupt-{time}, with an error
// that says so, and v is left as it is.
func loadJSON[T any](path string, access stateAccess, v *T) error {
	data, err := plainfile.Read(path, maxStateFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var read T
	switch {
	case err != nil:
	case len(bytes.Trim(data, "\x00 \n")) == 0:
		err = errors.New("it is empty, as a power cut leaves it")
	default:
		err = json.Unmarshal(data, &read)
	}
	if err != nil && access == readState {
		return fmt.Errorf("cannot read %s: %w", path, err)
	}
	if err != nil {
		return setAside(path, err)
	}
	*v = read
	return nil
}

// setAside keeps a file that is of no use for those who look for the reason.
func setAside(path string, why error) error {
	err := plainfile.SetAside(path, why)
	if moved, ok := errors.AsType[*plainfile.AsideError](err); ok {
		return fmt.Errorf("cannot read %s, set aside as %s: %w", path, filepath.Base(moved.As), why)
	}
	return fmt.Errorf("cannot read %s: %w", path, err)
}
