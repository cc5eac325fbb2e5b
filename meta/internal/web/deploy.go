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
	Cmd      string // empty: as the assignment says; else start or stop, at once
	Reason   string

	Problem *api.Problem // why the step before did not work; what was entered is kept
	Impact  *api.Impact  // set on the second step
}

// nowStrategy stands for an assignment at once, without a rollout.
const nowStrategy = "(now)"

func (d deployView) chosenScope() (api.Scope, error) {
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
	if err := data.fillChoices(v); err != nil {
		return err
	}
	if q.Has("preview") {
		if err := data.previewImpact(v); err != nil {
			return data.showProblem(v, err)
		}
	}
	v.renderPage(http.StatusOK, "deploy", "Deploy", data)
	return nil
}

// previewImpact asks what the deployment would change.
func (d *deployView) previewImpact(v *visit) error {
	scope, err := d.chosenScope()
	if err != nil {
		return err
	}
	next, err := d.nextAssignment(v, scope)
	if err != nil {
		return err
	}
	impact, err := v.api.AssignmentImpact(v.r.Context(), next)
	if err != nil {
		return err
	}
	d.Impact, d.Scope = &impact, scope.String()
	return nil
}

// showProblem shows the form again, as it was filled in, with what is wrong.
func (d *deployView) showProblem(v *visit, err error) error {
	d.Impact = nil
	return v.showAgain(err, "deploy", "Deploy", func(p *api.Problem) any { d.Problem = p; return *d })
}

// fillChoices reads what there is to choose from.
func (d *deployView) fillChoices(v *visit) error {
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

// deployForm makes the rollout, or the assignment when it was asked for at once.
func deployForm(v *visit) error {
	if err := v.parseForm(); err != nil {
		return err
	}
	form := v.r.PostForm
	data := deployView{
		Agent: form.Get("agent"), Version: form.Get("version"), Scope: form.Get("scope"),
		Strategy: form.Get("strategy"), Cmd: form.Get("cmd"), Reason: form.Get("reason"),
	}
	to, err := data.carryOut(v)
	if err == nil {
		return v.redirectTo(to)
	}
	if fillErr := data.fillChoices(v); fillErr != nil {
		return fillErr
	}
	return data.showProblem(v, err)
}

// carryOut returns the address of the page that shows what comes of it.
func (d *deployView) carryOut(v *visit) (string, error) {
	scope, err := d.chosenScope()
	if err != nil {
		return "", err
	}
	if d.AtOnce() {
		return "/agents/" + url.PathEscape(d.Agent), d.writeAssignment(v, scope)
	}
	rollout, err := v.api.CreateRollout(v.r.Context(), api.NewRollout{
		Agent: d.Agent, Version: d.Version, Scope: scope, Strategy: d.Strategy, Reason: d.Reason,
	})
	return "/rollouts/" + url.PathEscape(rollout.ID), err
}

// AtOnce reports whether it is an assignment instead of a rollout.
func (d deployView) AtOnce() bool { return d.Strategy == nowStrategy || d.Cmd != "" }

// nextAssignment is the one in force, with what the form says; its Revision is
// [api.MustNotExist] when there is none yet.
func (d *deployView) nextAssignment(v *visit, scope api.Scope) (api.Assignment, error) {
	next, err := v.api.Assignment(v.r.Context(), d.Agent, scope)
	if isNotFound(err) {
		next, err = api.Assignment{Agent: d.Agent, Scope: scope, Revision: api.MustNotExist}, nil
	}
	next.Version = d.Version
	if d.Cmd != "" {
		next.Cmd = d.Cmd
	}
	return next, err
}

// writeAssignment changes of the assignment what the form says and nothing else.
func (d *deployView) writeAssignment(v *visit, scope api.Scope) error {
	next, err := d.nextAssignment(v, scope)
	if err != nil {
		return err
	}
	if next.Revision == api.MustNotExist {
		_, err = v.api.PutAssignment(v.r.Context(), next)
		return err
	}
	change := api.Patch{"version": d.Version}
	if d.Cmd != "" {
		change["cmd"] = d.Cmd
	}
	_, err = v.api.PatchAssignment(v.r.Context(), d.Agent, scope, change, next.Revision)
	return err
}
