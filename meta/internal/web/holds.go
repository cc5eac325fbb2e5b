package web

import (
	"context"
	"net/http"
	"net/url"
	"slices"

	"github.com/ops-updater/ops-updater/meta/api"
)

func holdsPage(v *visit) error {
	holds, err := v.api.Holds(v.r.Context(), api.ListOptions{Limit: api.MaxPage})
	if err != nil {
		return err
	}
	v.render(http.StatusOK, "holds", "Holds", holds.Items)
	return nil
}

type holdView struct {
	Scope  string
	Groups []api.Group
	Agents []api.Agent
}

func newHold(v *visit) error {
	ctx := v.r.Context()
	groups, err := v.api.Groups(ctx, api.ListOptions{Limit: api.MaxPage})
	if err != nil {
		return err
	}
	agents, err := v.api.Agents(ctx, api.ListOptions{Limit: api.MaxPage})
	if err != nil {
		return err
	}
	v.render(http.StatusOK, "hold", "Hold", holdView{Scope: v.r.URL.Query().Get("scope"), Groups: groups.Items, Agents: agents.Items})
	return nil
}

func createHold(v *visit) error {
	if err := v.parseForm(); err != nil {
		return err
	}
	form := v.r.PostForm
	scope := api.Scope{Kind: api.ScopeHost, Name: form.Get("host")}
	if scope.Name == "" {
		var err error
		if scope, err = api.ParseScope(form.Get("scope")); err != nil {
			return &api.Problem{Title: "Hold what?", Status: http.StatusBadRequest, Detail: err.Error(), Hint: "Name a host, or choose a group or an agent.", Field: "scope"}
		}
	}
	hold := api.Hold{Scope: scope, Reason: form.Get("reason")}
	if text := form.Get("for"); text != "" {
		d, err := api.ParseSpan(text)
		if err != nil {
			return &api.Problem{Title: "For how long?", Status: http.StatusBadRequest, Detail: err.Error(), Field: "for"}
		}
		until := v.cfg.Now().Add(d)
		hold.Until = &until
	}
	if _, err := v.api.CreateHold(v.r.Context(), hold); err != nil {
		return err
	}
	return v.redirect("/holds")
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
	hosts, err := held(ctx, v.api, hold.Scope)
	if err != nil {
		return err
	}
	v.render(http.StatusOK, "confirm", "Release a hold", confirmView{
		Question: "Release the hold on " + hold.Scope.String() + "?",
		Effect: "It says: " + hold.Reason + ". " + plural(hosts, "host", "hosts") + " may change again, at once where another version is assigned, " +
			"and take part in rollouts that are under way.",
		Action: "/holds/" + url.PathEscape(id) + "/release", Button: "Release it", Back: "/holds",
	})
	return nil
}

// held counts the known hosts that a scope covers.
func held(ctx context.Context, c *api.Client, s api.Scope) (int, error) {
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
	return v.redirect("/holds")
}
