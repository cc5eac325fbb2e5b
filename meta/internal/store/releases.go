package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"

	"github.com/ops-updater/ops-updater/meta/api"
)

var releases = noun[api.Release]{
	kind: "release", table: "releases",
	name:     func(r api.Release) string { return nameOf(r.Agent, r.Version) },
	revision: func(r *api.Release) *int64 { return &r.Revision },
	strip:    func(r *api.Release) { r.Artifacts = nil },
	redact:   func(r *api.Release) { *r = withArtifacts(*r) },
	columns:  func(r api.Release) []column { return []column{{"agent", r.Agent}} },
}

// storedArtifact is an artifact with the revision that its row has.
type storedArtifact struct {
	api.Artifact
	Revision int64 `json:"-"`
}

var artifacts = noun[storedArtifact]{
	kind: "artifact", table: "artifacts",
	name:     func(a storedArtifact) string { return nameOf(a.Agent, a.Version, a.Arch) },
	revision: func(a *storedArtifact) *int64 { return &a.Revision },
	columns: func(a storedArtifact) []column {
		return []column{{"agent", a.Agent}, {"version", a.Version}, {"sha256", a.SHA256}}
	},
}

// Release reads one release with its artifacts.
func (r Reader) Release(ctx context.Context, agent, version string) (api.Release, error) {
	rel, err := releases.get(ctx, r.q, nameOf(agent, version))
	if err != nil {
		return rel, err
	}
	found, err := r.artifactsOf(ctx, whereEqual("agent", agent, "version", version))
	rel.Artifacts = found[nameOf(agent, version)]
	return withArtifacts(rel), err
}

// Releases lists releases, of one agent or of all, with their artifacts.
func (r Reader) Releases(ctx context.Context, agent string, c api.Cursor) (api.Page[api.Release], error) {
	w := where{}
	w.equal("agent", agent)
	page, err := releases.findPage(ctx, r.q, w, c)
	if err != nil {
		return page, err
	}
	return page, r.fillArtifacts(ctx, page.Items)
}

// fillArtifacts adds their artifacts to releases that are sorted by agent.
func (r Reader) fillArtifacts(ctx context.Context, items []api.Release) error {
	if len(items) == 0 {
		return nil
	}
	w := where{}
	// One query for the page instead of one for each release, though it may read what
	// belongs to releases between two of it.
	w.add("agent >= %s", items[0].Agent)
	w.add("agent <= %s", items[len(items)-1].Agent)
	found, err := r.artifactsOf(ctx, w)
	for i := range items {
		items[i].Artifacts = found[releases.name(items[i])]
		items[i] = withArtifacts(items[i])
	}
	return err
}

// withArtifacts makes a release without artifacts have an empty list.
func withArtifacts(r api.Release) api.Release {
	if r.Artifacts == nil {
		r.Artifacts = []api.Artifact{}
	}
	return r
}

// artifactsOf finds artifacts by the name of their release.
func (r Reader) artifactsOf(ctx context.Context, w where) (map[string][]api.Artifact, error) {
	stored, err := artifacts.findAll(ctx, r.q, w)
	found := map[string][]api.Artifact{}
	for _, a := range stored {
		name := nameOf(a.Agent, a.Version)
		found[name] = append(found[name], a.Artifact)
	}
	return found, err
}

// PutRelease creates or replaces a release's notes. Its artifacts are written
// by PutArtifact only. When and by whom it was made stays.
func (tx *Tx) PutRelease(ctx context.Context, rel api.Release) (api.Release, error) {
	if _, err := tx.Agent(ctx, rel.Agent); err != nil {
		return rel, api.Missing(err, "agent")
	}
	old, err := tx.Release(ctx, rel.Agent, rel.Version)
	switch {
	case err == nil:
		rel.CreatedAt, rel.CreatedBy = old.CreatedAt, old.CreatedBy
	case api.KindOf(err) != api.KindNotFound:
		return rel, err
	default:
		rel.CreatedAt, rel.CreatedBy = tx.now, tx.actor.Name
	}
	rel.Artifacts = nil
	put, err := releases.put(ctx, tx, rel)
	put.Artifacts = old.Artifacts
	return withArtifacts(put), err
}

// DeleteRelease deletes a release and its artifacts' rows. One that is
// assigned or being rolled out stays.
func (tx *Tx) DeleteRelease(ctx context.Context, agent, version string, revision int64) error {
	name := nameOf(agent, version)
	err := refuseUsed(ctx, tx.q, "release", name, []use{
		{"assignment", "assignments", whereEqual("agent", agent, "version", version)},
		{"rollout", "rollouts", whereEqual("agent", agent, "version", version, "active", 1)},
		{"channel", "channels", whereEqual("agent", agent, "version", version)},
	})
	if err != nil {
		return err
	}
	if err := releases.remove(ctx, tx, name, revision); err != nil {
		return err
	}
	// Rows only: contents may be another release's as well, and are collected when no
	// row names them.
	stored, err := artifacts.findAll(ctx, tx.q, whereEqual("agent", agent, "version", version))
	for _, a := range stored {
		if err := artifacts.remove(ctx, tx, artifacts.name(a), 0); err != nil {
			return err
		}
	}
	return err
}

// Artifact reads one artifact.
func (r Reader) Artifact(ctx context.Context, agent, version, arch string) (api.Artifact, error) {
	a, err := artifacts.get(ctx, r.q, nameOf(agent, version, arch))
	return a.Artifact, err
}

// EachContent calls each with the SHA-256 of every content that an artifact
// needs: what is kept beyond them is garbage.
func (r Reader) EachContent(ctx context.Context, visit func(sha256 string) error) error {
	return eachRow(ctx, r.q, "list contents", `SELECT DISTINCT sha256 FROM artifacts`, nil, func(rows *sql.Rows) error {
		var sum string
		if err := rows.Scan(&sum); err != nil {
			return err
		}
		return visit(sum)
	})
}

// PutArtifact adds an artifact to a release that exists. The content of one
// that is there never changes; its signature, warnings and address may.
func (tx *Tx) PutArtifact(ctx context.Context, a api.Artifact) (api.Artifact, error) {
	if _, err := releases.get(ctx, tx.q, nameOf(a.Agent, a.Version)); err != nil {
		return a, api.Missing(err, "version")
	}
	old, err := artifacts.get(ctx, tx.q, nameOf(a.Agent, a.Version, a.Arch))
	switch {
	case api.KindOf(err) == api.KindNotFound && err != nil:
		a.CreatedAt, a.CreatedBy = tx.now, tx.actor.Name
	case err != nil:
		return a, err
	case old.SHA256 != a.SHA256 || old.MD5 != a.MD5 || old.Size != a.Size:
		return a, &api.Error{
			Kind:    api.KindImmutable,
			Message: fmt.Sprintf("%s %s for %s exists with other content (sha256 %s)", a.Agent, a.Version, a.Arch, old.SHA256),
			Hint:    "publish the new content as a new version",
		}
	default:
		a.CreatedAt, a.CreatedBy = old.CreatedAt, old.CreatedBy
		a.Blake2b = cmp.Or(a.Blake2b, old.Blake2b)
	}
	a.Verified = false // depends on keys that come and go
	put, err := artifacts.put(ctx, tx, storedArtifact{Artifact: a})
	return put.Artifact, err
}
