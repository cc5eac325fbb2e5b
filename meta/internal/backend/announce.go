package backend

import (
	"context"
	"strings"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
)

// auditBatch is how many entries of the audit log are told of at once.
const auditBatch = 200

// Announce publishes what the audit log gained since last.
func (c *core) Announce(ctx context.Context, last int64) int64 {
	page, err := c.store.Audit(ctx, api.AuditFilter{}, api.Cursor{Limit: auditBatch})
	if err != nil {
		c.feed.Publish("reset", "")
		return last
	}
	newest := last
	for i := len(page.Items) - 1; i >= 0; i-- {
		e := page.Items[i]
		if e.ID <= last {
			continue
		}
		newest = e.ID
		c.takeOver(e)
		c.feed.Publish(e.Kind, e.Name)
	}
	return newest
}

// takeOver forgets what another replica made void.
func (c *core) takeOver(e api.AuditEntry) {
	switch e.Kind {
	case "token", "user", "session":
		c.access.DoubtCredentials("")
		if host, ok := strings.CutPrefix(e.Name, "host:"); ok {
			c.access.ForgetToken(host)
		}
	case "host":
		c.access.DoubtCredentials(e.Name)
		if e.Action != "delete" {
			return
		}
		c.access.ForgetToken(e.Name)
		if h, ok := c.fleet.Host(e.Name); ok && h.FirstSeen.Before(e.Time.Add(-time.Second)) {
			c.fleet.ForgetHost(e.Name)
			c.engine.Forget(e.Name)
		}
	}
}

// LastAudit is the newest entry's id.
func (c *core) LastAudit(ctx context.Context) int64 {
	page, err := c.store.Audit(ctx, api.AuditFilter{}, api.Cursor{Limit: 1})
	if err != nil || len(page.Items) == 0 {
		return 0
	}
	return page.Items[0].ID
}
