package store_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

// next waits for a change of at least a serial.
func next(t *testing.T, changes <-chan store.Change, serial int64) {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		select {
		case c, ok := <-changes:
			if !ok {
				t.Fatal("the channel was closed")
			}
			if c.Serial >= serial {
				return
			}
		case <-deadline:
			t.Fatalf("serial %d was not heard of", serial)
		}
	}
}

func put(name string) func(context.Context, *store.Tx) error {
	return func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.PutAgent(ctx, api.Agent{Name: name})
		return err
	}
}

func TestWatchHearsOfEveryReplica(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		mine, other := d.open(t), d.open(t)
		ctx, cancel := context.WithCancel(t.Context())
		changes := mine.Watch(ctx)
		next(t, changes, write(t, mine, put("a")))
		next(t, changes, write(t, other, put("b")))
		select {
		case c := <-changes:
			t.Errorf("heard of %d, but nothing changed", c.Serial)
		case <-time.After(20 * time.Millisecond):
		}
		cancel()
		for range changes { // ends when the channel is closed
		}
	})
}

// The serial is the one told last again, but it has been further in between.
func TestWatchHearsThatTheDatabaseWentBack(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		changes := s.Watch(t.Context())
		before := write(t, s, put("a"))
		write(t, s, put("b")) // while the first is about to be told
		driver, dsn := "pgx", d.cfg.DSN
		if dsn == "" {
			driver, dsn = "sqlite", filepath.Join(d.cfg.Dir, "ops-meta.db")+"?_pragma=busy_timeout(60000)"
		}
		db := must(sql.Open(driver, dsn))(t)
		defer db.Close()
		if _, err := db.Exec(`UPDATE counters SET value = value - 1 WHERE name = 'serial'`); err != nil {
			t.Fatal(err)
		}
		<-changes
		next(t, changes, before)
	})
}

func TestWatchEndsWithTheStore(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		s, err := store.Open(t.Context(), d.cfg)
		if err != nil {
			t.Fatal(err)
		}
		changes := s.Watch(t.Context())
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		for range changes {
		}
	})
}

// A notification tells replicas much faster than polling would.
func TestWatchIsToldByPostgres(t *testing.T) {
	d := newPostgres(t)
	mine, other := d.open(t), d.open(t)
	changes := mine.Watch(t.Context())
	next(t, changes, write(t, other, put("first"))) // by now it listens, or soon
	best := time.Hour
	for i := range 20 {
		began := time.Now()
		next(t, changes, write(t, other, put(fmt.Sprint("a", i))))
		best = min(best, time.Since(began))
	}
	if best > 500*time.Millisecond {
		t.Errorf("the fastest of 20 changes took %s", best)
	}
}

func TestOneLeads(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		a, b := d.open(t), d.open(t)
		lead := func(s *store.Store, ttl time.Duration) bool { return must(s.TryLead(t.Context(), "retention", ttl))(t) }
		if away := must(a.VacantFor(t.Context(), "retention"))(t); away != 0 {
			t.Errorf("never held, but vacant for %s", away)
		}
		if !lead(a, time.Hour) || lead(b, time.Hour) || !lead(a, time.Hour) {
			t.Error("want a to lead, b not, and a still")
		}
		if away := must(b.VacantFor(t.Context(), "retention"))(t); away >= 0 {
			t.Errorf("held, but vacant for %s", away)
		}
		if !must(b.TryLead(t.Context(), "deadlines", time.Hour))(t) {
			t.Error("want b to lead something else")
		}
		if err := b.ResignLease(t.Context(), "retention"); err != nil || lead(b, time.Hour) {
			t.Error("b resigned what it did not have, and got it")
		}
		if err := a.ResignLease(t.Context(), "retention"); err != nil || !lead(b, time.Millisecond) {
			t.Errorf("want b to lead after a resigned: %v", err)
		}
		for deadline := time.Now().Add(time.Minute); !lead(a, time.Hour); {
			if time.Now().After(deadline) {
				t.Fatal("b's lease did not end")
			}
		}
	})
}

func TestNotificationsAreOwedUntilTheyAreDelivered(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		a, b := d.open(t), d.open(t)
		for i := range 4 {
			if err := a.Notify(t.Context(), api.Notification{Kind: "host.silent", Target: fmt.Sprint(i), Payload: []byte{0, 0xff}}); err != nil {
				t.Fatal(err)
			}
		}
		now := moment().Add(time.Second)
		claim := func(s *store.Store, at time.Time) map[string]api.Notification {
			claimed := map[string]api.Notification{}
			for _, n := range must(s.ClaimNotifications(t.Context(), at, time.Minute, 3))(t) {
				claimed[n.Target] = n
			}
			return claimed
		}
		first, second := claim(a, now), claim(b, now)
		if len(first) != 3 || len(second) != 1 || len(claim(a, now)) != 0 {
			t.Fatalf("claimed %d and %d, want 3 and 1 and no more", len(first), len(second))
		}
		settle := func(err error) {
			if err != nil {
				t.Error(err)
			}
		}
		settle(a.NotificationDelivered(t.Context(), first["0"].ID))
		settle(a.NotificationFailed(t.Context(), first["1"].ID, "refused", now.Add(time.Hour)))
		settle(a.NotificationDead(t.Context(), first["2"].ID, "gone"))
		// The sender that claimed the last one died: it is due again after its lease.
		later := claim(a, now.Add(2*time.Minute))
		if n := later["3"]; len(later) != 1 || n.Attempts != 2 || string(n.Payload) != "\x00\xff" {
			t.Errorf("after the lease: %+v", later)
		}
		if n := claim(a, now.Add(2*time.Hour))["1"]; n.Error != "refused" || n.Attempts != 2 {
			t.Errorf("after its delay: %+v", n)
		}
		dead := must(a.DeadLetters(t.Context(), api.Cursor{}))(t).Items
		if len(dead) != 1 || dead[0].Target != "2" || dead[0].Error != "gone" || !dead[0].Dead {
			t.Fatalf("dead: %+v", dead)
		}
		write(t, a, func(ctx context.Context, tx *store.Tx) error { return tx.ReviveNotification(ctx, dead[0].ID) })
		if n := claim(a, time.Now())["2"]; n.Attempts != 1 {
			t.Errorf("revived: %+v", n)
		}
		refused(t, a, api.KindNotFound, func(ctx context.Context, tx *store.Tx) error { return tx.ReviveNotification(ctx, dead[0].ID) })
	})
}

func TestSamples(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		now := moment()
		var want []api.Sample
		for i := range 3 {
			at := now.Add(time.Duration(i) * time.Minute)
			want = append(want, api.Sample{At: at, Agent: "db", Hosts: i}, api.Sample{At: at, Agent: "web", Hosts: i, Versions: map[string]int{"1.0": i}})
		}
		for range 2 { // two replicas sample the same moment
			if err := s.SaveSamples(t.Context(), want); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(want, must(s.Samples(t.Context(), "", now))(t)); diff != "" {
			t.Errorf("samples (-want +got):\n%s", diff)
		}
		if err := s.DeleteSamples(t.Context(), now.Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		if got := must(s.Samples(t.Context(), "web", now))(t); len(got) != 2 || got[0].Hosts != 1 {
			t.Errorf("left: %+v", got)
		}
	})
}

// A PostgreSQL that restarts makes writes fail with Unavailable, and is simply
// used again when it is back: by writes, reads and watches.
func TestPostgresRestarts(t *testing.T) {
	dsn, restart := privatePostgres(t)
	d := database{name: "postgres", cfg: store.Config{DSN: dsn}}
	s, other := d.open(t), d.open(t)
	changes := s.Watch(t.Context())
	acknowledged := map[string]bool{}
	next(t, changes, write(t, other, put("before")))
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() {
		done <- func() error {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return nil
				default:
				}
				name := fmt.Sprintf("a%06d", i)
				_, err := s.Write(t.Context(), operator, func(tx *store.Tx) error { return put(name)(t.Context(), tx) })
				if err != nil && api.KindOf(err) != api.KindUnavailable {
					return fmt.Errorf("while it restarts: %w (%s)", err, api.KindOf(err))
				}
				if err == nil {
					acknowledged[name] = true
				}
			}
		}()
	}()
	for range 2 {
		restart()
	}
	close(stop)
	if err := <-done; err != nil {
		t.Error(err)
	}
	var serial int64
	for deadline := time.Now().Add(time.Minute); serial == 0; {
		got, err := other.Write(t.Context(), operator, func(tx *store.Tx) error { return put("after")(t.Context(), tx) })
		if serial = got; err != nil && (api.KindOf(err) != api.KindUnavailable || time.Now().After(deadline)) {
			t.Fatalf("afterwards: %v", err)
		}
	}
	next(t, changes, serial)
	for _, a := range must(s.Wanted(t.Context()))(t).Agents {
		delete(acknowledged, a.Name)
	}
	if len(acknowledged) > 0 {
		t.Errorf("%d acknowledged writes are gone: %v", len(acknowledged), acknowledged)
	}
}

// privatePostgres starts a PostgreSQL that other tests don't use.
func privatePostgres(t *testing.T) (dsn string, restart func()) {
	t.Helper()
	newPostgres(t) // says what is missing
	cmd := exec.Command("../../../scripts/with-postgres", "sh", "-c",
		`echo "$OPS_META_TEST_POSTGRES"; while read -r line; do sh -c "$OPS_META_TEST_POSTGRES_RESTART" </dev/null >&2 && echo done; done`)
	cmd.Env = append(os.Environ(), "OPS_META_TEST_POSTGRES=", "CI=true")
	cmd.Stderr = os.Stderr
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("with-postgres: %v", err)
		}
	})
	line := func() string {
		var text string
		if _, err := fmt.Fscanln(out, &text); err != nil {
			t.Fatalf("with-postgres: %v", err)
		}
		return strings.TrimSpace(text)
	}
	dsn = line()
	return dsn, func() {
		fmt.Fprintln(in, "restart")
		line()
	}
}
