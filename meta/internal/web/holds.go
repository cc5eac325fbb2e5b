package web

import (
	"net/http"
	"time"

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
		d, err := time.ParseDuration(text)
		if err != nil || d <= 0 {
			return &api.Problem{Title: "For how long?", Status: http.StatusBadRequest, Detail: "The duration " + text + " is not one such as 30m or 12h.", Field: "for"}
		}
		until := v.cfg.Now().Add(d)
		hold.Until = &until
	}
	if _, err := v.api.CreateHold(v.r.Context(), hold); err != nil {
		return err
	}
	return v.redirect("/holds")
}

func releaseHold(v *visit) error {
	if err := v.api.DeleteHold(v.r.Context(), v.r.PathValue("id")); err != nil {
		return err
	}
	return v.redirect("/holds")
}
