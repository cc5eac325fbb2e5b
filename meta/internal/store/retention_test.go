package store_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

func TestOldGrantsAreDeleted(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		seed(t, s)
		for _, id := range []string{"running", "completed"} {
			start(t, s, id)
			for i := range 3 {
				if ok, err := grant(t.Context(), s, id, fmt.Sprint(id, i), 10); !ok || err != nil {
					t.Fatal(ok, err)
				}
			}
		}
		write(t, s, func(ctx context.Context, tx *store.Tx) error {
			r, err := tx.LockRollout(ctx, "completed")
			if err != nil {
				return err
			}
			r.State = api.RolloutCompleted
			_, err = tx.UpdateRollout(ctx, r, api.Transition{To: r.State, Reason: "completed"})
			return err
		})
		for i, c := range []struct {
			before time.Time
			want   int64
		}{{time.Now().Add(-time.Hour), 0}, {time.Now().Add(time.Hour), 2}, {time.Now().Add(time.Hour), 1}} {
			if n := must(s.DeleteGrants(t.Context(), c.before, 2))(t); n != c.want {
				t.Errorf("%d: deleted %d grants, want %d", i, n, c.want)
			}
		}
		if left := must(s.Grants(t.Context(), api.GrantFilter{Rollout: "running"}, api.Cursor{}))(t).Items; len(left) != 3 {
			t.Errorf("%d grants of the running rollout are left", len(left))
		}
		if n := must(s.Rollout(t.Context(), "completed"))(t).Progress[0].Granted; n != 3 {
			t.Errorf("the completed rollout counts %d grants", n)
		}
		for _, c := range s.Check(t.Context()) {
			if c.Level != "ok" {
				t.Errorf("doctor: %+v", c)
			}
		}
	})
}
