package backend

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/release"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

// releases joins the store's releases and the artifacts' content to the API.
type releases struct{ *core }

// Releases lists agents by name, each with its newest version first.
func (r releases) Releases(ctx context.Context, agent string, c api.Cursor) (api.Page[api.Release], error) {
	all, err := everything(func(c api.Cursor) (api.Page[api.Release], error) { return r.store.Releases(ctx, agent, c) })
	if err != nil {
		return api.Page[api.Release]{}, err
	}
	slices.SortStableFunc(all, newestFirst)
	return pageOf(all, c, func(rel api.Release) string { return rel.Agent + "/" + rel.Version }), nil
}

// newestFirst orders versions that can't be ordered by when they were made.
func newestFirst(a, b api.Release) int {
	if a.Agent != b.Agent {
		return strings.Compare(a.Agent, b.Agent)
	}
	switch meta.CompareVersions(a.Version, b.Version) {
	case meta.Newer:
		return -1
	case meta.Older:
		return 1
	case meta.Equal, meta.Different:
	}
	return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), strings.Compare(b.Version, a.Version))
}

// Release reads one.
func (r releases) Release(ctx context.Context, k api.ReleaseKey) (api.Release, error) {
	return r.store.Release(ctx, k.Agent, k.Version)
}

func validRelease(k api.ReleaseKey) error {
	for field, name := range map[string]string{"agent": k.Agent, "version": k.Version} {
		if !meta.ValidName(name) {
			e := api.Errorf(api.KindInvalid, "%s %.80q is not allowed", field, name)
			e.Field, e.Hint = field, "letters, digits and . _ + - only, at most 128, starting with a letter or digit"
			return e
		}
	}
	return nil
}

// PutReleaseNotes makes a release or writes its notes.
func (r releases) PutReleaseNotes(ctx context.Context, by api.Actor, k api.ReleaseKey, notes string) (api.Release, error) {
	if err := validRelease(k); err != nil {
		return api.Release{}, err
	}
	var put api.Release
	err := r.write(ctx, by, func(tx *store.Tx) (err error) {
		put, err = tx.PutRelease(ctx, api.Release{Agent: k.Agent, Version: k.Version, Notes: notes})
		return err
	})
	return put, err
}

// DeleteRelease removes one that nothing wants.
func (r releases) DeleteRelease(ctx context.Context, by api.Actor, k api.ReleaseKey) error {
	return r.write(ctx, by, func(tx *store.Tx) error { return tx.DeleteRelease(ctx, k.Agent, k.Version, 0) })
}

// Upload takes in a tarball; agent and release are made as needed.
func (r releases) Upload(ctx context.Context, by api.Actor, u api.Upload) (api.Artifact, error) {
	if err := r.knownArch(u.Arch); err != nil {
		return api.Artifact{}, err
	}
	a, err := r.artifacts.Receive(ctx, release.Declared{
		Agent: u.Agent, Version: u.Version, Arch: u.Arch, Size: u.Size, SHA256: u.SHA256,
	}, u.Tarball)
	if err != nil {
		return api.Artifact{}, err
	}
	return r.keep(ctx, by, a)
}

// Register takes in the description of a tarball that stays elsewhere, or
// fetches one that is kept here.
func (r releases) Register(ctx context.Context, by api.Actor, k api.ReleaseKey, n api.NewArtifact) (api.Artifact, error) {
	if err := r.knownArch(k.Arch); err != nil {
		return api.Artifact{}, err
	}
	a, err := r.fetch(ctx, release.Declared{Agent: k.Agent, Version: k.Version, Arch: k.Arch}, n)
	if err != nil {
		return api.Artifact{}, err
	}
	return r.keep(ctx, by, a)
}

func (r releases) fetch(ctx context.Context, d release.Declared, n api.NewArtifact) (api.Artifact, error) {
	if n.From == "" {
		return r.artifacts.Register(ctx, d, n.External)
	}
	address, login, err := splitLogin(n.From)
	if err != nil || n.External != "" {
		e := api.Errorf(api.KindInvalid, "a tarball is fetched from one address that is a URL")
		e.Field = "from"
		return api.Artifact{}, e
	}
	d.Origin = originOf(address.Host, n.As, login)
	return r.artifacts.Take(ctx, d, address.String())
}

// knownArch refuses an arch that neither exists nor is reported by a host, such
// as the name of a build directory: no host could ever have that artifact.
func (r releases) knownArch(arch string) error {
	if api.ValidArch(arch) != nil || api.KnownArch(arch) || r.fleet.HasArch(arch) {
		return nil // what is no arch at all is refused with the rest of its address
	}
	e := api.Errorf(api.KindInvalid, "there is no arch %.40q, and no host reports it", arch)
	e.Field, e.Hint = "arch", "an arch is {GOOS}_{GOARCH}, such as linux_amd64"
	if near := api.Nearest(arch, api.KnownArches()); near != "" {
		e.Hint += "; did you mean " + near + "?"
	}
	return e
}

// keep writes an artifact's row, and those of its agent and release when they
// are not there. A signature that is stored already stays.
func (r releases) keep(ctx context.Context, by api.Actor, a api.Artifact) (api.Artifact, error) {
	var kept api.Artifact
	known := r.wanted.Load().Agents
	made := false
	err := r.write(ctx, by, func(tx *store.Tx) (err error) {
		if made, err = ensureRelease(ctx, tx, a.Agent, a.Version); err != nil {
			return err
		}
		old, err := tx.Artifact(ctx, a.Agent, a.Version, a.Arch)
		if err == nil {
			a.Signature = cmp.Or(a.Signature, old.Signature)
		}
		kept, err = tx.PutArtifact(ctx, a)
		return err
	})
	if kept.NewAgent = made; made {
		names := make([]string, 0, len(known))
		for _, agent := range known {
			names = append(names, agent.Name)
		}
		kept.Resembles = api.Slip(a.Agent, names)
	}
	return kept, err
}

// ensureRelease makes a release, and its agent, when they are not there; made
// says that the agent was not.
func ensureRelease(ctx context.Context, tx *store.Tx, agent, version string) (made bool, err error) {
	if _, err := tx.Agent(ctx, agent); api.KindOf(err) == api.KindNotFound && err != nil {
		if _, err := tx.PutAgent(ctx, api.Agent{Name: agent}); err != nil {
			return false, err
		}
		made = true
	} else if err != nil {
		return false, err
	}
	_, err = tx.Release(ctx, agent, version)
	if api.KindOf(err) == api.KindNotFound && err != nil {
		_, err = tx.PutRelease(ctx, api.Release{Agent: agent, Version: version})
	}
	return made, err
}

// maxSignature bounds a minisign file, whose trusted comment may be long.
const maxSignature = 4 << 10

// Sign stores an artifact's signature. It is the hosts that check it.
func (r releases) Sign(ctx context.Context, by api.Actor, k api.ReleaseKey, minisig string) (api.Artifact, error) {
	if !strings.HasPrefix(minisig, "untrusted comment:") || strings.Count(minisig, "\n") < 3 || len(minisig) > maxSignature {
		return api.Artifact{}, &api.Error{
			Kind: api.KindInvalid, Field: "signature", Message: "this is not a minisign signature",
			Hint: "make one with: minisign -Sm FILE -t 'name:AGENT version:VERSION arch:ARCH'",
		}
	}
	var signed api.Artifact
	err := r.write(ctx, by, func(tx *store.Tx) error {
		a, err := tx.Artifact(ctx, k.Agent, k.Version, k.Arch)
		if err != nil {
			return err
		}
		a.Signature = minisig
		signed, err = tx.PutArtifact(ctx, a)
		return err
	})
	return signed, err
}

// uploadGrace keeps content whose row is just being written.
const uploadGrace = time.Hour

// Prune removes releases that nothing uses and no host reports, and content
// that no release refers to.
func (r releases) Prune(ctx context.Context, by api.Actor, olderThanDays int, dryRun bool) (api.Pruned, error) {
	unused, err := r.store.UnusedReleases(ctx, time.Now().Add(-days(olderThanDays)))
	if err != nil {
		return api.Pruned{}, err
	}
	reported := r.reported()
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
	return pruned, r.sweep(ctx)
}

// reported is every version that some host has or could go back to.
func (r releases) reported() map[api.ReleaseKey]bool {
	in := map[api.ReleaseKey]bool{}
	r.fleet.Each(func(h api.Host) bool {
		for _, a := range h.Agents {
			in[api.ReleaseKey{Agent: a.Name, Version: a.Version}] = true
			in[api.ReleaseKey{Agent: a.Name, Version: a.PreviousVersion}] = true
		}
		return true
	})
	return in
}

// sweep removes content that no release refers to.
func (r releases) sweep(ctx context.Context) error {
	used := map[string]bool{}
	err := r.store.Contents(ctx, func(sha256 string) error {
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
