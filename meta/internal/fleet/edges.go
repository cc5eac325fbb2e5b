package fleet

import (
	"context"

	"github.com/ops-updater/ops-updater/meta/api"
)

// Journal is where changes become durable.
type Journal interface {
	// SaveReports keeps hosts and their timeline lines, all or none. Saving
	// one twice must do no harm beyond repeated lines.
	SaveReports(ctx context.Context, reports []api.HostReport) error
	// FlushSeen keeps when hosts were last heard.
	FlushSeen(ctx context.Context, seen []api.HostSeen) error
}

// Granter decides whether a waiting host may have a rollout's target. It is
// asked outside the path of steady heartbeats, for each heartbeat of a host
// that waits for a running rollout, so it should refuse from memory.
type Granter interface {
	// Grant reports true only when the grant is durable. On an error the host
	// waits on.
	Grant(ctx context.Context, r api.GrantRequest) (bool, error)
}

// Observer is told of hosts that changed, once the change is queued; the
// rollouts judge their grants by it. It must return quickly.
type Observer interface {
	HostChanged(r api.HostReport)
}
