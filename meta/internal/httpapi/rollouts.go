package httpapi

import (
	"net/http"

	"github.com/ops-updater/ops-updater/meta/api"
)

func (s *Server) rolloutRoutes() []route {
	routes := []route{
		{
			method: "GET", path: "/rollouts", id: "listRollouts", summary: "Rollouts, the newest first", role: api.RoleViewer,
			query: listingParams(agent, param{"state", "only in this state; active: not ended", ""}), endpoint: reads(s.listRollouts),
		},
		{method: "POST", path: "/rollouts", id: "createRollout", summary: "Roll a release out", role: api.RoleOperator, remit: remitEach, query: []param{dryRun}, endpoint: takes(http.StatusCreated, s.createRollout)},
		{method: "GET", path: "/rollouts/{id}", id: "getRollout", summary: "One rollout", role: api.RoleViewer, endpoint: reads(func(c *call) (api.Rollout, error) {
			return s.backend.Rollouts.Rollout(c.Context(), c.PathValue("id"))
		})},
		{method: "GET", path: "/rollouts/{id}/transitions", id: "listTransitions", summary: "What it went through, the oldest first", role: api.RoleViewer, query: listingParams(), endpoint: reads(s.listTransitions)},
		{
			method: "GET", path: "/rollouts/{id}/grants", id: "listGrants", summary: "Which hosts may have its target", role: api.RoleViewer,
			query: listingParams(param{"state", "pending, succeeded or failed", ""}), endpoint: reads(s.listGrants),
		},
		{
			method: "GET", path: "/rollouts/{id}/hosts", id: "listRolloutHosts", summary: "Its hosts by name, and how each stands", role: api.RoleViewer,
			query: listingParams(param{"state", "waiting, inFlight, succeeded, already, failed, held or silent", ""}), endpoint: reads(s.rolloutHosts),
		},
	}
	for action, summary := range map[string]string{
		api.ActionApprove: "Open the gate it waits at", api.ActionPause: "Stop new grants", api.ActionResume: "Go on",
		api.ActionRetry: "Let the hosts that failed try again", api.ActionSkip: "Go on with the last stage at once",
		api.ActionAbort: "End it where it is", api.ActionRollback: "End it and go back to the previous release",
	} {
		routes = append(routes, route{
			method: "POST", path: "/rollouts/{id}/" + action, id: action + "Rollout", summary: summary, role: api.RoleOperator, remit: remitEach,
			endpoint: takes(http.StatusOK, func(c *call, a api.RolloutAction) (api.Rollout, error) {
				return s.backend.Rollouts.ActOnRollout(c.Context(), c.actor(), c.PathValue("id"), action, a)
			}),
		})
	}
	return routes
}

func (s *Server) createRollout(c *call, n api.NewRollout) (api.Rollout, error) {
	dry, err := c.boolParam("dryRun")
	switch {
	case err != nil:
		return api.Rollout{}, err
	case dry:
		return s.backend.Rollouts.TryRollout(c.Context(), c.actor(), n)
	}
	return s.backend.Rollouts.CreateRollout(c.Context(), c.actor(), n)
}

func (s *Server) listRollouts(c *call) (api.Page[api.Rollout], error) {
	page, err := c.pageCursor()
	if err != nil {
		return api.Page[api.Rollout]{}, err
	}
	f := api.RolloutFilter{Agent: c.URL.Query().Get("agent")}
	state := c.URL.Query().Get("state")
	if err := api.Unknown("state", state, api.RolloutStates()); err != nil {
		return api.Page[api.Rollout]{}, err
	}
	if state == "active" {
		f.Active = true
	} else {
		f.State = api.RolloutState(state)
	}
	return refuseUnknownFilter[api.Rollout](c, api.FilterNames{Agent: f.Agent})(s.backend.Rollouts.Rollouts(c.Context(), f, page))
}

func (s *Server) listTransitions(c *call) (api.Page[api.Transition], error) {
	page, err := c.pageCursor()
	if err != nil {
		return api.Page[api.Transition]{}, err
	}
	return s.backend.Rollouts.Transitions(c.Context(), c.PathValue("id"), page)
}

func (s *Server) listGrants(c *call) (api.Page[api.Grant], error) {
	page, err := c.pageCursor()
	if err != nil {
		return api.Page[api.Grant]{}, err
	}
	f := api.GrantFilter{Rollout: c.PathValue("id")}
	switch state := c.URL.Query().Get("state"); state {
	case "":
	case "pending":
		f.Open = true
	case api.OutcomeSucceeded, api.OutcomeFailed:
		f.Outcome = state
	default:
		return api.Page[api.Grant]{}, api.Unknown("state", state, api.GrantStates())
	}
	return s.backend.Rollouts.Grants(c.Context(), f, page)
}

func (s *Server) rolloutHosts(c *call) (api.Page[api.RolloutHost], error) {
	page, err := c.pageCursor()
	if err != nil {
		return api.Page[api.RolloutHost]{}, err
	}
	state := api.RolloutHostState(c.URL.Query().Get("state"))
	if state != "" && !state.Known() {
		var known []string
		for _, s := range api.RolloutHostStates() {
			known = append(known, string(s))
		}
		return api.Page[api.RolloutHost]{}, api.Unknown("state", string(state), known)
	}
	return s.backend.Rollouts.RolloutHosts(c.Context(), c.PathValue("id"), state, page)
}
