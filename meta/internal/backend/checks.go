package backend

import (
	"context"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
)

// CheckFleet says whether hosts are told what is wanted, and what they say is kept.
func (c *core) CheckFleet() api.Check {
	if problems := c.fleet.Snapshot().Problems(); len(problems) > 0 {
		return api.Checkf("wanted state", api.CheckError, "mend what it names", "%s", problems[0])
	}
	if n, failing := c.fleet.Backlog(); failing {
		return api.Checkf("journal", api.CheckError, "look at the database", "the changes of %d hosts wait to be kept", n)
	}
	return api.Checkf("fleet", api.CheckOK, "", "%d hosts known", c.fleet.Hosts())
}

// CheckStandstill says whether hosts are told what is wanted.
func (c *core) CheckStandstill() api.Check {
	if st := c.wanted.Load().Standstill; st != nil {
		return api.Checkf("standstill", api.CheckWarning, "look at the difference with ops-meta standstill, then say ops-meta standstill end",
			"the fleet stands still since %s: %s", st.Since.Format(time.RFC3339), st.Reason)
	}
	return api.Checkf("standstill", api.CheckOK, "", "hosts are told what is wanted")
}

// CheckContents makes sure that what releases name is there.
func (c *core) CheckContents(ctx context.Context) api.Check {
	missing, all := 0, 0
	for key, a := range c.wanted.Load().artifacts {
		if a.External != "" {
			continue
		}
		all++
		content, err := c.artifacts.Open(ctx, a.SHA256)
		if err != nil {
			missing++
			c.log.Warn().Err(err).Str("agent", key.Agent).Str("version", key.Version).Str("arch", key.Arch).Msg("artifact cannot be opened")
			continue
		}
		_ = content.Close()
	}
	if missing > 0 {
		return api.Checkf("artifacts", api.CheckError, "restore a backup, or publish them again: the log names them", "%d of %d cannot be opened", missing, all)
	}
	return api.Checkf("artifacts", api.CheckOK, "", "%d, all there", all)
}
