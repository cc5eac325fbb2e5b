package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

var everyone = api.Scope{Kind: api.ScopeEveryone}

// furnish adds to [seed] one of everything that refers to something else.
func furnish(t testing.TB, s *store.Store) (hold api.Hold) {
	t.Helper()
	seed(t, s)
	write(t, s, func(ctx context.Context, tx *store.Tx) (err error) {
		for _, name := range []string{"canary", "edge", "free"} {
			if _, err := tx.PutGroup(ctx, api.Group{Name: name, Selector: api.Selector{Prefixes: []string{name}}}); err != nil {
				return err
			}
		}
		for _, name := range []string{"careful", "unused"} {
			st := api.Strategy{Name: name, Stages: []api.Stage{{Count: 1, Group: "canary"}, {Percent: 100}}}
			if _, err := tx.PutStrategy(ctx, st); err != nil {
				return err
			}
		}
		if _, err := tx.PutAgent(ctx, api.Agent{Name: "web", Strategy: "careful"}); err != nil {
			return err
		}
		if _, err := tx.PutAssignment(ctx, api.Assignment{Agent: "web", Version: "1.0", Scope: everyone}); err != nil {
			return err
		}
		hold, err = tx.CreateHold(ctx, api.Hold{Scope: api.Scope{Kind: api.ScopeGroup, Name: "edge"}, Reason: "audit"})
		return err
	})
	return hold
}

func TestWantedIsEverythingAtOneMoment(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		hold := furnish(t, s)
		start(t, s, "r1")
		w := must(s.Wanted(t.Context()))(t)
		stages := []api.Stage{{Count: 1, Group: "canary"}, {Percent: 100}}
		a, b := artifact("1.0"), artifact("1.1")
		want := api.Wanted{
			Serial: 3,
			Agents: []api.Agent{{Name: "web", Strategy: "careful", Revision: 2}},
			Releases: []api.Release{
				{Agent: "web", Version: "1.0", Artifacts: []api.Artifact{a}, CreatedBy: "alice", Revision: 1},
				{Agent: "web", Version: "1.1", Artifacts: []api.Artifact{b}, CreatedBy: "alice", Revision: 1},
			},
			Groups: []api.Group{
				{Name: "canary", Selector: api.Selector{Prefixes: []string{"canary"}}, Revision: 2},
				{Name: "edge", Selector: api.Selector{Prefixes: []string{"edge"}}, Revision: 2},
				{Name: "free", Selector: api.Selector{Prefixes: []string{"free"}}, Revision: 2},
			},
			Assignments: []api.Assignment{{Agent: "web", Version: "1.0", Scope: everyone, Revision: 2}},
			Holds:       []api.Hold{hold},
			Strategies:  []api.Strategy{{Name: "careful", Stages: stages, Revision: 2}, {Name: "unused", Stages: stages, Revision: 2}},
			Rollouts:    []api.Rollout{must(s.Rollout(t.Context(), "r1"))(t)},
		}
		ignore := cmp.Options{
			cmpopts.IgnoreFields(api.Release{}, "CreatedAt"), cmpopts.IgnoreFields(api.Artifact{}, "CreatedAt", "CreatedBy"),
		}
		if diff := cmp.Diff(want, w, ignore); diff != "" {
			t.Errorf("wanted (-want +got):\n%s", diff)
		}
	})
}

func TestWhatIsInUseStays(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		hold := furnish(t, s)
		start(t, s, "r1")
		for _, c := range []struct {
			name string
			want api.ErrorKind // empty: it is deleted
			do   func(ctx context.Context, tx *store.Tx) error
		}{
			{"an agent that is assigned", api.KindConflict, func(ctx context.Context, tx *store.Tx) error { return tx.DeleteAgent(ctx, "web", 0) }},
			{"an agent that is not there", api.KindNotFound, func(ctx context.Context, tx *store.Tx) error { return tx.DeleteAgent(ctx, "db", 0) }},
			{"a release that is assigned", api.KindConflict, func(ctx context.Context, tx *store.Tx) error { return tx.DeleteRelease(ctx, "web", "1.0", 0) }},
			{"a release that is rolled out", api.KindConflict, func(ctx context.Context, tx *store.Tx) error { return tx.DeleteRelease(ctx, "web", "1.1", 0) }},
			{"a group that a stage names", api.KindConflict, func(ctx context.Context, tx *store.Tx) error { return tx.DeleteGroup(ctx, "canary", 0) }},
			{"a group that is held", api.KindConflict, func(ctx context.Context, tx *store.Tx) error { return tx.DeleteGroup(ctx, "edge", 0) }},
			{"a group that nothing is for", "", func(ctx context.Context, tx *store.Tx) error { return tx.DeleteGroup(ctx, "free", 0) }},
			{"a strategy of an agent", api.KindConflict, func(ctx context.Context, tx *store.Tx) error { return tx.DeleteStrategy(ctx, "careful", 0) }},
			{"a strategy of no agent", "", func(ctx context.Context, tx *store.Tx) error { return tx.DeleteStrategy(ctx, "unused", 0) }},
			{"a hold", "", func(ctx context.Context, tx *store.Tx) error { return tx.DeleteHold(ctx, hold.ID) }},
			{"an assignment at another revision", api.KindConflict, func(ctx context.Context, tx *store.Tx) error {
				return tx.DeleteAssignment(ctx, "web", everyone, 1)
			}},
			{"an assignment", "", func(ctx context.Context, tx *store.Tx) error { return tx.DeleteAssignment(ctx, "web", everyone, 2) }},
			{"the release that was assigned", "", func(ctx context.Context, tx *store.Tx) error { return tx.DeleteRelease(ctx, "web", "1.0", 0) }},
		} {
			_, err := s.Write(t.Context(), operator, func(tx *store.Tx) error { return c.do(t.Context(), tx) })
			if (err == nil) != (c.want == "") || err != nil && api.KindOf(err) != c.want {
				t.Errorf("%s: got %v, want kind %q", c.name, err, c.want)
			}
		}
		if _, err := s.Artifact(t.Context(), "web", "1.0", "linux_amd64"); api.KindOf(err) != api.KindNotFound {
			t.Errorf("artifact of a deleted release: %v", err)
		}
	})
}

func TestWhatIsNamedMustExist(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		seed(t, s)
		nowhere := api.Scope{Kind: api.ScopeGroup, Name: "nowhere"}
		for _, c := range []struct {
			name, field string
			do          func(ctx context.Context, tx *store.Tx) error
		}{
			{"an agent's strategy", "strategy", func(ctx context.Context, tx *store.Tx) error {
				_, err := tx.PutAgent(ctx, api.Agent{Name: "web", Strategy: "none"})
				return err
			}},
			{"a release's agent", "agent", func(ctx context.Context, tx *store.Tx) error {
				_, err := tx.PutRelease(ctx, api.Release{Agent: "none", Version: "1"})
				return err
			}},
			{"an artifact's release", "version", func(ctx context.Context, tx *store.Tx) error {
				_, err := tx.PutArtifact(ctx, artifact("9.9"))
				return err
			}},
			{"an assignment's release", "version", func(ctx context.Context, tx *store.Tx) error {
				_, err := tx.PutAssignment(ctx, api.Assignment{Agent: "web", Version: "9.9", Scope: everyone})
				return err
			}},
			{"an assignment's group", "scope", func(ctx context.Context, tx *store.Tx) error {
				_, err := tx.PutAssignment(ctx, api.Assignment{Agent: "web", Version: "1.0", Scope: nowhere})
				return err
			}},
			{"a hold's group", "scope", func(ctx context.Context, tx *store.Tx) error {
				_, err := tx.CreateHold(ctx, api.Hold{Scope: nowhere})
				return err
			}},
			{"a stage's group", "stages[1].group", func(ctx context.Context, tx *store.Tx) error {
				_, err := tx.PutStrategy(ctx, api.Strategy{Name: "s", Stages: []api.Stage{{Count: 1}, {Percent: 9, Group: "nowhere"}}})
				return err
			}},
			{"a rollout's release", "version", func(ctx context.Context, tx *store.Tx) error {
				_, err := tx.CreateRollout(ctx, api.Rollout{Agent: "web", Version: "9.9", Scope: everyone}, api.Transition{})
				return err
			}},
		} {
			_, err := s.Write(t.Context(), operator, func(tx *store.Tx) error { return c.do(t.Context(), tx) })
			var e *api.Error
			if !errors.As(err, &e) || e.Kind != api.KindInvalid || e.Field != c.field {
				t.Errorf("%s: got %#v, want an invalid %s", c.name, err, c.field)
			}
		}
	})
}

func TestArtifactsAreImmutable(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		seed(t, s)
		put := func(a api.Artifact) func(context.Context, *store.Tx) error {
			return func(ctx context.Context, tx *store.Tx) error {
				_, err := tx.PutArtifact(ctx, a)
				return err
			}
		}
		other := artifact("1.0")
		other.SHA256 = strings.Repeat("c", 64)
		refused(t, s, api.KindImmutable, put(other))
		before := must(s.Serial(t.Context()))(t)
		if after := write(t, s, put(artifact("1.0"))); after != before {
			t.Errorf("the same artifact again: serial went from %d to %d", before, after)
		}
		signed := artifact("1.0")
		signed.Signature = "untrusted comment: …"
		write(t, s, put(signed))
		got := must(s.Artifact(t.Context(), "web", "1.0", "linux_amd64"))(t)
		if got.Signature != signed.Signature || got.CreatedBy != "alice" {
			t.Errorf("got %+v, want it signed", got)
		}
	})
}

// Versions whose names begin alike sort apart from their artifacts' names.
func TestReleasesHaveTheirOwnArtifacts(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		versions := []string{"1", "1+a", "1-b", "1.0", "1.0.1", "10"}
		write(t, s, func(ctx context.Context, tx *store.Tx) error {
			if _, err := tx.PutAgent(ctx, api.Agent{Name: "web"}); err != nil {
				return err
			}
			for _, v := range versions {
				if _, err := tx.PutRelease(ctx, api.Release{Agent: "web", Version: v, Notes: "notes of " + v}); err != nil {
					return err
				}
				if _, err := tx.PutArtifact(ctx, artifact(v)); err != nil {
					return err
				}
			}
			return nil
		})
		var seen []string
		for c := (api.Cursor{Limit: 2}); ; {
			page := must(s.Releases(t.Context(), "web", c))(t)
			for _, r := range page.Items {
				seen = append(seen, r.Version)
				if len(r.Artifacts) != 1 || r.Artifacts[0].Version != r.Version {
					t.Errorf("release %s has artifacts %+v", r.Version, r.Artifacts)
				}
			}
			if c.After = page.Next; c.After == "" {
				break
			}
		}
		if diff := cmp.Diff(versions, seen); diff != "" {
			t.Errorf("releases (-want +got):\n%s", diff)
		}
	})
}

func TestListsAreSearchedAndPaged(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		write(t, s, func(ctx context.Context, tx *store.Tx) error {
			for _, name := range []string{"Web-a", "web-b", "db", "we%b", "a_b"} {
				if _, err := tx.PutAgent(ctx, api.Agent{Name: name}); err != nil {
					return err
				}
			}
			return nil
		})
		for _, c := range []struct {
			search string
			limit  int
			want   string // names of each page
		}{
			{"", 0, "[Web-a a_b db we%b web-b]"},
			{"", 2, "[Web-a a_b] [db we%b] [web-b]"},
			{"WEB", 0, "[Web-a web-b]"},
			{"%", 0, "[we%b]"},
			{"_", 0, "[a_b]"},
			{"nothing", 0, "[]"},
		} {
			var pages []string
			for cur := (api.Cursor{Limit: c.limit}); ; {
				page := must(s.Agents(t.Context(), c.search, cur))(t)
				names := []string{}
				for _, a := range page.Items {
					names = append(names, a.Name)
				}
				pages = append(pages, fmt.Sprint(names))
				if cur.After = page.Next; cur.After == "" {
					break
				}
			}
			if got := strings.Join(pages, " "); got != c.want {
				t.Errorf("search %q, limit %d: got %s, want %s", c.search, c.limit, got, c.want)
			}
		}
	})
}

func TestHoldsOfAScope(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		seed(t, s)
		write(t, s, func(ctx context.Context, tx *store.Tx) error {
			for _, name := range []string{"h/1", "h/1", "h"} {
				if _, err := tx.CreateHold(ctx, api.Hold{Scope: api.Scope{Kind: api.ScopeHost, Name: name}, Reason: "audit"}); err != nil {
					return err
				}
			}
			return nil
		})
		for scope, want := range map[api.Scope]int{
			{}: 3, {Kind: api.ScopeHost}: 3, {Kind: api.ScopeHost, Name: "h/1"}: 2, {Kind: api.ScopeHost, Name: "h"}: 1,
			{Kind: api.ScopeGroup, Name: "h"}: 0,
		} {
			items := must(s.Holds(t.Context(), scope, api.Cursor{}))(t).Items
			if len(items) != want {
				t.Errorf("%v: %d holds, want %d", scope, len(items), want)
			}
			for _, h := range items {
				if h.ID == "" || h.CreatedBy != "alice" || h.CreatedAt.IsZero() || must(s.Hold(t.Context(), h.ID))(t).Scope != h.Scope {
					t.Errorf("hold %+v", h)
				}
			}
		}
	})
}

func TestNotifyTargetsKeepTheirSecretToThemselves(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		put := func(target api.NotifyTarget) (got api.NotifyTarget) {
			write(t, s, func(ctx context.Context, tx *store.Tx) (err error) {
				got, err = tx.PutNotifyTarget(ctx, target)
				return err
			})
			return got
		}
		if got := put(api.NotifyTarget{Name: "ops", Kind: api.NotifyWebhook, Secret: "hunter2"}); got.Secret != "" || !got.HasSecret {
			t.Errorf("returned %+v", got)
		}
		put(api.NotifyTarget{Name: "ops", Kind: api.NotifyWebhook, HasSecret: true, Disabled: true})
		if got := must(s.NotifyTarget(t.Context(), "ops"))(t); got.Secret != "hunter2" || !got.Disabled {
			t.Errorf("stored %+v", got)
		}
		write(t, s, func(ctx context.Context, tx *store.Tx) error { return tx.DeleteNotifyTarget(ctx, "ops", 0) })
		for _, e := range must(s.Audit(t.Context(), api.AuditFilter{}, api.Cursor{}))(t).Items {
			if strings.Contains(string(e.Before)+string(e.After), "hunter2") {
				t.Errorf("the audit log has the secret: %s %s", e.Before, e.After)
			}
		}
	})
}
