package web

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/internal/timespan"
	"github.com/ops-updater/ops-updater/meta/api"
)

func holdsPage(v *visit) error {
	holds, err := v.api.Holds(v.r.Context(), api.ListOptions{Limit: api.MaxPage})
	if err != nil {
		return err
	}
	v.renderPage(http.StatusOK, "holds", "Holds", holds.Items)
	return nil
}

type holdView struct {
	Scope  string
	Host   string
	Reason string
	For    string
	Groups []api.Group
	Agents []api.Agent

	Problem *api.Problem // why it was not made; what was entered is kept
}

func newHold(v *visit) error {
	data := holdView{Scope: v.r.URL.Query().Get("scope")}
	if err := data.fillChoices(v); err != nil {
		return err
	}
	v.renderPage(http.StatusOK, "hold", "Hold", data)
	return nil
}

// fillChoices reads what there is to choose from.
func (d *holdView) fillChoices(v *visit) error {
	groups, err := v.api.Groups(v.r.Context(), api.ListOptions{Limit: api.MaxPage})
	if err != nil {
		return err
	}
	agents, err := v.api.Agents(v.r.Context(), api.ListOptions{Limit: api.MaxPage})
	if err != nil {
		return err
	}
	d.Groups, d.Agents = groups.Items, agents.Items
	return nil
}

func createHold(v *visit) error {
	if err := v.parseForm(); err != nil {
		return err
	}
	form := v.r.PostForm
	data := holdView{Scope: form.Get("scope"), Host: form.Get("host"), Reason: form.Get("reason"), For: form.Get("for")}
	hold, err := data.holdOf(v.cfg.Now())
	if err == nil {
		_, err = v.api.CreateHold(v.r.Context(), hold)
	}
	if err == nil {
		return v.redirectTo("/holds")
	}
	if fillErr := data.fillChoices(v); fillErr != nil {
		return fillErr
	}
	return v.showAgain(err, "hold", "Hold", func(p *api.Problem) any { data.Problem = p; return data })
}

// holdOf is what the form asks for.
func (d *holdView) holdOf(now time.Time) (api.Hold, error) {
	hold := api.Hold{Scope: api.Scope{Kind: api.ScopeHost, Name: d.Host}, Reason: d.Reason}
	if d.Host == "" {
		var err error
		if hold.Scope, err = api.ParseScope(d.Scope); err != nil {
			return hold, &api.Problem{Title: "Hold what?", Status: http.StatusBadRequest, Detail: err.Error(), Hint: "Name a host, or choose a group or an agent.", Field: "scope"}
		}
	}
	if d.For != "" {
		span, err := timespan.Parse(d.For)
		if err != nil {
			return hold, &api.Problem{Title: "For how long?", Status: http.StatusBadRequest, Detail: err.Error(), Field: "for"}
		}
		until := now.Add(span)
		hold.Until = &until
	}
	return hold, nil
}

// confirmRelease says which hosts go on when a hold is released.
func confirmRelease(v *visit) error {
	ctx, id := v.r.Context(), v.r.PathValue("id")
	holds, err := v.api.Holds(ctx, api.ListOptions{Limit: api.MaxPage})
	if err != nil {
		return err
	}
	i := slices.IndexFunc(holds.Items, func(h api.Hold) bool { return h.ID == id })
	if i < 0 {
		return &api.Problem{Title: "There is no such hold", Status: http.StatusNotFound, Detail: "It was released, or its time is over."}
	}
	hold := holds.Items[i]
	hosts, err := countHeld(ctx, v.api, hold.Scope)
	if err != nil {
		return err
	}
	v.renderPage(http.StatusOK, "confirm", "Release a hold", confirmView{
		Question: "Release the hold on " + hold.Scope.String() + "?",
		Effect: "It says: " + hold.Reason + ". " + printable.Count(hosts, "host", "hosts") + " may change again, at once where another version is assigned, " +
			"and take part in rollouts that are under way.",
		Action: "/holds/" + url.PathEscape(id) + "/release", Button: "Release it", Back: "/holds",
	})
	return nil
}

// countHeld counts the known hosts that a scope covers.
func countHeld(ctx context.Context, c *api.Client, s api.Scope) (int, error) {
	q := api.HostQuery{Limit: 1}
	switch s.Kind {
	case api.ScopeHost:
		return 1, nil
	case api.ScopeGroup:
		q.Group = s.Name
	case api.ScopeAgent:
		q.Agent = s.Name
	case api.ScopeEveryone:
	}
	page, err := c.Hosts(ctx, q)
	return page.Total, err
}

func releaseHold(v *visit) error {
	if err := v.api.DeleteHold(v.r.Context(), v.r.PathValue("id")); err != nil {
		return err
	}
	return v.redirectTo("/holds")
}
