package web

import (
	"cmp"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
)

type overviewView struct {
	api.Overview
	Cards    []agentCard
	Failures lineChart
	Rollouts []api.Rollout // not ended
	Failing  []api.Host    // the first few
}

// agentCard is one agent over the fleet: its versions as shares, now and over
// the last day.
type agentCard struct {
	api.AgentOverview
	Shares []share
	Chart  stackChart
}

func overviewPage(v *visit) error {
	ctx := v.r.Context()
	overview, err := v.api.Overview(ctx)
	if err != nil {
		return err
	}
	rollouts, err := v.api.Rollouts(ctx, api.ListOptions{State: "active", Limit: 20})
	if err != nil {
		return err
	}
	failing, err := v.api.Hosts(ctx, api.HostQuery{Failing: true, Limit: 10})
	if err != nil {
		return err
	}
	history, err := v.api.History(ctx, "", v.cfg.Now().Add(-24*time.Hour))
	if err != nil {
		return err
	}
	data := overviewView{
		Overview: overview,
		Rollouts: rollouts.Items, Failing: failing.Items, Failures: failureChart(history),
	}
	for _, a := range overview.Agents {
		data.Cards = append(data.Cards, agentCard{AgentOverview: a, Shares: versionShares(a.Versions), Chart: versionChart(history, a)})
	}
	v.renderPage(http.StatusOK, "overview", "Fleet", data)
	return nil
}

// share is one version's part of an agent's hosts. Colour is 0 to 7 and the
// same wherever the version is drawn next to its siblings.
type share struct {
	Version string
	Hosts   int
	Offset  float64
	Percent float64
	Colour  int
}

func versionShares(versions map[string]int) []share {
	total := 0
	for _, n := range versions {
		total += n
	}
	var out []share
	offset, colour := 0.0, versionColours(versions, nil)
	for _, version := range newestFirst(versions) {
		part := percent(versions[version], total)
		out = append(out, share{Version: version, Hosts: versions[version], Offset: offset, Percent: part, Colour: colour[version]})
		offset += part
	}
	return out
}

// versionColours gives each version one of the eight there are: first those that run
// now, so that these have the same in every drawing, then those of the past.
func versionColours(now, past map[string]int) map[string]int {
	out := make(map[string]int, len(past))
	for _, versions := range []map[string]int{now, past} {
		for _, version := range newestFirst(versions) {
			if _, has := out[version]; !has {
				out[version] = len(out) % 8
			}
		}
	}
	return out
}

// newestFirst orders versions as go-version does; those it cannot order
// follow by name.
func newestFirst(versions map[string]int) []string {
	return slices.SortedFunc(maps.Keys(versions), func(a, b string) int {
		switch meta.CompareVersions(a, b) {
		case meta.Newer:
			return -1
		case meta.Older:
			return 1
		}
		return cmp.Compare(a, b)
	})
}
