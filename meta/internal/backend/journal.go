package backend

import (
	"context"

	"github.com/ops-updater/ops-updater/meta/api"
)

// journal is where the fleet keeps its changes.
type journal struct{ *core }

// SaveReports keeps hosts and their timelines, and tells who follows them.
func (j journal) SaveReports(ctx context.Context, reports []api.HostReport) error {
	if err := j.store.SaveReports(ctx, reports); err != nil {
		return err
	}
	j.tellOfHosts(ctx, reports)
	if len(reports) > manyHosts {
		j.feed.Publish("hosts", "")
		return nil
	}
	for _, r := range reports {
		j.feed.Publish("host", r.Host.Name)
	}
	return nil
}

// manyHosts in one batch are told of as one change.
const manyHosts = 20

// FlushSeen keeps when hosts were heard.
func (j journal) FlushSeen(ctx context.Context, seen []api.HostSeen) error {
	return j.store.FlushSeen(ctx, seen)
}
