package httpapi

import (
	"net/http"

	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/meta/api"
)

const oneChannel = "/agents/{agent}/channels/{channel}"

func (s *Server) channelRoutes() []route {
	return []route{
		{
			method: "GET", path: "/channels", id: "listChannels", summary: "Which version each channel points at", role: api.RoleViewer,
			query: listingParams(agent), endpoint: reads(s.listChannels),
		},
		{method: "GET", path: oneChannel, id: "getChannel", summary: "One channel of an agent", role: api.RoleViewer, endpoint: reads(func(c *call) (api.Channel, error) {
			return s.backend.Channels.Channel(c.Context(), c.PathValue("agent"), c.PathValue("channel"))
		})},
		{
			method: "PUT", path: oneChannel, id: "putChannel", summary: "Make a channel, or move it to a version", role: api.RoleOperator, remit: remitAgent,
			query: []param{{"downgrade", "also to an older version than the one that it points at", "boolean"}}, guarded: true, endpoint: takes(http.StatusOK, s.putChannel),
		},
		{method: "DELETE", path: oneChannel, id: "deleteChannel", summary: "Remove a channel", role: api.RoleOperator, remit: remitAgent, guarded: true, endpoint: acts(func(c *call) error {
			revision, err := c.guardRevision()
			if err != nil {
				return err
			}
			return s.backend.Channels.DeleteChannel(c.Context(), c.actor(), api.Channel{Agent: c.PathValue("agent"), Name: c.PathValue("channel"), Revision: revision})
		})},
	}
}

func (s *Server) followingRoutes() []route {
	return []route{
		{
			method: "GET", path: "/schedules/{schedule}/states", id: "listScheduleStates", summary: "How each agent stands in it: what is next, and what that waits for",
			role: api.RoleViewer, endpoint: reads(func(c *call) (api.Page[api.ScheduleState], error) {
				states, err := s.backend.Following.ScheduleStates(c.Context(), c.PathValue("schedule"))
				return api.Page[api.ScheduleState]{Items: states, Total: len(states)}, err
			}),
		},
		{
			method: "GET", path: "/schedules/{schedule}/plan", id: "getSchedulePlan", summary: "When what would change by it, agent by agent; nothing is written",
			role: api.RoleViewer, query: planParams(), endpoint: reads(s.schedulePlan),
		},
		{
			method: "GET", path: "/schedules/{schedule}/plan/hosts", id: "listSchedulePlanHosts", summary: "The hosts of the plan of one agent by name, and when each would change",
			role: api.RoleViewer, query: listingParams(planParams()...), endpoint: reads(s.schedulePlanHosts),
		},
	}
}

func planParams() []param {
	return []param{
		{"agent", "only this one of its agents", ""},
		{"version", "as if the agent's channel pointed at it; left out: what it does point at", ""},
		{"from", "when to begin; left out: now", ""},
		{"takes", "seconds that each host is assumed to need until it has shown that the version works", "integer"},
	}
}

func (c *call) planQuery() (api.PlanQuery, error) {
	q := c.URL.Query()
	plan := api.PlanQuery{Schedule: c.PathValue("schedule"), Agent: q.Get("agent"), Version: q.Get("version")}
	var err error
	if plan.From, err = c.timeParam("from"); err != nil {
		return plan, err
	}
	if plan.Takes, err = intParam(q.Get("takes"), "takes", 0); err != nil {
		return plan, err
	}
	return plan, plan.Validate()
}

func (s *Server) schedulePlan(c *call) (api.Page[api.SchedulePlan], error) {
	q, err := c.planQuery()
	if err != nil {
		return api.Page[api.SchedulePlan]{}, err
	}
	plans, err := s.backend.Following.SchedulePlan(c.Context(), q)
	return api.Page[api.SchedulePlan]{Items: plans, Total: len(plans)}, err
}

func (s *Server) schedulePlanHosts(c *call) (api.Page[api.PlanHost], error) {
	q, err := c.planQuery()
	if err != nil {
		return api.Page[api.PlanHost]{}, err
	}
	page, err := c.pageCursor()
	if err != nil {
		return api.Page[api.PlanHost]{}, err
	}
	return s.backend.Following.SchedulePlanHosts(c.Context(), q, page)
}

func (s *Server) listChannels(c *call) (api.Page[api.Channel], error) {
	page, err := c.pageCursor()
	if err != nil {
		return api.Page[api.Channel]{}, err
	}
	agent := c.URL.Query().Get("agent")
	return refuseUnknownFilter[api.Channel](c, api.FilterNames{Agent: agent})(s.backend.Channels.Channels(c.Context(), agent, page))
}

func (s *Server) putChannel(c *call, ch api.Channel) (api.Channel, error) {
	agent, name := c.PathValue("agent"), c.PathValue("channel")
	if ch.Agent != "" && ch.Agent != agent || ch.Name != "" && ch.Name != name {
		return ch, api.InvalidField("name", "the body is for channel %s of %s, the address for %s of %s",
			printable.Clip(ch.Name), printable.Clip(ch.Agent), printable.Clip(name), printable.Clip(agent))
	}
	ch.Agent, ch.Name = agent, name
	var err error
	if ch.Revision, err = c.guardRevision(); err != nil {
		return ch, err
	}
	downgrade, err := c.boolParam("downgrade")
	if err != nil {
		return ch, err
	}
	return s.backend.Channels.PutChannel(c.Context(), c.actor(), ch, downgrade)
}
