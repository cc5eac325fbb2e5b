package updater

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/user"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"github.com/ops-updater/ops-updater/internal/plainfile"
	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/trust"
	"github.com/ops-updater/ops-updater/updater/config"
	"github.com/ops-updater/ops-updater/updater/job"
	"github.com/ops-updater/ops-updater/updater/local"
	"github.com/ops-updater/ops-updater/updater/plan"
)

// EngineConfig is what an [Engine] needs to know; see [NewEngineConfig].
type EngineConfig struct {
	VarDir         string // of the journal, the holds and the last reply; made if missing
	DefaultWorkDir string // of agents for which the server names none
	RunUser        string // the sidecar's own user; empty: asked of the system
	Arch           string // empty: this build's
	CreateUsers    bool   // make a runUser that does not exist

	Concurrency int           // installs at once
	Probation   time.Duration // of a version for which the server says nothing else
	Keep        int           // complete versions per agent, at least 2
	Limits      job.Limits
	Route       job.Route // of downloads
	Env         []string  // KEY=value, added to the environment of control scripts

	StatusTimeout time.Duration // of control status, pid and health
	StartTimeout  time.Duration // until status says started
	StopTimeout   time.Duration // until status says stoped

	CheckEvery  time.Duration // how often a crashed agent is looked for
	ConfigEvery time.Duration // how often remote configs are looked at

	Policy plan.Policy // what a server may ask for

	Trust       config.Trust      // what is verified of what is executed
	ReleaseKeys func() trust.Keys // that count now; nil: those of Trust

	Log zerolog.Logger

	// Ended, unless nil, is told of every transaction that ended, and how.
	Ended func(act plan.Act, phase meta.Phase)
}

// NewEngineConfig is the part of the configuration that the engine needs.
func NewEngineConfig(c config.Config, log zerolog.Logger) EngineConfig {
	e := EngineConfig{
		VarDir: c.VarDir, DefaultWorkDir: c.WorkDir, CreateUsers: c.CreateUsers,
		Concurrency: c.Concurrency, Probation: c.Probation, Keep: c.Keep, Route: routeOf(c),
		StatusTimeout: c.StatusTimeout, StartTimeout: c.StartTimeout, StopTimeout: c.StopTimeout,
		CheckEvery: c.CheckEvery, ConfigEvery: c.ConfigEvery,
		Limits: job.Limits{
			MaxDownload: c.MaxDownloadSize, MaxUnpacked: c.MaxUnpackedSize, MaxFiles: c.MaxFiles, MaxConfig: c.MaxRemoteConfig,
			Reserve: c.Reserve, MaxRate: c.MaxDownloadRate, StallTimeout: c.StallTimeout, Retries: c.Retries, SyncTimeout: c.SyncTimeout,
		},
		Policy: c.Policy, Trust: c.Trust, Log: log,
	}
	for k, v := range c.Env {
		e.Env = append(e.Env, k+"="+v)
	}
	slices.Sort(e.Env)
	return e
}

// routeOf is how children reach servers. They may run as a user who cannot read
// ca_file, so they are given its content; one that cannot be read has been
// refused with the heartbeats before.
func routeOf(c config.Config) job.Route {
	r := job.Route{Proxy: c.Proxy, Insecure: c.TLS.Insecure, Hosts: c.Policy.TarballHosts}
	if c.TLS.CAFile != "" {
		pem, _ := plainfile.ReadLinked(c.TLS.CAFile, meta.MaxCertificates)
		r.CA = string(pem)
	}
	return r
}

// countedEngineConfig has the engine's transactions counted in the metrics.
func countedEngineConfig(c config.Config, log zerolog.Logger, m *local.Metrics) EngineConfig {
	e := NewEngineConfig(c, log)
	e.Ended = func(act plan.Act, phase meta.Phase) { m.Transaction(string(act), phase) }
	return e
}

// complete asks the system for what is not said, and refuses what leads nowhere.
func (c EngineConfig) complete() (EngineConfig, error) {
	if min(c.Concurrency, c.Keep-1) < 1 || min(c.Probation, c.StatusTimeout, c.StartTimeout, c.StopTimeout, c.CheckEvery, c.ConfigEvery) <= 0 {
		return c, errors.New("cannot run an engine without concurrency, times, or two versions to keep: begin with config.Default")
	}
	c.Arch = cmp.Or(c.Arch, meta.Arch())
	if c.RunUser == "" {
		u, err := user.Current()
		if err != nil {
			return c, fmt.Errorf("cannot tell who the sidecar runs as: number %d is no user of this host; run it as one, or give this one a name (useradd): %w", os.Geteuid(), err)
		}
		c.RunUser = u.Username
	}
	return c, nil
}

func (c EngineConfig) timeouts() job.Timeouts {
	return job.Timeouts{Status: c.StatusTimeout, Start: c.StartTimeout, Stop: c.StopTimeout}
}

// wishes takes a reply apart with this host's defaults filled in.
func (c EngineConfig) wishes(d plan.Desired) map[string]plan.Wish {
	if n := len(d.Agents); n > plan.MaxAgents {
		c.Log.Error().Int("agents", n).Int("max", plan.MaxAgents).Msg("the list of desired agents is too long; the rest of it is not followed")
	}
	return plan.Wishes(d, plan.Place{WorkDir: c.DefaultWorkDir, RunUser: c.RunUser}, c.VarDir)
}
