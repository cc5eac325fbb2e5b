package fleet_test

import (
	"testing"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/fleet"
)

// A tarball that nobody can fetch any more is no reason to leave an agent that
// died where it is.
func TestWhatRunsIsKeptRunningWithoutItsArtifact(t *testing.T) {
	cases := map[string]struct {
		reported meta.RealAgent
		version  string // told
		cmd      string
	}{
		"it has the wanted version":        {meta.RealAgent{Name: "falcon", Version: "9.9", Status: meta.StatusStopped}, "9.9", meta.CmdStart},
		"it has another that is published": {meta.RealAgent{Name: "falcon", Version: "1.0", Status: meta.StatusStopped}, "1.0", meta.CmdStart},
		"it has one that nobody knows":     {meta.RealAgent{Name: "falcon", Version: "0.5", Status: meta.StatusStopped}, "9.9", ""},
		"it has none":                      {meta.RealAgent{Name: "other", Version: "1.0", Status: meta.StatusStarted}, "9.9", ""},
		"it is in the middle of something": {meta.RealAgent{Name: "falcon", Version: "9.9", Phase: meta.PhaseStarting}, "9.9", ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := wanted()
			w.Releases = append(w.Releases, api.Release{Agent: "falcon", Version: "9.9"})
			w.Assignments = []api.Assignment{{Agent: "falcon", Scope: api.Scope{Kind: api.ScopeEveryone}, Version: "9.9"}}
			f := newFleet(t, fleet.Options{}, w)
			req := report("web-01", c.reported)
			req.Protocol = 1
			beat(t, f, meta.DialectV1, req)
			got := told(t, beat(t, f, meta.DialectV1, req))["falcon"]
			if got.Version != c.version || got.Cmd != c.cmd || c.version == "9.9" && got.Tarball != "" {
				t.Errorf("told %+v; want %q %s", got, c.cmd, c.version)
			}
			if e := f.Explain("web-01").Agents[0]; e.Problem == "" || e.Version != "9.9" {
				t.Errorf("explained as %+v; want the missing artifact of 9.9", e)
			}
		})
	}
}
