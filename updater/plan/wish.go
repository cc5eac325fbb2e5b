package plan

import (
	"cmp"
	"fmt"
	"path"
	"slices"

	"github.com/ops-updater/ops-updater/meta"
)

// Desired is one reply of the server, as far as it concerns agents.
type Desired struct {
	Agents  []meta.DesiredAgent `json:"agents"`
	Dialect meta.Dialect        `json:"dialect"`              // the reply was in; DialectV1 if empty
	Refused []meta.Rejected     `json:"refused,omitempty"`    // entries of the reply that are not followed
	Mark    string              `json:"serialMark,omitempty"` // of the last reply that had one
}

// MaxAgents bounds what one reply can make of a host: each agent has a keeper.
const MaxAgents = 1000

// Equal reports whether both say the same.
func (d Desired) Equal(other Desired) bool {
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

// Wishes takes a reply apart: one wish for each name. An entry that is not
// allowed, or comes twice, becomes a refused wish and does not touch the others;
// so does one whose directory is in another agent's, or in varDir, the sidecar's
// own. Beyond [MaxAgents] nothing is followed.
func Wishes(d Desired, standard Place, varDir string) map[string]Wish {
	all := make(map[string]Wish, min(len(d.Agents), MaxAgents))
	for _, a := range d.Agents[:min(len(d.Agents), MaxAgents)] {
		w := Wish{
			Agent: a, Dialect: cmp.Or(d.Dialect, meta.DialectV1), Listed: true,
			Place: Place{WorkDir: cmp.Or(a.WorkDir, standard.WorkDir), RunUser: cmp.Or(a.RunUser, standard.RunUser)},
		}
		if err := a.Validate(); err != nil {
			w.Refused = err.Error()
		}
		if a.Name == SelfName && w.Refused == "" {
			w.Refused = refuseSelf(w, standard)
		}
		if _, twice := all[a.Name]; twice {
			w.Refused = "the name is in the list twice"
		}
		all[a.Name] = w
	}
	refuseNested(all, varDir)
	for _, r := range d.Refused {
		if _, listed := all[r.Name]; !listed && meta.ValidName(r.Name) {
			all[r.Name] = Wish{
				Agent: meta.DesiredAgent{Name: r.Name}, Listed: true, Refused: r.Reason,
				Place: standard, Dialect: meta.DialectV1,
			}
		}
	}
	return all
}

// refuseNested: what lies in an agent's directory is that agent's, which prunes
// it, and whose processes are known by it; and the sidecar's state is no agent's.
func refuseNested(all map[string]Wish, varDir string) {
	owners := make(map[string]string, len(all)+1)
	for name, w := range all {
		if w.Refused == "" {
			owners[path.Join(w.Place.WorkDir, name)] = "agent " + name
		}
	}
	if varDir != "" {
		owners[path.Clean(varDir)] = "the sidecar (var_dir)"
	}
	for name, w := range all {
		own := path.Join(w.Place.WorkDir, name)
		outer := own
		if own != path.Clean(varDir) {
			outer = path.Dir(own)
		}
		for ; w.Refused == "" && outer != "/" && outer != "."; outer = path.Dir(outer) {
			if owner, taken := owners[outer]; taken {
				w.Refused = fmt.Sprintf("its directory %s lies in %s, which is that of %s; give it another workDir", own, outer, owner)
				all[name] = w
			}
		}
	}
}
