package backend

import (
	"context"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/fleet"
)

// wantedIndex is what is wanted with its artifacts by address, so that
// downloads go on while the database is away.
type wantedIndex struct {
	api.Wanted
	artifacts map[api.ReleaseKey]api.Artifact
}

func newWantedIndex(w api.Wanted) *wantedIndex {
	i := &wantedIndex{Wanted: w, artifacts: map[api.ReleaseKey]api.Artifact{}}
	for _, r := range w.Releases {
		for _, a := range r.Artifacts {
			i.artifacts[api.ReleaseKey{Agent: a.Agent, Version: a.Version, Arch: a.Arch}] = a
		}
	}
	return i
}

// Wanted is what is wanted, as it was compiled last. Nothing of it may be
// changed.
func (c *core) Wanted() api.Wanted { return c.wanted.Load().Wanted }

// Artifact is one that a release has, so that downloads go on while the
// database is away.
func (c *core) Artifact(k api.ReleaseKey) (api.Artifact, bool) {
	a, known := c.wanted.Load().artifacts[k]
	return a, known
}

// ReleasedArtifacts are all that releases have. Nothing of it may be changed.
func (c *core) ReleasedArtifacts() map[api.ReleaseKey]api.Artifact { return c.wanted.Load().artifacts }

// RolloutsIn is how many rollouts in force are in a state.
func (c *core) RolloutsIn(state api.RolloutState) (n int) {
	wanted := c.wanted.Load()
	if wanted == nil {
		return 0
	}
	for _, r := range wanted.Rollouts {
		if r.State == state {
			n++
		}
	}
	return n
}

// refreshWithin bounds how long one reading of what is wanted keeps others
// from being tried.
const refreshWithin = 30 * time.Second

// Refresh compiles what is wanted unless a snapshot of that serial is in use
// already.
func (c *core) Refresh(ctx context.Context, serial int64) error {
	c.compiling.Lock()
	defer c.compiling.Unlock()
	if now := c.wanted.Load(); now != nil && now.Serial >= serial && serial > 0 {
		return nil
	}
	return c.rereadLocked(ctx)
}

// rereadWanted compiles what is wanted, whatever its serial.
func (c *core) rereadWanted(ctx context.Context) error {
	c.compiling.Lock()
	defer c.compiling.Unlock()
	return c.rereadLocked(ctx)
}

func (c *core) rereadLocked(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, refreshWithin)
	defer cancel()
	w, ring, err := c.store.WantedAndKeys(ctx)
	if err != nil {
		return err
	}
	return c.engine.Reload(ctx, w, func() {
		c.ring.Store(&ring)
		c.compileWanted(w)
	})
}

func (c *core) compileWanted(w api.Wanted) {
	now := c.settings.Load()
	snap := fleet.Compile(fleet.Config{
		Wanted: w, PublicURL: now.PublicURL, Interval: now.Interval, WaitInterval: waitInterval(now.Interval, c.fleet.Hosts()),
		SerialMark: c.markOf(w), Signing: c.signingOf(*c.ring.Load()),
	}, time.Now())
	for _, p := range snap.Problems() {
		c.log.Warn().Str("problem", p).Msg("a part of what is wanted was left out")
	}
	index := newWantedIndex(w)
	// In this order: a host that was told later things by another server is compared with what
	// is wanted, and then answered from a snapshot that is no older.
	c.fleet.UseSnapshot(snap)
	c.wanted.Store(index)
}

// Settings are those that count now.
func (c *core) Settings() Settings { return *c.settings.Load() }

// UseSettings has new settings count.
func (c *core) UseSettings(next Settings) {
	c.settings.Store(&next)
	c.recompileWanted()
}

// recompileWanted makes holds end on time, and settings count.
func (c *core) recompileWanted() {
	c.compiling.Lock()
	defer c.compiling.Unlock()
	if w := c.wanted.Load(); w != nil {
		c.compileWanted(w.Wanted)
	}
}

// Bounds of how often hosts report that wait for a running rollout.
const (
	waitAtLeast = 5    // seconds
	waitingRate = 1000 // hosts a second, when every host waits
)

// waitInterval has hosts that wait for a rollout report more often than every
// interval, as far as their number allows; 0 when it does not. Without an
// interval of ours hosts keep their own.
func waitInterval(interval, hosts int) int {
	if wait := max(waitAtLeast, hosts/waitingRate); wait < interval {
		return wait
	}
	return 0
}
