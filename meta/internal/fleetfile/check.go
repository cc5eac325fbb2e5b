package fleetfile

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/meta/api"
)

// Known is what the server has that a file may refer to.
type Known struct {
	Fleet    api.Fleet           // stands in for the sections that the file does not have
	Versions map[string][]string // of each agent; nil: versions are not checked
}

// Check finds everything in the file that breaks a rule or refers to
// something that does not exist.
func (f *File) Check(known Known) []api.FileProblem {
	c := &checker{file: f, whole: Overlay(known.Fleet, f.Fleet), seen: map[string]string{}}
	c.agents = namesOf(c.whole.Agents, func(a api.Agent) string { return a.Name })
	c.groups = namesOf(c.whole.Groups, func(g api.Group) string { return g.Name })
	c.strategies = namesOf(c.whole.Strategies, func(s api.Strategy) string { return s.Name })
	c.versions, c.now = known.Versions, known.Fleet.Assignments
	c.checkFile()
	sortProblems(c.problems)
	return c.problems
}

// Overlay is what there would be after applying wanted: its sections, and those
// of current where it has none.
func Overlay(current, wanted api.Fleet) api.Fleet {
	return api.Fleet{
		Agents:      sectionOr(current.Agents, wanted.Agents),
		Strategies:  sectionOr(current.Strategies, wanted.Strategies),
		Groups:      sectionOr(current.Groups, wanted.Groups),
		Assignments: sectionOr(current.Assignments, wanted.Assignments),
		Channels:    sectionOr(current.Channels, wanted.Channels),
		Schedules:   sectionOr(current.Schedules, wanted.Schedules),
		Holds:       sectionOr(current.Holds, wanted.Holds),
	}
}

func sectionOr[T any](current, wanted []T) []T {
	if wanted == nil {
		return current
	}
	return wanted
}

// checker goes through a whole fleet; what is not from the file is reported
// at the section that makes it wrong.
type checker struct {
	file                       *File
	whole                      api.Fleet
	agents, groups, strategies map[string]bool
	versions                   map[string][]string
	now                        []api.Assignment  // that there are
	seen                       map[string]string // identity → path of the first
	problems                   []api.FileProblem
}

func namesOf[T any](list []T, name func(T) string) map[string]bool {
	out := make(map[string]bool, len(list))
	for _, x := range list {
		out[name(x)] = true
	}
	return out
}

func (c *checker) addProblem(path, hint, format string, args ...any) {
	if len(c.problems) >= MaxProblems {
		return
	}
	p := c.file.placeAt(path)
	c.problems = append(c.problems, api.FileProblem{Line: p.line, Column: p.column, Path: path, Message: fmt.Sprintf(format, args...), Hint: hint})
}

func (c *checker) checkFile() {
	for i, a := range c.whole.Agents {
		at := fmt.Sprintf("agents[%d]", i)
		c.checkObject(at, "agent "+a.Name, a)
		if a.Strategy != "" {
			c.checkReference("agents", at+".strategy", "strategy", a.Strategy, "strategies", c.strategies)
		}
	}
	for i, s := range c.whole.Strategies {
		at := fmt.Sprintf("strategies[%d]", i)
		c.checkObject(at, "strategy "+s.Name, s)
		for j, stage := range s.Stages {
			if stage.Group != "" {
				c.checkReference("strategies", fmt.Sprintf("%s.stages[%d].group", at, j), "group", stage.Group, "groups", c.groups)
			}
		}
	}
	for i, g := range c.whole.Groups {
		c.checkObject(fmt.Sprintf("groups[%d]", i), "group "+g.Name, g)
	}
	for i, a := range c.whole.Assignments {
		c.checkAssignment(fmt.Sprintf("assignments[%d]", i), a)
	}
	for i, ch := range c.whole.Channels {
		c.checkChannel(fmt.Sprintf("channels[%d]", i), ch)
	}
	for i, s := range c.whole.Schedules {
		c.checkSchedule(fmt.Sprintf("schedules[%d]", i), s)
	}
	for i, h := range c.whole.Holds {
		c.checkHold(fmt.Sprintf("holds[%d]", i), h)
	}
}

// checkObject applies an object's own rules and refuses a second one of its kind
// and name.
func (c *checker) checkObject(at, identity string, o interface{ Validate() error }) {
	if !c.fromFile(at) {
		return
	}
	c.checkRules(at, o)
	if first, twice := c.seen[identity]; twice {
		hint := ""
		if p := c.file.placeAt(first); p.line > 0 {
			hint = fmt.Sprintf("the first one is on line %d", p.line)
		}
		c.addProblem(at, hint, "%s is there twice", identity)
		return
	}
	c.seen[identity] = at
}

// checkRules applies an object's own rules.
func (c *checker) checkRules(at string, o interface{ Validate() error }) {
	if err := o.Validate(); err != nil {
		var e *api.Error
		path, message := at, err.Error()
		if errors.As(err, &e) {
			path = at + "." + e.Field
		}
		c.addProblem(path, "", "%s", message)
	}
}

// fromFile tells whether a path lies in a section that the file has.
func (c *checker) fromFile(path string) bool {
	section, _, _ := strings.Cut(path, "[")
	_, ok := c.file.places[section]
	return ok
}

// checkReference requires that name exists. When the file has only the section that
// would contain name, what is missing was removed there.
func (c *checker) checkReference(from, at, kind, name, section string, known map[string]bool) {
	if known[name] || len(c.problems) >= MaxProblems {
		return
	}
	if c.fromFile(from) {
		c.addProblem(at, nearestHint(name, keysOf(known)), "there is no %s %q", kind, printable.Clip(name))
		return
	}
	c.addProblem(section, fmt.Sprintf("keep it, or give %s without it too", from), "%s %q is still used by %s, which this file does not change", kind, printable.Clip(name), at)
}

func (c *checker) checkAssignment(at string, a api.Assignment) {
	checked := a
	if a.Version == "" && c.fromFile(at) {
		checked = c.checkLeftVersion(at, a)
	}
	c.checkObject(at, "assignment of "+AssignmentName(a), checked)
	if a.Agent != "" {
		c.checkReference("assignments", at+".agent", "agent", a.Agent, "agents", c.agents)
	}
	if a.Scope.Kind == api.ScopeGroup && a.Scope.Name != "" {
		c.checkReference("assignments", at+".scope.name", "group", a.Scope.Name, "groups", c.groups)
	}
	if c.fromFile("assignments") && c.versions != nil && c.agents[a.Agent] && a.Version != "" {
		c.checkVersion(at+".version", a.Agent, a.Version)
	}
}

// checkLeftVersion allows a version to be left out that a schedule moves and that there is
// already. The assignment that it returns has the rest to be checked by its own rules.
func (c *checker) checkLeftVersion(at string, a api.Assignment) api.Assignment {
	mover, moved := MoverOf(c.whole, a)
	if !moved {
		return a
	}
	now := slices.IndexFunc(c.now, func(is api.Assignment) bool { return is.Agent == a.Agent && is.Scope == a.Scope })
	if now < 0 {
		c.addProblem(at, fmt.Sprintf("name the version to begin with; it may be left to schedule %s afterwards", mover), "version is missing, and %s is assigned none yet", AssignmentName(a))
		a.Version = "any"
		return a
	}
	a.Version = c.now[now].Version
	return a
}

// MoverOf is the schedule that moves the version of an assignment: it is for the same
// hosts, and the agent has its channel.
func MoverOf(f api.Fleet, a api.Assignment) (schedule string, moved bool) {
	for _, s := range f.Schedules {
		follows := len(s.Agents) == 0 || slices.Contains(s.Agents, a.Agent)
		if follows && s.WithScope().Scope == a.Scope && slices.ContainsFunc(f.Channels, func(ch api.Channel) bool { return ch.Agent == a.Agent && ch.Name == s.Channel }) {
			return s.Name, true
		}
	}
	return "", false
}

func (c *checker) checkChannel(at string, ch api.Channel) {
	c.checkObject(at, "channel "+ChannelName(ch), ch)
	if ch.Agent != "" {
		c.checkReference("channels", at+".agent", "agent", ch.Agent, "agents", c.agents)
	}
	if c.fromFile("channels") && c.versions != nil && c.agents[ch.Agent] && ch.Version != "" {
		c.checkVersion(at+".version", ch.Agent, ch.Version)
	}
}

func (c *checker) checkSchedule(at string, s api.Schedule) {
	c.checkObject(at, "schedule "+s.Name, s)
	for i, agent := range s.Agents {
		c.checkReference("schedules", fmt.Sprintf("%s.agents[%d]", at, i), "agent", agent, "agents", c.agents)
	}
	if s.Scope.Kind == api.ScopeGroup && s.Scope.Name != "" {
		c.checkReference("schedules", at+".scope.name", "group", s.Scope.Name, "groups", c.groups)
	}
	if s.Strategy != "" {
		c.checkReference("schedules", at+".strategy", "strategy", s.Strategy, "strategies", c.strategies)
	}
}

func (c *checker) checkVersion(at, agent, version string) {
	known := map[string]bool{}
	for _, v := range c.versions[agent] {
		known[v] = true
	}
	if known[version] {
		return
	}
	hint := nearestHint(version, keysOf(known))
	if len(known) == 0 {
		hint = "publish it first: ops-meta publish"
	}
	c.addProblem(at, hint, "%s has no release %q", agent, printable.Clip(version))
}

func (c *checker) checkHold(at string, h api.Hold) {
	if c.fromFile("holds") {
		c.checkRules(at, h)
	}
	switch {
	case h.Scope.Name == "":
	case h.Scope.Kind == api.ScopeGroup:
		c.checkReference("holds", at+".scope.name", "group", h.Scope.Name, "groups", c.groups)
	case h.Scope.Kind == api.ScopeAgent:
		c.checkReference("holds", at+".scope.name", "agent", h.Scope.Name, "agents", c.agents)
	}
}

// AssignmentName is what identifies an assignment, for people.
func AssignmentName(a api.Assignment) string { return a.Agent + " on " + a.Scope.InWords() }

// ChannelName is what identifies a channel, for people.
func ChannelName(c api.Channel) string { return c.Name + " of " + c.Agent }
