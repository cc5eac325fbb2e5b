package server

import (
	"context"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/fleetfile"
	"github.com/ops-updater/ops-updater/meta/internal/release"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

// Import takes an older ops-meta's configuration: its tarballs are fetched,
// hashed and kept, then the rest is applied in one piece. Nothing that is
// there already is removed.
func (f fleetFile) Import(ctx context.Context, by api.Actor, file []byte, dryRun bool) (api.ImportReport, error) {
	taken, problems := fleetfile.Import(file)
	if len(problems) > 0 {
		return api.ImportReport{}, badFile(problems)
	}
	report := api.ImportReport{Import: taken, File: string(fleetfile.Export(taken.Fleet))}
	var err error
	if dryRun {
		report.Plan, err = f.planImport(ctx, taken.Fleet)
		return report, err
	}
	for _, r := range taken.Releases {
		note, err := f.adopt(ctx, by, r)
		if err != nil {
			return report, err
		}
		if note != nil {
			report.Import.Refused = append(report.Import.Refused, *note)
		}
	}
	report.Plan, err = f.applyAs(ctx, by, api.ApplyOptions{Now: true}, func(api.Wanted) (api.Fleet, error) { return taken.Fleet, nil }, fleetfile.Options{Keep: true})
	return report, err
}

// planImport compares only: what would be assigned is not fetched yet.
func (f fleetFile) planImport(ctx context.Context, fleet api.Fleet) (api.Plan, error) {
	now, err := f.store.Wanted(ctx)
	if err != nil {
		return api.Plan{}, err
	}
	changes := fleetfile.Diff(fleetOf(now), fleet, fleetfile.Options{Keep: true})
	return api.Plan{DryRun: true, Changes: append([]api.FleetChange{}, changes...)}, nil
}

// adopt fetches a release's tarball. One that can't be had becomes a release
// without an artifact and a note: its hosts keep what they have until
// somebody publishes it.
func (f fleetFile) adopt(ctx context.Context, by api.Actor, r api.ImportedRelease) (*api.ImportNote, error) {
	rel, err := f.store.Release(ctx, r.Agent, r.Version)
	if err == nil && len(rel.Artifacts) > 0 {
		return nil, nil
	}
	found, err := f.artifacts.Adopt(ctx, release.Declared{Agent: r.Agent, Version: r.Version}, r.Tarballs)
	for _, a := range found {
		if _, err := releases(f).keep(ctx, by, a); err != nil {
			return nil, err
		}
	}
	if err == nil {
		return nil, nil
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	note := &api.ImportNote{
		Path: r.Agent + " " + r.Version,
		Note: "its tarball could not be taken (" + err.Error() + "); hosts keep what they have until it is published: ops-meta publish " + r.Agent + "-" + r.Version + ".tar.gz",
	}
	return note, f.write(ctx, by, func(tx *store.Tx) error {
		_, err := ensureRelease(ctx, tx, r.Agent, r.Version)
		return err
	})
}
