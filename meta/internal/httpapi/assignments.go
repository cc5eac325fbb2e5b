package httpapi

import (
	"net/http"

	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/meta/api"
)

const oneAssignment = "/agents/{agent}/assignments/{scope}"

func (s *Server) assignmentRoutes() []route {
	return []route{
		{
			method: "GET", path: "/assignments", id: "listAssignments", summary: "Who runs what", role: api.RoleViewer,
			query: listingParams(agent, scoped), endpoint: reads(s.listAssignments),
		},
		{method: "GET", path: oneAssignment, id: "getAssignment", summary: "What a scope runs", role: api.RoleViewer, endpoint: reads(s.getAssignment)},
		{
			method: "PUT", path: oneAssignment, id: "putAssignment", summary: "Let a scope run a version, at once", role: api.RoleOperator, remit: remitEach,
			query: []param{dryRun, {"force", "also when no host of the scope can have the release", "boolean"}}, guarded: true, endpoint: takes(http.StatusOK, s.putAssignment),
		},
		{
			method: "PATCH", path: oneAssignment, id: "patchAssignment", summary: "Change what is named of an assignment, at once, and nothing else", role: api.RoleOperator, remit: remitEach,
			guarded: true, endpoint: patches(s.patchAssignment),
		},
		{
			method: "DELETE", path: oneAssignment, id: "deleteAssignment", summary: "Say nothing any more about a scope",
			role: api.RoleOperator, remit: remitEach, guarded: true, endpoint: acts(s.deleteAssignment),
		},
		{method: "POST", path: "/impact", id: "impact", summary: "What an assignment would change", role: api.RoleViewer, endpoint: takes(http.StatusOK, func(c *call, a api.Assignment) (api.Impact, error) {
			if err := a.Validate(); err != nil {
				return api.Impact{}, err
			}
			return s.backend.Assignments.Impact(c.Context(), a)
		})},
		{method: "GET", path: "/holds", id: "listHolds", summary: "What is held", role: api.RoleViewer, query: listingParams(scoped), endpoint: reads(s.listHolds)},
		{method: "POST", path: "/holds", id: "createHold", summary: "Hold a host, a group or an agent", role: api.RoleOperator, remit: remitEach, endpoint: takes(http.StatusCreated, func(c *call, h api.Hold) (api.Hold, error) {
			return s.backend.Holds.CreateHold(c.Context(), c.actor(), h)
		})},
		{method: "DELETE", path: "/holds/{id}", id: "deleteHold", summary: "Release a hold", role: api.RoleOperator, remit: remitEach, endpoint: acts(func(c *call) error {
			return s.backend.Holds.DeleteHold(c.Context(), c.actor(), c.PathValue("id"))
		})},
	}
}

// parseScope reads one from the path or the query; empty is the zero Scope.
func parseScope(field, s string) (api.Scope, error) {
	if s == "" {
		return api.Scope{}, nil
	}
	parsed, err := api.ParseScope(s)
	if err != nil {
		return api.Scope{}, api.InvalidField(field, "%s", err)
	}
	return parsed, nil
}

func (s *Server) listAssignments(c *call) (api.Page[api.Assignment], error) {
	page, err := c.pageCursor()
	if err != nil {
		return api.Page[api.Assignment]{}, err
	}
	of, err := parseScope("scope", c.URL.Query().Get("scope"))
	if err != nil {
		return api.Page[api.Assignment]{}, err
	}
	agent := c.URL.Query().Get("agent")
	found, err := refuseUnknownFilter[api.Assignment](c, api.FilterNames{Agent: agent, Scope: of})(s.backend.Assignments.Assignments(c.Context(), agent, of, page))
	return shownPage(c, found), err
}

func (s *Server) getAssignment(c *call) (api.Assignment, error) {
	of, err := parseScope("scope", c.PathValue("scope"))
	if err != nil {
		return api.Assignment{}, err
	}
	found, err := s.backend.Assignments.Assignment(c.Context(), c.PathValue("agent"), of)
	return asShownTo(c, found), err
}

func (s *Server) putAssignment(c *call, a api.Assignment) (api.Assignment, error) {
	of, err := parseScope("scope", c.PathValue("scope"))
	if err != nil {
		return api.Assignment{}, err
	}
	if a.Agent != "" && a.Agent != c.PathValue("agent") || a.Scope != (api.Scope{}) && a.Scope != of {
		return api.Assignment{}, api.InvalidField("scope", "the body is for %s on %s, the address for %s on %s",
			printable.Clip(a.Agent), printable.Clip(a.Scope.String()), printable.Clip(c.PathValue("agent")), printable.Clip(of.String()))
	}
	a.Agent, a.Scope = c.PathValue("agent"), of
	if a.Revision, err = c.guardRevision(); err != nil {
		return api.Assignment{}, err
	}
	var o api.AssignOptions
	if o.DryRun, err = c.boolParam("dryRun"); err != nil {
		return api.Assignment{}, err
	}
	if o.Force, err = c.boolParam("force"); err != nil {
		return api.Assignment{}, err
	}
	return s.backend.Assignments.PutAssignment(c.Context(), c.actor(), a, o)
}

func (s *Server) patchAssignment(c *call, change func(api.Assignment) (api.Assignment, error)) (api.Assignment, error) {
	of, err := parseScope("scope", c.PathValue("scope"))
	if err != nil {
		return api.Assignment{}, err
	}
	key, err := c.nounKey("agent")
	if err != nil {
		return api.Assignment{}, err
	}
	one := api.Assignment{Agent: key.Name, Scope: of, Revision: key.Revision}
	return s.backend.Assignments.ChangeAssignment(c.Context(), c.actor(), one, func(a api.Assignment) (api.Assignment, error) {
		changed, err := change(a)
		if err == nil && (changed.Agent != a.Agent || changed.Scope != a.Scope) {
			err = api.InvalidField("scope", "agent and scope of an assignment never change: they are %s and %s", printable.Clip(a.Agent), printable.Clip(a.Scope.String()))
		}
		return changed, err
	})
}

func (s *Server) deleteAssignment(c *call) error {
	of, err := parseScope("scope", c.PathValue("scope"))
	if err != nil {
		return err
	}
	revision, err := c.guardRevision()
	if err != nil {
		return err
	}
	return s.backend.Assignments.DeleteAssignment(c.Context(), c.actor(), api.Assignment{
		Agent: c.PathValue("agent"), Scope: of, Revision: revision,
	})
}

func (s *Server) listHolds(c *call) (api.Page[api.Hold], error) {
	page, err := c.pageCursor()
	if err != nil {
		return api.Page[api.Hold]{}, err
	}
	of, err := parseScope("scope", c.URL.Query().Get("scope"))
	if err != nil {
		return api.Page[api.Hold]{}, err
	}
	return refuseUnknownFilter[api.Hold](c, api.FilterNames{Scope: of})(s.backend.Holds.Holds(c.Context(), of, page))
}
