package web

import (
	"net/http"
	"net/url"

	"github.com/ops-updater/ops-updater/meta/api"
)

// deployView asks what to deploy where, and then shows what that changes.
type deployView struct {
	Agents     []api.Agent
	Releases   []api.Release
	Groups     []api.Group
	Strategies []api.Strategy

	Agent    string
	Version  string
	Scope    string // as [api.Scope.String] writes it
	Host     string // typed in, instead of a scope of the list
	Strategy string // empty: the agent's default; nowStrategy: at once
	Cmd      string

	Impact *api.Impact // set on the second step
}

// nowStrategy stands for an assignment at once, without a rollout.
const nowStrategy = "(now)"

func (d deployView) scope() (api.Scope, error) {
	if d.Host != "" {
		return api.Scope{Kind: api.ScopeHost, Name: d.Host}, nil
	}
	scope, err := api.ParseScope(d.Scope)
	if err != nil {
		return scope, &api.Problem{Title: "Deploy to whom?", Status: http.StatusBadRequest, Detail: err.Error(), Field: "scope"}
	}
	return scope, nil
}

func deployPage(v *visit) error {
	q := v.r.URL.Query()
	data := deployView{
		Agent: q.Get("agent"), Version: q.Get("version"), Scope: q.Get("scope"), Host: q.Get("host"),
		Strategy: q.Get("strategy"), Cmd: q.Get("cmd"),
	}
	if err := data.fill(v); err != nil {
		return err
	}
	if q.Has("preview") {
		scope, err := data.scope()
		if err != nil {
			return err
		}
		impact, err := v.api.AssignmentImpact(v.r.Context(), api.Assignment{Agent: data.Agent, Scope: scope, Version: data.Version, Cmd: data.Cmd})
		if err != nil {
			return err
		}
		data.Impact, data.Scope = &impact, scope.String()
	}
	v.render(http.StatusOK, "deploy", "Deploy", data)
	return nil
}

// fill reads what there is to choose from.
func (d *deployView) fill(v *visit) error {
	ctx := v.r.Context()
	agents, err := v.api.Agents(ctx, api.ListOptions{Limit: api.MaxPage})
	if err != nil {
		return err
	}
	groups, err := v.api.Groups(ctx, api.ListOptions{Limit: api.MaxPage})
	if err != nil {
		return err
	}
	strategies, err := v.api.Strategies(ctx, api.ListOptions{Limit: api.MaxPage})
	if err != nil {
		return err
	}
	d.Agents, d.Groups, d.Strategies = agents.Items, groups.Items, strategies.Items
	if d.Agent == "" && len(d.Agents) == 1 {
		d.Agent = d.Agents[0].Name
	}
	if d.Agent == "" {
		return nil
	}
	releases, err := v.api.Releases(ctx, api.ListOptions{Agent: d.Agent, Limit: 200})
	d.Releases = releases.Items
	return err
}

// deploy makes the rollout, or the assignment when it was asked for at once.
func deploy(v *visit) error {
	if err := v.parseForm(); err != nil {
		return err
	}
	form := v.r.PostForm
	scope, err := api.ParseScope(form.Get("scope"))
	if err != nil {
		return &api.Problem{Title: "Deploy to whom?", Status: http.StatusBadRequest, Detail: err.Error(), Field: "scope"}
	}
	agent, version := form.Get("agent"), form.Get("version")
	if form.Get("strategy") == nowStrategy || form.Get("cmd") == "stop" {
		current, err := v.api.Assignment(v.r.Context(), agent, scope)
		if err != nil && !isNotFound(err) {
			return err
		}
		current.Agent, current.Scope, current.Version, current.Cmd = agent, scope, version, form.Get("cmd")
		if _, err := v.api.PutAssignment(v.r.Context(), current); err != nil {
			return err
		}
		return v.redirect("/agents/" + url.PathEscape(agent))
	}
	rollout, err := v.api.CreateRollout(v.r.Context(), api.NewRollout{
		Agent: agent, Version: version, Scope: scope, Strategy: form.Get("strategy"), Reason: form.Get("reason"),
	})
	if err != nil {
		return err
	}
	return v.redirect("/rollouts/" + url.PathEscape(rollout.ID))
}
