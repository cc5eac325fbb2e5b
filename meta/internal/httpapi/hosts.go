package httpapi

import (
	"net/http"
	"strings"

	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/meta/api"
)

func (s *Server) hostRoutes() []route {
	return []route{
		{
			method: "GET", path: "/hosts", id: "listHosts", summary: "Hosts by name; everything given must hold", role: api.RoleViewer,
			query: listingParams(
				param{"q", "part of the name, the address or a label's value", ""}, param{"group", "that this group matches", ""},
				param{"agent", "that report this agent", ""}, param{"version", "of the agent, or of any", ""},
				param{"status", "first word of the agent's status", ""}, param{"phase", "of the agent, or of any", ""},
				param{"arch", "such as linux_amd64", ""},
				param{"trust", "how strictly they verify: off, warn, require; or refusing: they do not believe this server", ""},
				param{"label", "NAME=VALUE that they have; may be repeated, all must hold", ""},
				param{"failing", "an agent failed, was rolled back or has an error", "boolean"},
				param{"silent", "not seen for three intervals", "boolean"},
				param{"problem", "two hosts under one name, a wrong clock", "boolean"},
				param{"drifted", "a version is not the wanted one", "boolean"},
				param{"inOrder", "neither silent, nor failing, nor drifted", "boolean"},
			),
			endpoint: reads(s.listHosts),
		},
		{method: "GET", path: "/hosts/{host}", id: "getHost", summary: "One host", role: api.RoleViewer, endpoint: reads(func(c *call) (api.Host, error) {
			return s.backend.Hosts.Host(c.Context(), c.PathValue("host"))
		})},
		{method: "DELETE", path: "/hosts/{host}", id: "deleteHost", summary: "Forget a host and void its credential", role: api.RoleOperator, remit: remitNone, endpoint: acts(func(c *call) error {
			return s.backend.Hosts.DeleteHost(c.Context(), c.actor(), c.PathValue("host"))
		})},
		{
			method: "GET", path: "/hosts/{host}/events", id: "listHostEvents", summary: "A host's timeline, the newest first", role: api.RoleViewer,
			query: listingParams(agent, param{"kind", "such as version", ""}, since, param{"until", "before this time", ""}), endpoint: reads(s.hostEvents),
		},
		{method: "GET", path: "/hosts/{host}/explain", id: "explain", summary: "What a host shall run, and which rule says so", role: api.RoleViewer, endpoint: reads(func(c *call) (api.Explanation, error) {
			return s.backend.Hosts.Explain(c.Context(), c.PathValue("host"))
		})},
		{
			method: "POST", path: "/selectors/match", id: "matchSelector", summary: "Known hosts that a selector matches", role: api.RoleViewer,
			query: listingParams(), endpoint: takes(http.StatusOK, s.matchSelector),
		},
	}
}

func (s *Server) listHosts(c *call) (api.Page[api.Host], error) {
	page, err := c.pageCursor()
	if err != nil {
		return api.Page[api.Host]{}, err
	}
	v := c.URL.Query()
	q := api.HostQuery{
		Search: v.Get("q"), Group: v.Get("group"), Agent: v.Get("agent"), Version: v.Get("version"),
		Status: v.Get("status"), Phase: v.Get("phase"), Arch: v.Get("arch"), Trust: v.Get("trust"), After: page.After, Limit: page.Limit,
	}
	if q.Labels, err = labelParams(v["label"]); err != nil {
		return api.Page[api.Host]{}, err
	}
	for name, on := range map[string]*bool{"failing": &q.Failing, "silent": &q.Silent, "problem": &q.Problem, "drifted": &q.Drifted, "inOrder": &q.InOrder} {
		if *on, err = c.boolParam(name); err != nil {
			return api.Page[api.Host]{}, err
		}
	}
	f := api.FilterNames{Agent: q.Agent, Group: q.Group, Version: q.Version, Status: q.Status, Phase: q.Phase, Arch: q.Arch}
	return refuseUnknownFilter[api.Host](c, f)(s.backend.Hosts.Hosts(c.Context(), q))
}

// maxLabels is how many labels a query may name.
const maxLabels = 20

func labelParams(values []string) (map[string]string, error) {
	if len(values) > maxLabels {
		return nil, api.InvalidField("label", "%d labels are too many: at most %d", len(values), maxLabels)
	}
	labels := make(map[string]string, len(values))
	for _, text := range values {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return nil, api.InvalidField("label", "label %q is not NAME=VALUE", printable.Clip(text))
		}
		labels[name] = value
	}
	return labels, nil
}

func (s *Server) hostEvents(c *call) (api.Page[api.Event], error) {
	page, err := c.pageCursor()
	if err != nil {
		return api.Page[api.Event]{}, err
	}
	f := api.EventFilter{Host: c.PathValue("host"), Agent: c.URL.Query().Get("agent"), Kind: c.URL.Query().Get("kind")}
	if f.Since, err = c.timeParam("since"); err != nil {
		return api.Page[api.Event]{}, err
	}
	if f.Until, err = c.timeParam("until"); err != nil {
		return api.Page[api.Event]{}, err
	}
	if err := api.Unknown("kind", f.Kind, api.EventKinds()); err != nil {
		return api.Page[api.Event]{}, err
	}
	return refuseUnknownFilter[api.Event](c, api.FilterNames{Agent: f.Agent})(s.backend.History.Events(c.Context(), f, page))
}

func (s *Server) matchSelector(c *call, selector api.Selector) (api.Page[api.Host], error) {
	page, err := c.pageCursor()
	if err != nil {
		return api.Page[api.Host]{}, err
	}
	if err := selector.Validate(); err != nil {
		return api.Page[api.Host]{}, err
	}
	return s.backend.Hosts.Match(c.Context(), selector, page)
}
