package web

import (
	"net/http"
	"net/url"

	"github.com/ops-updater/ops-updater/meta/api"
)

// hostsPerPage keeps a page of a large fleet readable and quick.
const hostsPerPage = 50

type hostsView struct {
	Query  api.HostQuery
	State  string
	States []string
	Page   api.Page[api.Host]
	Groups []api.Group
	Agents []api.Agent
}

var hostStates = []string{"inOrder", "failing", "drifted", "silent", "problem"}

func hostQuery(q url.Values) api.HostQuery {
	query := api.HostQuery{
		Search: q.Get("q"), Group: q.Get("group"), Agent: q.Get("agent"), Version: q.Get("version"),
		Phase: q.Get("phase"), Status: q.Get("status"), Arch: q.Get("arch"), After: q.Get("cursor"), Limit: hostsPerPage,
	}
	switch q.Get("state") {
	case "inOrder":
		query.InOrder = true
	case "failing":
		query.Failing = true
	case "drifted":
		query.Drifted = true
	case "silent":
		query.Silent = true
	case "problem":
		query.Problem = true
	}
	return query
}

func hostsPage(v *visit) error {
	ctx, query := v.r.Context(), hostQuery(v.r.URL.Query())
	page, err := v.api.Hosts(ctx, query)
	if err != nil {
		return err
	}
	groups, err := v.api.Groups(ctx, api.ListOptions{Limit: api.MaxPage})
	if err != nil {
		return err
	}
	agents, err := v.api.Agents(ctx, api.ListOptions{Limit: api.MaxPage})
	if err != nil {
		return err
	}
	v.renderPage(http.StatusOK, "hosts", "Hosts", hostsView{
		Query: query, State: v.r.URL.Query().Get("state"), States: hostStates, Page: page, Groups: groups.Items, Agents: agents.Items,
	})
	return nil
}

type hostView struct {
	Host    api.Host
	Explain api.Explanation
	Events  api.Page[api.Event]
	Kind    string
	Kinds   []string
}

var eventKinds = []string{
	api.EventVersion, api.EventStatus, api.EventPhase, api.EventError, api.EventGrant,
	api.EventHeld, api.EventHost, api.EventConflict, api.EventSilent, api.EventReturned,
}

func hostPage(v *visit) error {
	ctx, name := v.r.Context(), v.r.PathValue("name")
	host, err := v.api.Host(ctx, name)
	if err != nil {
		return err
	}
	explanation, err := v.api.Explain(ctx, name)
	if err != nil {
		return err
	}
	q := v.r.URL.Query()
	events, err := v.api.HostEvents(ctx, name, api.ListOptions{Limit: 100, Cursor: q.Get("cursor"), Kind: q.Get("kind")})
	if err != nil {
		return err
	}
	v.renderPage(http.StatusOK, "host", host.Name, hostView{Host: host, Explain: explanation, Events: events, Kind: q.Get("kind"), Kinds: eventKinds})
	return nil
}
