package backend

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

// filters tells values of filters that exist from those that do not.
type filters struct{ *core }

// Unknown looks among what operators said, what hosts report and, for the
// audit log, what it has entries of.
func (s filters) Unknown(ctx context.Context, f api.FilterNames) error {
	known := s.namesKnown(f.Agent)
	for _, given := range []struct {
		field, value string
		known        []string
	}{
		{"agent", f.Agent, known.agents},
		{"group", f.Group, known.groups},
		{"version", f.Version, known.versions},
		{"status", f.Status, known.statuses},
		{"phase", f.Phase, api.Phases()},
		{"arch", f.Arch, known.arches},
		{"scope", nameIn(f.Scope, api.ScopeGroup), known.groups},
		{"scope", nameIn(f.Scope, api.ScopeAgent), known.agents},
	} {
		if err := api.Unknown(given.field, given.value, given.known); err != nil {
			return err
		}
	}
	if f.Scope.Kind == api.ScopeHost {
		if _, ok := s.fleet.Host(f.Scope.Name); !ok {
			return api.Unknown("scope", f.Scope.Name, s.hostsLike(f.Scope.Name))
		}
	}
	return s.unknownToAudit(ctx, f)
}

// Nearest goes through what operators said, and hosts.
func (s filters) Nearest(noun, name string) string {
	wanted := s.wanted.Load()
	var known []string
	switch noun {
	case "agent":
		known = api.NamesOf(wanted.Agents, func(a api.Agent) string { return a.Name })
	case "release":
		agent, version, _ := strings.Cut(name, "/")
		if near := api.Nearest(version, versionsOf(wanted.Wanted)[agent]); near != "" {
			return agent + "/" + near
		}
	case "group":
		known = api.NamesOf(wanted.Groups, func(g api.Group) string { return g.Name })
	case "strategy":
		known = api.NamesOf(wanted.Strategies, func(st api.Strategy) string { return st.Name })
	case "schedule":
		known = api.NamesOf(wanted.Schedules, func(s api.Schedule) string { return s.Name })
	case "channel":
		known = api.NamesOf(wanted.Channels, func(c api.Channel) string { return c.Agent + "/" + c.Name })
	case "host":
		known = s.hostsLike(name)
	}
	return api.Nearest(name, known)
}

// nameIn is a scope's name, if it is one of that kind.
func nameIn(s api.Scope, kind api.ScopeKind) string {
	if s.Kind != kind {
		return ""
	}
	return s.Name
}

// names are those that there are of each kind.
type names struct{ agents, groups, versions, statuses, arches []string }

// namesKnown collects them; versions and statuses are those of one agent when it is
// named.
func (s filters) namesKnown(agent string) (n names) {
	wanted, o := s.wanted.Load(), s.fleet.Overview()
	n.agents = api.NamesOf(wanted.Agents, func(a api.Agent) string { return a.Name })
	n.groups = api.NamesOf(wanted.Groups, func(g api.Group) string { return g.Name })
	for _, r := range wanted.Releases {
		if agent == "" || r.Agent == agent {
			n.versions = append(n.versions, r.Version)
		}
	}
	n.statuses = []string{meta.StatusStarted, meta.StatusStopped, meta.StatusUnknown}
	for _, a := range o.Agents {
		n.agents = append(n.agents, a.Name)
		if agent == "" || a.Name == agent {
			n.versions = slices.AppendSeq(n.versions, maps.Keys(a.Versions))
			n.statuses = slices.AppendSeq(n.statuses, maps.Keys(a.Statuses))
		}
	}
	n.arches = slices.AppendSeq(api.KnownArches(), maps.Keys(o.Arches))
	return n
}

// hostsLike are some hosts whose names are like one that is not known.
func (s filters) hostsLike(name string) (names []string) {
	for _, begin := range []int{3, 1, 0} { // the typo may be in the beginning
		page, err := s.fleet.List(api.HostQuery{Search: name[:min(len(name), begin)], Limit: api.MaxPage})
		if err != nil {
			return nil
		}
		names = api.NamesOf(page.Items, func(h api.Host) string { return h.Name })
		if api.Nearest(name, names) != "" {
			break
		}
	}
	return names
}

// unknownToAudit looks for what the audit log has no entry of.
func (s filters) unknownToAudit(ctx context.Context, f api.FilterNames) error {
	for _, given := range []struct {
		column store.AuditColumn
		value  string
		words  []string // that there may be no entry of yet
	}{
		{store.AuditActor, f.Actor, nil},
		{store.AuditAction, f.Action, store.AuditActions()},
		{store.AuditKind, f.Kind, store.AuditKinds()},
	} {
		if given.value == "" {
			continue
		}
		known, err := s.store.AuditValues(ctx, given.column)
		if err != nil {
			return err
		}
		known = append(known, given.words...)
		if given.column == store.AuditActor {
			tokens, err := readAllPages(func(c api.Cursor) (api.Page[api.Token], error) { return s.store.Tokens(ctx, c) })
			if err != nil {
				return err
			}
			for _, t := range tokens {
				known = append(known, t.Name)
			}
		}
		if err := api.Unknown(string(given.column), given.value, known); err != nil {
			return err
		}
	}
	return nil
}
