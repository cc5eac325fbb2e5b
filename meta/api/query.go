package api

import (
	"maps"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// Limits of a listing's page.
const (
	DefaultPage = 100
	MaxPage     = 1000
)

// ListOptions choose a page of a listing and what is in it. A listing refuses
// what it does not know.
type ListOptions struct {
	Limit  int    // items; 0: DefaultPage, at most MaxPage
	Cursor string // Next of the page before; empty: from the start
	Search string // part of the name, any case
	Agent  string // only what belongs to this agent
	Scope  string // only this scope, as [Scope.String] writes it
	State  string // only this state
	Kind   string // only this kind
	Actor  string // audit: only what this token did
	Action string // audit: only this
	Since  time.Time
}

// Values are the options as the query of an address.
func (o ListOptions) Values() url.Values {
	v := url.Values{}
	setPage(v, o.Limit, o.Cursor)
	set(v, "q", o.Search)
	set(v, "agent", o.Agent)
	set(v, "scope", o.Scope)
	set(v, "state", o.State)
	set(v, "kind", o.Kind)
	set(v, "actor", o.Actor)
	set(v, "action", o.Action)
	if !o.Since.IsZero() {
		v.Set("since", o.Since.UTC().Format(time.RFC3339Nano))
	}
	return v
}

// Values are the query's fields as the query of an address.
func (q HostQuery) Values() url.Values {
	v := url.Values{}
	setPage(v, q.Limit, q.After)
	set(v, "q", q.Search)
	set(v, "group", q.Group)
	set(v, "agent", q.Agent)
	set(v, "version", q.Version)
	set(v, "status", q.Status)
	set(v, "phase", q.Phase)
	set(v, "arch", q.Arch)
	for _, name := range slices.Sorted(maps.Keys(q.Labels)) {
		v.Add("label", name+"="+q.Labels[name])
	}
	for key, on := range map[string]bool{"failing": q.Failing, "silent": q.Silent, "problem": q.Problem, "drifted": q.Drifted, "inOrder": q.InOrder} {
		if on {
			v.Set(key, "true")
		}
	}
	return v
}

func setPage(v url.Values, limit int, cursor string) {
	if limit > 0 {
		v.Set("limit", strconv.Itoa(limit))
	}
	set(v, "cursor", cursor)
}

func set(v url.Values, key, value string) {
	if value != "" {
		v.Set(key, value)
	}
}
