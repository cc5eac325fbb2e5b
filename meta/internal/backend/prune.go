package backend

import (
	"context"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

// uploadGrace keeps content whose row is just being written.
const uploadGrace = time.Hour

// Prune removes releases that nothing uses and no host reports, and content
// that no release refers to.
func (r artifacts) Prune(ctx context.Context, by api.Actor, olderThanDays int, dryRun bool) (api.Pruned, error) {
	unused, err := r.store.UnusedReleases(ctx, time.Now().Add(-days(olderThanDays)))
	if err != nil {
		return api.Pruned{}, err
	}
	reported := r.releasesReported()
	pruned := api.Pruned{DryRun: dryRun, Artifacts: []api.Artifact{}}
	for _, rel := range unused {
		if reported[api.ReleaseKey{Agent: rel.Agent, Version: rel.Version}] {
			continue
		}
		if !dryRun {
			err := r.write(ctx, by, func(tx *store.Tx) error { return tx.DeleteRelease(ctx, rel.Agent, rel.Version, 0) })
			if api.KindOf(err) == api.KindConflict || err == nil && ctx.Err() != nil {
				continue // somebody wants it meanwhile
			}
			if err != nil {
				return pruned, err
			}
		}
		for _, a := range rel.Artifacts {
			pruned.Artifacts = append(pruned.Artifacts, a)
			pruned.Bytes += a.Size
		}
	}
	if dryRun {
		return pruned, nil
	}
	return pruned, r.sweepContents(ctx)
}

// releasesReported is every version that some host has or could go back to.
func (r artifacts) releasesReported() map[api.ReleaseKey]bool {
	in := map[api.ReleaseKey]bool{}
	r.fleet.EachHost(func(h api.Host) bool {
		for _, a := range h.Agents {
			in[api.ReleaseKey{Agent: a.Name, Version: a.Version}] = true
			in[api.ReleaseKey{Agent: a.Name, Version: a.PreviousVersion}] = true
		}
		return true
	})
	return in
}

// sweepContents removes content that no release refers to.
func (r artifacts) sweepContents(ctx context.Context) error {
	used := map[string]bool{}
	err := r.store.EachContent(ctx, func(sha256 string) error {
		used[sha256] = true
		return nil
	})
	if err != nil {
		return err
	}
	before := time.Now().Add(-uploadGrace)
	blobs, err := r.artifacts.Unused(ctx, used, uploadGrace)
	if err != nil {
		return err
	}
	for _, b := range blobs {
		if err := r.artifacts.Remove(ctx, b.SHA256, before); err != nil {
			return err
		}
	}
	return nil
}
