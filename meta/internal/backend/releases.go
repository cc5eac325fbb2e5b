package backend

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

// releases joins releases to the API.
type releases struct{ *core }

// Releases lists agents by name, each with its newest version first.
func (r releases) Releases(ctx context.Context, agent string, c api.Cursor) (api.Page[api.Release], error) {
	all, err := readAllPages(func(c api.Cursor) (api.Page[api.Release], error) { return r.store.Releases(ctx, agent, c) })
	if err != nil {
		return api.Page[api.Release]{}, err
	}
	slices.SortStableFunc(all, newestFirst)
	page := pageOf(all, c, func(rel api.Release) string { return rel.Agent + "/" + rel.Version })
	for _, rel := range page.Items {
		r.judgeSignatures(rel)
	}
	return page, nil
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
	rel, err := r.store.Release(ctx, k.Agent, k.Version)
	r.judgeSignatures(rel)
	return rel, err
}

func (r releases) judgeSignatures(rel api.Release) {
	for i := range rel.Artifacts {
		rel.Artifacts[i] = r.withVerdict(rel.Artifacts[i])
	}
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
