package httpapi

import (
	"net/http"
	"slices"

	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/meta/api"
)

// Queries that listings share.
var (
	paging = []param{
		{"limit", "items of a page, at most 1000", "integer"},
		{"cursor", "next of the page before", ""},
	}
	search = param{"q", "part of the name, any case", ""}
	dryRun = param{"dryRun", "say what would change, and change nothing", "boolean"}
	since  = param{"since", "not before this time", ""}
	agent  = param{"agent", "only of this agent", ""}
	scoped = param{"scope", "everyone, group:NAME, host:NAME or agent:NAME", ""}
)

func listingParams(own ...param) []param { return slices.Concat(own, paging) }

// allRoutes is the whole API.
func (s *Server) allRoutes() []route {
	return slices.Concat(
		s.serverRoutes(),
		nounRoutes(nounPath{"agents", remitAgent}, "agent", "Agent", s.backend.Agents, func(a *api.Agent) (*string, *int64) { return &a.Name, &a.Revision }),
		nounRoutes(nounPath{"groups", remitNone}, "group", "Group", s.backend.Groups, func(g *api.Group) (*string, *int64) { return &g.Name, &g.Revision }),
		nounRoutes(nounPath{"strategies", remitNone}, "strategy", "Strategy", s.backend.Strategies, func(v *api.Strategy) (*string, *int64) { return &v.Name, &v.Revision }),
		nounRoutes(nounPath{"schedules", remitEach}, "schedule", "Schedule", s.backend.Schedules, func(v *api.Schedule) (*string, *int64) { return &v.Name, &v.Revision }),
		s.channelRoutes(), routesGiven(s.backend.Following, s.followingRoutes),
		nounRoutes(nounPath{"notifications/targets", remitNone}, "target", "NotifyTarget", s.backend.NotifyTargets, func(t *api.NotifyTarget) (*string, *int64) { return &t.Name, &t.Revision }),
		s.releaseRoutes(), s.assignmentRoutes(), s.hostRoutes(), s.fleetRoutes(), s.accessRoutes(), routesGiven(s.backend.Users, s.userRoutes), routesGiven(s.backend.Sessions, s.sessionRoutes), routesGiven(s.backend.Logins, s.loginRoutes),
		routesGiven(s.backend.Rollouts, s.rolloutRoutes), routesGiven(s.backend.Notifications, s.notificationRoutes), routesGiven(s.backend.Care, s.careRoutes),
		routesGiven(s.backend.Standstill, s.standstillRoutes), routesGiven(s.backend.Keys, s.keyRoutes),
	)
}

func (s *Server) serverRoutes() []route {
	return []route{
		{method: "GET", path: "/version", id: "version", summary: "What this server is", endpoint: reads(s.getVersion)},
		{method: "GET", path: "/openapi.json", id: "openapi", summary: "This document", endpoint: streams("application/vnd.oai.openapi+json", s.getOpenAPI)},
		{method: "GET", path: "/whoami", id: "whoAmI", summary: "Who the caller is", role: api.RoleViewer, endpoint: reads(s.whoAmI)},
		{method: "GET", path: "/overview", id: "overview", summary: "The fleet at a glance", role: api.RoleViewer, endpoint: reads(s.getOverview)},
		{
			method: "GET", path: "/history", id: "history", summary: "How agents stood over time, the oldest first, thinned out", role: api.RoleViewer,
			query: []param{agent, since}, endpoint: reads(s.getHistory),
		},
		{
			method: "GET", path: "/events", id: "follow", summary: "What changes, as server-sent events", role: api.RoleViewer,
			query:    []param{{"after", "the seq to continue from; Last-Event-ID does the same", "integer"}},
			endpoint: streams("text/event-stream", s.followFeed),
		},
		{
			method: "GET", path: "/audit", id: "listAudit", summary: "Who did what, the newest first", role: api.RoleViewer,
			query: listingParams(
				param{"actor", "only by this token", ""}, param{"action", "such as create", ""}, param{"kind", "such as agent", ""},
				param{"q", "name of the thing", ""}, since, param{"until", "before this time", ""},
			),
			endpoint: reads(s.listAudit),
		},
	}
}

func (s *Server) careRoutes() []route {
	return []route{
		{method: "GET", path: "/doctor", id: "doctor", summary: "Let the server examine itself", role: api.RoleAdmin, endpoint: reads(s.runDoctor)},
		{method: "POST", path: "/backup", id: "backup", summary: "An archive of all data", role: api.RoleAdmin, endpoint: streams("application/gzip", s.streamBackup)},
	}
}

// routesGiven leaves out the routes of what a server does not have.
func routesGiven(part any, routes func() []route) []route {
	if part == nil {
		return nil
	}
	return routes()
}

// asShownTo is a noun as the caller may see it: a viewer sees no
// login in it.
func asShownTo[T any](c *call, noun T) T {
	if secretive, ok := any(noun).(interface{ ForViewers() T }); ok && c.onlyLooks() {
		return secretive.ForViewers()
	}
	return noun
}

func shownPage[T any](c *call, page api.Page[T]) api.Page[T] {
	for i := range page.Items {
		page.Items[i] = asShownTo(c, page.Items[i])
	}
	return page
}

// nounPath is where the operations of a noun are, and what their writes ask of remits.
type nounPath struct {
	path  string
	remit remitRule
}

// nounRoutes are the five operations of things that have a name and a
// revision.
func nounRoutes[T any](at nounPath, key, name string, nouns Nouns[T], parts func(*T) (name *string, revision *int64)) []route {
	path := at.path
	one := "/" + path + "/{" + key + "}"
	return []route{
		{
			method: "GET", path: "/" + path, id: "list" + name, summary: "All of them, by name", role: api.RoleViewer, query: listingParams(search),
			endpoint: reads(func(c *call) (api.Page[T], error) {
				page, err := c.pageCursor()
				if err != nil {
					return api.Page[T]{}, err
				}
				found, err := nouns.List(c.Context(), c.URL.Query().Get("q"), page)
				return shownPage(c, found), err
			}),
		},
		{
			method: "GET", path: one, id: "get" + name, summary: "One of them", role: api.RoleViewer,
			endpoint: reads(func(c *call) (T, error) {
				noun, err := nouns.Get(c.Context(), c.PathValue(key))
				return asShownTo(c, noun), err
			}),
		},
		{
			method: "PUT", path: one, id: "put" + name, summary: "Make or replace one", role: api.RoleOperator, remit: at.remit, guarded: true,
			endpoint: takes(http.StatusOK, func(c *call, noun T) (T, error) {
				name, revision := parts(&noun)
				if *name != "" && *name != c.PathValue(key) {
					return noun, api.InvalidField("name", "the body's name %q is not the address's %q", printable.Clip(*name), printable.Clip(c.PathValue(key)))
				}
				*name = c.PathValue(key)
				var err error
				if *revision, err = c.guardRevision(); err != nil {
					return noun, err
				}
				return nouns.Put(c.Context(), c.actor(), noun)
			}),
		},
		{
			method: "PATCH", path: one, id: "patch" + name, summary: "Change what is named of one, and nothing else", role: api.RoleOperator, remit: at.remit, guarded: true,
			endpoint: patches(func(c *call, change func(T) (T, error)) (T, error) {
				key, err := c.nounKey(key)
				if err != nil {
					var none T
					return none, err
				}
				return nouns.Change(c.Context(), c.actor(), key, func(noun T) (T, error) {
					changed, err := change(noun)
					if name, _ := parts(&changed); err == nil && *name != key.Name {
						err = api.InvalidField("name", "a name never changes: it is %q", printable.Clip(key.Name))
					}
					return changed, err
				})
			}),
		},
		{
			method: "DELETE", path: one, id: "delete" + name, summary: "Remove one that nothing uses", role: api.RoleOperator, remit: at.remit, guarded: true,
			endpoint: acts(func(c *call) error {
				revision, err := c.guardRevision()
				if err != nil {
					return err
				}
				return nouns.Delete(c.Context(), c.actor(), c.PathValue(key), revision)
			}),
		},
	}
}
