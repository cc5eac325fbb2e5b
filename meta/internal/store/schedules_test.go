package store_test

import (
	"context"
	"testing"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

// pointed makes a channel, or moves it.
func pointed(t testing.TB, s *store.Store, version string) (c api.Channel) {
	t.Helper()
	write(t, s, func(ctx context.Context, tx *store.Tx) (err error) {
		c, err = tx.PutChannel(ctx, api.Channel{Agent: "web", Name: "stable", Version: version})
		return err
	})
	return c
}

func TestAChannelKnowsWhereItCameFrom(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		seed(t, s)
		empty := pointed(t, s, "")
		if empty.Version != "" || empty.MovedBy != "alice" || empty.Revision == 0 {
			t.Errorf("a channel that points at nothing: %+v", empty)
		}
		pointed(t, s, "1.0")
		moved := pointed(t, s, "1.1")
		if moved.Version != "1.1" || moved.Previous != "1.0" || moved.MovedAt.IsZero() {
			t.Errorf("moved: %+v", moved)
		}
		for _, version := range []string{"1.1", ""} { // said once more, and left out
			if again := pointed(t, s, version); again != moved {
				t.Errorf("put %q again: %+v, want %+v", version, again, moved)
			}
		}
		if w := must(s.Wanted(t.Context()))(t); len(w.Channels) != 1 || w.Channels[0] != moved {
			t.Errorf("wanted: %+v", w.Channels)
		}
		refused(t, s, api.KindInvalid, func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.PutChannel(ctx, api.Channel{Agent: "web", Name: "stable", Version: "9.9"})
			return err
		})
		refused(t, s, api.KindConflict, func(ctx context.Context, tx *store.Tx) error { return tx.DeleteRelease(ctx, "web", "1.1", 0) })
		write(t, s, func(ctx context.Context, tx *store.Tx) error { return tx.DeleteRelease(ctx, "web", "1.0", 0) })
	})
}

func TestWhatAScheduleNamesStays(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		furnish(t, s)
		for _, c := range []struct {
			name, field string
			schedule    api.Schedule
		}{
			{"an agent that is not there", "agents[1]", api.Schedule{Agents: []string{"web", "none"}}},
			{"a strategy that is not there", "strategy", api.Schedule{Strategy: "none"}},
			{"a group that is not there", "scope", api.Schedule{Scope: api.Scope{Kind: api.ScopeGroup, Name: "none"}}},
		} {
			c.schedule.Name, c.schedule.Channel = "production", "stable"
			refused(t, s, api.KindInvalid, func(ctx context.Context, tx *store.Tx) error {
				_, err := tx.PutSchedule(ctx, c.schedule)
				return err
			})
		}
		write(t, s, func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.PutSchedule(ctx, api.Schedule{Name: "trial", Channel: "beta", Agents: []string{"web"}, Strategy: "unused", Scope: api.Scope{Kind: api.ScopeGroup, Name: "free"}})
			return err
		})
		refused(t, s, api.KindConflict, func(ctx context.Context, tx *store.Tx) error { return tx.DeleteStrategy(ctx, "unused", 0) })
		refused(t, s, api.KindConflict, func(ctx context.Context, tx *store.Tx) error { return tx.DeleteGroup(ctx, "free", 0) })
		if got := must(s.Schedule(t.Context(), "trial"))(t); got.Revision == 0 || got.Channel != "beta" {
			t.Errorf("read: %+v", got)
		}
	})
}

// What was taken up changes nothing that hosts are told: no serial, no audit entry.
func TestTakesAreKeptWithoutANewSerial(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		seed(t, s)
		write(t, s, func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.PutSchedule(ctx, api.Schedule{Name: "production", Channel: "stable"})
			return err
		})
		before := must(s.Serial(t.Context()))(t)
		take := api.Take{Schedule: "production", Agent: "web", Version: "1.1", Moved: 7, Rollout: "r1"}
		for range 2 { // the second takes the place of the first
			_, err := s.Write(t.Context(), operator, func(tx *store.Tx) error {
				tx.KeepSerial()
				return tx.PutTake(t.Context(), take)
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		if after := must(s.Serial(t.Context()))(t); after != before {
			t.Errorf("serial went from %d to %d", before, after)
		}
		got := must(s.Takes(t.Context(), "production"))(t)
		if len(got) != 1 || got["web"].Version != "1.1" || got["web"].Moved != 7 || got["web"].Rollout != "r1" || got["web"].Time.IsZero() {
			t.Errorf("takes: %+v", got)
		}
		write(t, s, func(ctx context.Context, tx *store.Tx) error { return tx.DeleteSchedule(ctx, "production", 0) })
		if got := must(s.Takes(t.Context(), "production"))(t); len(got) != 0 {
			t.Errorf("takes of a schedule that is gone: %+v", got)
		}
	})
}
