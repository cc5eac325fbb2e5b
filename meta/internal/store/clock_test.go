package store_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

// For how long nobody led is told without what the clock jumped meanwhile.
func TestALeaseThatEndedFollowsTheClock(t *testing.T) {
	s := store.Config{Dir: t.TempDir()}
	const minute = 60 * int64(1e6)
	for name, c := range map[string]struct {
		ended  int64 // microseconds ago, by the clock as it is
		jumped time.Duration
		least  time.Duration
		most   time.Duration
	}{
		"steady":                                {10 * minute, 0, 9 * time.Minute, 20 * time.Minute},
		"it jumped ahead by three hours":        {190 * minute, 3 * time.Hour, 9 * time.Minute, 20 * time.Minute},
		"it went back by three hours":           {-170 * minute, -3 * time.Hour, 9 * time.Minute, 20 * time.Minute},
		"held when the server was killed":       {-minute, 0, 0, 10 * time.Minute},
		"held, and it jumped ahead meanwhile":   {170 * minute, 3 * time.Hour, 0, 10 * time.Minute},
		"taken in the future by who knows whom": {-1e6 * minute, 0, 0, 10 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			db := must(store.Open(t.Context(), s))(t)
			defer db.Close()
			must(db.TryLead(t.Context(), "x", time.Minute))(t)
			if err := store.Exec(db, `UPDATE leases SET expires = `+strconv.FormatInt(time.Now().UnixMicro()-c.ended, 10)); err != nil {
				t.Fatal(err)
			}
			if err := db.EndLeases(t.Context(), c.jumped); err != nil {
				t.Fatal(err)
			}
			if away := must(db.VacantFor(t.Context(), "x"))(t); away < c.least || away > c.most {
				t.Errorf("nobody led for %s, want %s to %s", away, c.least, c.most)
			}
		})
	}
}

// A grant that a clock which was ahead has dated counts towards no rate until
// that date has come.
func TestAGrantOfTheFutureIsNotARecentOne(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		seed(t, s)
		id := "r1"
		start(t, s, id)
		for host, at := range map[string]time.Duration{"now": 0, "by a clock a little ahead": 20 * time.Second, "of the future": 10 * time.Hour, "old": -10 * time.Hour} {
			write(t, s, func(ctx context.Context, tx *store.Tx) error {
				tx.KeepSerial()
				return tx.PutGrant(ctx, api.Grant{Rollout: id, Host: host, Granted: tx.Now().Add(at), Deadline: tx.Now()}, false)
			})
		}
		write(t, s, func(ctx context.Context, tx *store.Tx) error {
			n, err := tx.RecentGrants(ctx, id, tx.Now().Add(-time.Hour))
			if n != 2 {
				t.Errorf("%d grants are recent, want 2", n)
			}
			return err
		})
	})
}
