package store_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

func TestWriteIsRowAuditAndSerial(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		first := write(t, s, func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.PutAgent(ctx, api.Agent{Name: "web", RunUser: "www"})
			return err
		})
		got := must(s.Agent(t.Context(), "web"))(t)
		if diff := cmp.Diff(api.Agent{Name: "web", RunUser: "www", Revision: first}, got); diff != "" {
			t.Errorf("agent (-want +got):\n%s", diff)
		}
		second := write(t, s, func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.PutAgent(ctx, api.Agent{Name: "web", RunUser: "nobody", Revision: first})
			return err
		})
		if second <= first {
			t.Errorf("serial went from %d to %d", first, second)
		}
		page := must(s.Audit(t.Context(), api.AuditFilter{Kind: "agent", Name: "web"}, api.Cursor{}))(t)
		want := []api.AuditEntry{
			{
				Actor: "alice", From: "192.0.2.7", Action: "update", Kind: "agent", Name: "web",
				Before: []byte(`{"name":"web","runUser":"www","revision":1}`), After: []byte(`{"name":"web","runUser":"nobody","revision":2}`),
			},
			{
				Actor: "alice", From: "192.0.2.7", Action: "create", Kind: "agent", Name: "web",
				After: []byte(`{"name":"web","runUser":"www","revision":1}`),
			},
		}
		if diff := cmp.Diff(want, page.Items, cmpopts.IgnoreFields(api.AuditEntry{}, "ID", "Time")); diff != "" {
			t.Errorf("audit (-want +got):\n%s", diff)
		}
	})
}

func TestWriteThatFailsLeavesNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		seed(t, s)
		before := must(s.Serial(t.Context()))(t)
		mine := errors.New("mine")
		_, err := s.Write(t.Context(), operator, func(tx *store.Tx) error {
			if _, err := tx.PutAgent(t.Context(), api.Agent{Name: "db"}); err != nil {
				return err
			}
			return mine
		})
		if !errors.Is(err, mine) || err.Error() != "mine" {
			t.Errorf("got error %v, want the callback's own", err)
		}
		if _, err := s.Agent(t.Context(), "db"); api.KindOf(err) != api.KindNotFound {
			t.Errorf("agent of a failed write: %v", err)
		}
		if after := must(s.Serial(t.Context()))(t); after != before {
			t.Errorf("serial went from %d to %d", before, after)
		}
	})
}

func TestWriteOfTheSameChangesNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		put := func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.PutGroup(ctx, api.Group{Name: "edge", Selector: api.Selector{Labels: map[string]string{"a": "b", "c": "d"}}})
			return err
		}
		first := write(t, s, put)
		if again := write(t, s, put); again != first {
			t.Errorf("serial went from %d to %d", first, again)
		}
		if n := len(must(s.Audit(t.Context(), api.AuditFilter{}, api.Cursor{}))(t).Items); n != 1 {
			t.Errorf("%d audit entries, want 1", n)
		}
	})
}

func TestRevisions(t *testing.T) {
	for _, c := range []struct {
		name     string
		agent    string
		revision int64
		want     api.ErrorKind // empty: it is written
	}{
		{"any revision of what exists", "web", 0, ""},
		{"any revision of what is new", "new", 0, ""},
		{"the revision that is there", "web", 1, ""},
		{"another revision", "web", 7, api.KindConflict},
		{"a revision of what is not there", "new", 1, api.KindNotFound},
		{"must not exist and does not", "new", api.MustNotExist, ""},
		{"must not exist but does", "web", api.MustNotExist, api.KindExists},
	} {
		t.Run(c.name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, d database) {
				s := d.open(t)
				seed(t, s)
				_, err := s.Write(t.Context(), operator, func(tx *store.Tx) error {
					_, err := tx.PutAgent(t.Context(), api.Agent{Name: c.agent, Description: "changed", Revision: c.revision})
					return err
				})
				switch {
				case c.want == "" && err != nil:
					t.Error(err)
				case c.want != "" && (err == nil || api.KindOf(err) != c.want):
					t.Errorf("got %v, want an error of kind %s", err, c.want)
				}
			})
		})
	}
}

func TestAuditIsAppendOnly(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		seed(t, s)
		if err := store.Exec(s, `UPDATE audit SET actor = 'mallory'`); err == nil {
			t.Error("the audit log could be changed")
		}
		if err := store.Exec(s, `DELETE FROM audit`); err == nil {
			t.Error("the audit log could be deleted")
		}
	})
}
