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
	setParam(v, "q", o.Search)
	setParam(v, "agent", o.Agent)
	setParam(v, "scope", o.Scope)
	setParam(v, "state", o.State)
	setParam(v, "kind", o.Kind)
	setParam(v, "actor", o.Actor)
	setParam(v, "action", o.Action)
	if !o.Since.IsZero() {
		v.Set("since", o.Since.UTC().Format(time.RFC3339Nano))
	}
	return v
}

// Values are the query's fields as the query of an address.
func (q HostQuery) Values() url.Values {
	v := url.Values{}
	setPage(v, q.Limit, q.After)
	setParam(v, "q", q.Search)
	setParam(v, "group", q.Group)
	setParam(v, "agent", q.Agent)
	setParam(v, "version", q.Version)
	setParam(v, "status", q.Status)
	setParam(v, "phase", q.Phase)
	setParam(v, "arch", q.Arch)
	setParam(v, "trust", q.Trust)
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
	setParam(v, "cursor", cursor)
}

func setParam(v url.Values, key, value string) {
	if value != "" {
		v.Set(key, value)
	}
}
