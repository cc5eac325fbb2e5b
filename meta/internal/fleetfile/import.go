package fleetfile

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
)

// oldConfig is an older ops-meta's cfg.json: for each agent a default, and
// others for hosts whose name begins with a prefix. Every matching entry
// applies, in order, and the last value that is not empty wins.
type oldConfig struct {
	Agents   []*oldAgent     `json:"agents"`
	Database json.RawMessage `json:"database"`
}

type oldAgent struct {
	Default *oldValues  `json:"default"`
	Others  []*oldEntry `json:"others"`
}

type oldEntry struct {
	Prefix string `json:"prefix"`
	oldValues
}

type oldValues struct {
	Name            string `json:"name"`
	Version         string `json:"version"`
	Tarball         string `json:"tarball"`
	MD5             string `json:"md5"`
	Cmd             string `json:"cmd"`
	RunUser         string `json:"runUser"`
	WorkDir         string `json:"workDir"`
	ConfigFileName  string `json:"configFileName"`
	ConfigRemoteURL string `json:"configRemoteUrl"`
}

// overlaidWith puts what o says over v.
func (v oldValues) overlaidWith(o oldValues) oldValues {
	return oldValues{
		Name:            v.Name,
		Version:         cmp.Or(o.Version, v.Version),
		Tarball:         cmp.Or(o.Tarball, v.Tarball),
		MD5:             cmp.Or(o.MD5, v.MD5),
		Cmd:             cmp.Or(o.Cmd, v.Cmd),
		RunUser:         cmp.Or(o.RunUser, v.RunUser),
		WorkDir:         cmp.Or(o.WorkDir, v.WorkDir),
		ConfigFileName:  cmp.Or(o.ConfigFileName, v.ConfigFileName),
		ConfigRemoteURL: cmp.Or(o.ConfigRemoteURL, v.ConfigRemoteURL),
	}
}

// actsOnHosts tells whether older hosts do anything at all with these values.
func (v oldValues) actsOnHosts() bool { return v.Version != "" && v.Cmd != "" }

// valuesAt is what a host whose longest matching prefix is prefix gets: whatever
// matches it is itself a prefix of that one.
func (a *oldAgent) valuesAt(prefix string) oldValues {
	v := *a.Default
	for _, o := range a.Others {
		if o != nil && strings.HasPrefix(prefix, o.Prefix) {
			v = v.overlaidWith(o.oldValues)
		}
	}
	return v
}

// allPrefixes are the different ones, each after those that are prefixes of it;
// the empty one, which is everybody, first.
func (a *oldAgent) allPrefixes() []string {
	set := map[string]bool{"": true}
	for _, o := range a.Others {
		if o != nil {
			set[o.Prefix] = true
		}
	}
	return slices.SortedFunc(maps.Keys(set), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
	})
}

// maxOthers is how many entries for prefixes a file may have: what they mean is
// found by comparing each with all others of its agent.
const maxOthers = 10_000

// Import translates an older ops-meta's cfg.json. Agents that cannot be taken
// exactly are refused as a whole, so that what is taken means what it meant.
// Problems are those of the file itself.
func Import(data []byte) (api.Import, []api.FileProblem) {
	var old oldConfig
	if p := decodeOld(data, &old); p != nil {
		return api.Import{}, []api.FileProblem{*p}
	}
	entries := 0
	for _, a := range old.Agents {
		if a != nil {
			entries += len(a.Others)
		}
	}
	if entries > maxOthers {
		return api.Import{}, []api.FileProblem{{Message: fmt.Sprintf("the file has %d entries for prefixes; at most %d are taken", entries, maxOthers), Hint: "write a fleet file: groups say it with fewer"}}
	}
	i := &importer{groups: map[string]api.Group{}, versions: map[[2]string]map[string]int{}}
	i.importSettings(data, old)
	taken := map[string]int{}
	for n, a := range old.Agents {
		at := fmt.Sprintf("agents[%d]", n)
		if a == nil || a.Default == nil {
			i.noteTaken(at, "has no default, so the older server left it out, and so do we")
			continue
		}
		if first, twice := taken[a.Default.Name]; twice {
			i.noteRefused(at, "%s is there twice: agents[%d] was taken and this was not", a.Default.Name, first)
			continue
		}
		if i.importAgent(at, a) {
			taken[a.Default.Name] = n
		}
	}
	return i.sortedResult(), nil
}

// decodeOld reads JSON as leniently as the older server did.
func decodeOld(data []byte, old *oldConfig) *api.FileProblem {
	if len(data) > MaxSize {
		return &api.FileProblem{Message: fmt.Sprintf("the file has %d bytes; at most %d are allowed", len(data), MaxSize)}
	}
	if !utf8.Valid(data) {
		return &api.FileProblem{Message: "the file is not UTF-8"}
	}
	err := json.Unmarshal(data, old)
	if err == nil {
		return nil
	}
	p := api.FileProblem{Message: strings.TrimPrefix(err.Error(), "json: "), Hint: "this must be the cfg.json of an older ops-meta"}
	var syntax *json.SyntaxError
	var wrong *json.UnmarshalTypeError
	offset := int64(-1)
	switch {
	case errors.As(err, &syntax):
		offset = syntax.Offset - 1
	case errors.As(err, &wrong):
		offset = wrong.Offset - 1
		p.Path, p.Message = wrong.Field, fmt.Sprintf("%s must be %s, not %s", cmp.Or(wrong.Field, "the file"), jsonNames[wrong.Type.Kind().String()], wrong.Value)
	}
	if offset >= 0 {
		before := data[:min(int(offset), len(data))]
		p.Line = bytes.Count(before, []byte("\n")) + 1
		p.Column = utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:]) + 1
	}
	return &p
}

var jsonNames = map[string]string{"string": "text", "slice": "a list", "struct": "an object", "ptr": "an object"}

// importer collects what becomes of a configuration.
type importer struct {
	out      api.Import
	groups   map[string]api.Group         // by prefix
	versions map[[2]string]map[string]int // agent and version → address → how often
}

func (i *importer) noteTaken(path, format string, args ...any) {
	i.out.Taken = append(i.out.Taken, api.ImportNote{Path: path, Note: fmt.Sprintf(format, args...)})
}

func (i *importer) noteRefused(path, format string, args ...any) {
	i.out.Refused = append(i.out.Refused, api.ImportNote{Path: path, Note: fmt.Sprintf(format, args...)})
}

// importSettings reports what a configuration says besides its agents.
func (i *importer) importSettings(data []byte, old oldConfig) {
	var top map[string]json.RawMessage
	_ = json.Unmarshal(data, &top) // has been read before
	for _, name := range slices.Sorted(maps.Keys(top)) {
		if strings.EqualFold(name, "agents") {
			continue
		}
		if strings.EqualFold(name, "database") && len(old.Agents) == 0 {
			i.noteRefused(name, "this server keeps its agents in this database and not in the file: write them into a fleet file instead")
			continue
		}
		i.noteTaken(printable.Clip(name), "is a setting of the older server itself and means nothing here")
	}
	if len(old.Agents) == 0 {
		i.noteRefused("agents", "there are none in this file")
	}
}

// importAgent takes one agent, or nothing of it.
func (i *importer) importAgent(at string, old *oldAgent) bool {
	noun, assigned, notes, err := translateAgent(at, old, i.groupOf)
	if err != nil {
		i.noteRefused(at, "%s was not taken: %v", printable.Clip(old.Default.Name), err)
		return false
	}
	i.out.Fleet.Agents = append(i.out.Fleet.Agents, noun)
	i.out.Taken = append(i.out.Taken, notes...)
	for prefix, a := range assigned {
		if prefix != "" {
			i.groups[prefix] = i.groupOf(prefix)
		}
		i.out.Fleet.Assignments = append(i.out.Fleet.Assignments, a)
		i.noteVersion(a, old.valuesAt(prefix).Tarball)
	}
	return true
}

func (i *importer) noteVersion(a api.Assignment, tarball string) {
	key := [2]string{a.Agent, a.Version}
	if i.versions[key] == nil {
		i.versions[key] = map[string]int{}
	}
	if tarball != "" {
		i.versions[key][strings.TrimRight(i.withoutLogin(tarball), "/")]++
	}
}

// withoutLogin takes the login out of an address, for nobody to see.
func (i *importer) withoutLogin(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.User == nil {
		return address
	}
	if i.out.Logins == nil {
		i.out.Logins = map[string]*url.Userinfo{}
	}
	i.out.Logins[u.Host] = u.User
	u.User = nil
	return u.String()
}

// translateAgent is what an old agent is today, by prefix. It fails when a part of
// it would mean something else.
func translateAgent(at string, old *oldAgent, group func(string) api.Group) (api.Agent, map[string]api.Assignment, []api.ImportNote, error) {
	all := old.valuesAt("")
	noun := api.Agent{
		Name: all.Name, RunUser: all.RunUser, WorkDir: all.WorkDir,
		ConfigFileName: all.ConfigFileName, ConfigRemoteURL: all.ConfigRemoteURL,
	}
	if err := noun.Validate(); err != nil {
		return noun, nil, nil, err
	}
	assigned := map[string]api.Assignment{}
	notes := []api.ImportNote{}
	prefixes := old.allPrefixes()
	for n, prefix := range prefixes {
		v := old.valuesAt(prefix)
		where, who := at+".default", "everyone"
		if prefix != "" {
			where, who = entryPath(at, old, prefix), fmt.Sprintf("hosts that begin with %q", printable.Clip(prefix))
		}
		note := func(format string, args ...any) {
			notes = append(notes, api.ImportNote{Path: where, Note: v.Name + ": " + who + " " + fmt.Sprintf(format, args...)})
		}
		switch {
		case prefix != "" && v == old.valuesAt(longestBelow(prefixes[:n], prefix)):
			note("need no group of their own: they get what they would get without it")
			continue
		case !v.actsOnHosts():
			note("get no assignment: without a version and a cmd older hosts only reported")
			continue
		}
		a, err := assignmentOf(v, noun, prefix, group)
		if err != nil {
			return noun, nil, nil, fmt.Errorf("for %s, %w", who, err)
		}
		assigned[prefix] = a
		note("%s %s%s", cmp.Or(a.Cmd, meta.CmdStart), v.Version, viaGroup(a, group, prefix))
	}
	return noun, assigned, notes, nil
}

func viaGroup(a api.Assignment, group func(string) api.Group, prefix string) string {
	if prefix == "" {
		return ""
	}
	return fmt.Sprintf(", as group %s of priority %d", a.Scope.Name, group(prefix).Priority)
}

// assignmentOf is what values are for a prefix, with only what differs from the
// agent's own.
func assignmentOf(v oldValues, noun api.Agent, prefix string, group func(string) api.Group) (api.Assignment, error) {
	differs := func(value, own string) string {
		if value == own {
			return ""
		}
		return value
	}
	a := api.Assignment{
		Agent: v.Name, Scope: api.Scope{Kind: api.ScopeEveryone}, Version: v.Version, Cmd: differs(v.Cmd, meta.CmdStart),
		RunUser: differs(v.RunUser, noun.RunUser), WorkDir: differs(v.WorkDir, noun.WorkDir),
		ConfigFileName: differs(v.ConfigFileName, noun.ConfigFileName), ConfigRemoteURL: differs(v.ConfigRemoteURL, noun.ConfigRemoteURL),
	}
	if prefix != "" {
		g := group(prefix)
		if err := g.Validate(); err != nil {
			return a, err
		}
		a.Scope = api.Scope{Kind: api.ScopeGroup, Name: g.Name}
	}
	return a, a.Validate()
}

// longestBelow is the longest of several prefixes that prefix begins with.
func longestBelow(prefixes []string, prefix string) string {
	longest := ""
	for _, p := range prefixes {
		if len(p) > len(longest) && strings.HasPrefix(prefix, p) {
			longest = p
		}
	}
	return longest
}

// entryPath is where a prefix is first mentioned.
func entryPath(at string, old *oldAgent, prefix string) string {
	for n, o := range old.Others {
		if o != nil && o.Prefix == prefix {
			return fmt.Sprintf("%s.others[%d]", at, n)
		}
	}
	return at
}

var notInName = regexp.MustCompile(`[^A-Za-z0-9._+-]+`)

// groupOf is the one of a prefix: the longer the prefix the higher its
// priority, because a longer prefix had all that the shorter ones said and
// more. The name carries a digest where the prefix cannot be a name itself.
func (i *importer) groupOf(prefix string) api.Group {
	name := notInName.ReplaceAllString(prefix, "_")
	if name != prefix || len(name) > 100 || digestLike.MatchString(name) {
		name = fmt.Sprintf("%s-%x", name[:min(len(name), 100)], sha256.Sum256([]byte(prefix)))[:min(len(name), 100)+1+12]
	}
	return api.Group{
		Name: "prefix-" + name, Description: fmt.Sprintf("hosts that begin with %q", printable.Clip(prefix)),
		Priority: len(prefix), Selector: api.Selector{Prefixes: []string{prefix}},
	}
}

// digestLike names could be taken for another prefix with its digest.
var digestLike = regexp.MustCompile(`-[0-9a-f]{12}$`)

func (i *importer) sortedResult() api.Import {
	for _, key := range slices.SortedFunc(maps.Keys(i.versions), func(a, b [2]string) int { return slices.Compare(a[:], b[:]) }) {
		addresses := i.versions[key]
		r := api.ImportedRelease{Agent: key[0], Version: key[1], Tarballs: slices.SortedFunc(maps.Keys(addresses), func(a, b string) int {
			return cmp.Or(cmp.Compare(addresses[b], addresses[a]), strings.Compare(a, b))
		})}
		i.out.Releases = append(i.out.Releases, r)
		switch path := r.Agent + " " + r.Version; {
		case len(r.Tarballs) == 0:
			i.noteTaken(path, "has no tarball address")
		case len(r.Tarballs) > 1:
			i.noteTaken(path, "has %d tarball addresses; a release has one content, so they must have the same", len(r.Tarballs))
		}
	}
	i.out.Fleet.Groups = slices.Collect(maps.Values(i.groups))
	i.out.Fleet = Sorted(i.out.Fleet)
	return i.out
}
