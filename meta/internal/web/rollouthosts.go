package web

import (
	"net/http"

	"github.com/ops-updater/ops-updater/meta/api"
)

// rolloutHostsView lists the hosts behind one of a rollout's counts.
type rolloutHostsView struct {
	Rollout api.Rollout
	State   string
	States  []api.RolloutHostState
	Page    api.Page[api.RolloutHost]
}

func rolloutHostsPage(v *visit) error {
	ctx, id, q := v.r.Context(), v.r.PathValue("id"), v.r.URL.Query()
	rollout, err := v.api.Rollout(ctx, id)
	if err != nil {
		return err
	}
	page, err := v.api.RolloutHosts(ctx, id, api.ListOptions{State: q.Get("state"), Cursor: q.Get("cursor"), Limit: hostsPerPage})
	if err != nil {
		return err
	}
	v.renderPage(http.StatusOK, "rollouthosts", "Hosts of "+rollout.Agent+" "+rollout.Version, rolloutHostsView{
		Rollout: rollout, State: q.Get("state"), States: api.RolloutHostStates(), Page: page,
	})
	return nil
}
