package store_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

// host is one with everything that is stored.
func host(name string, at time.Time) api.Host {
	return api.Host{
		Name: name, IP: "192.0.2.9", Arch: "linux_amd64", RunUser: "root", UpdaterVersion: "1.2.3",
		Labels: map[string]string{"rack": "r7", "zone": "eu"}, BootID: "3f2a", BootTime: 1_700_000_000, Dialect: "v1",
		FirstSeen: at.Add(-time.Hour), LastSeen: at, Problems: []string{"clock skew"},
		Agents: []api.HostAgent{
			{
				Name: "web", Version: "1.0", Status: "started", Phase: "probation", PreviousVersion: "0.9", Error: "späť",
				Since: -7, Progress: 0.25, RunUser: "www", WorkDir: "/srv/web", Held: true, HoldReason: "audit", Orphaned: true,
			},
			{Name: "db"},
		},
	}
}

func hosts(t testing.TB, s *store.Store) (all []api.Host) {
	t.Helper()
	if err := s.LoadHosts(t.Context(), func(stored store.StoredHost) error {
		var h api.Host
		err := stored.Decode(&h)
		all = append(all, h)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

func moment() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

func TestReportsAreKept(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		now := moment()
		a, b, bare := host("a", now), host("b", now), api.Host{Name: "bare", LastSeen: now, Agents: []api.HostAgent{}}
		err := s.SaveReports(t.Context(), []api.HostReport{
			{Host: host("a", now.Add(-time.Minute)), Events: []api.Event{{Host: "a", Time: now, Kind: api.EventFirstSeen}}},
			{Host: b},
			{Host: bare},
			{Host: a, Events: []api.Event{
				{Host: "a", Time: now, Kind: api.EventVersion, Agent: "web", Rollout: "r1", From: "0.9", To: "1.0", Message: "x"},
			}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.FlushSeen(t.Context(), []api.HostSeen{{Host: "a", Seen: now.Add(-time.Hour)}, {Host: "b", Seen: now.Add(time.Hour)}, {Host: "b", Seen: now}}); err != nil {
			t.Fatal(err)
		}
		b.LastSeen = now // the last of one batch, not the latest of it: batches are in order
		if diff := cmp.Diff([]api.Host{a, b, bare}, hosts(t, s)); diff != "" {
			t.Errorf("hosts (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(a, must(s.Host(t.Context(), "a"))(t)); diff != "" {
			t.Errorf("host (-want +got):\n%s", diff)
		}
		events := must(s.Events(t.Context(), api.EventFilter{Host: "a"}, api.Cursor{}))(t).Items
		want := []api.Event{
			{Host: "a", Time: now, Kind: api.EventVersion, Agent: "web", Rollout: "r1", From: "0.9", To: "1.0", Message: "x"},
			{Host: "a", Time: now, Kind: api.EventFirstSeen},
		}
		if diff := cmp.Diff(want, events, cmpopts.IgnoreFields(api.Event{}, "ID")); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}

func TestTextOfTheNetworkIsNoError(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		bad := "a\x00b\xff'; DROP TABLE hosts; --"
		h := api.Host{Name: bad, LastSeen: moment(), Agents: []api.HostAgent{{Name: bad, Error: bad}}}
		events := []api.Event{{Host: bad, Agent: bad, Rollout: bad, From: bad, To: bad, Message: bad, Time: moment(), Kind: api.EventError}}
		if err := s.SaveReports(t.Context(), []api.HostReport{{Host: h, Events: events}}); err != nil {
			t.Fatal(err)
		}
		got := must(s.Host(t.Context(), bad))(t)
		if got.Agents[0].Error != bad {
			t.Errorf("error is %q", got.Agents[0].Error)
		}
		if n := must(s.CountHosts(t.Context()))(t); n != 1 {
			t.Errorf("%d hosts", n)
		}
	})
}

func TestHostsSinceIsWhatOtherReplicasWrote(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		mine, other := d.open(t), d.open(t)
		mark, err := mine.HostsSince(t.Context(), 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := other.SaveReports(t.Context(), []api.HostReport{{Host: host("a", moment())}}); err != nil {
			t.Fatal(err)
		}
		var names []string
		next, err := mine.HostsSince(t.Context(), mark, func(h api.Host) error { names = append(names, h.Name); return nil })
		if err != nil || next < mark || fmt.Sprint(names) != "[a]" {
			t.Errorf("got %v, mark %d after %d, %v", names, next, mark, err)
		}
		if _, err := mine.HostsSince(t.Context(), next+store.Mark(time.Hour.Microseconds()), func(h api.Host) error {
			t.Errorf("host %s is not new", h.Name)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		seen := 0
		if err := mine.LoadSeen(t.Context(), moment().Add(-time.Minute), func(api.HostSeen) error { seen++; return nil }); err != nil || seen != 1 {
			t.Errorf("seen %d, %v", seen, err)
		}
	})
}

func TestEventsAreFilteredAndPaged(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		now := moment()
		var events []api.Event
		for i := range 450 { // more than one statement's
			events = append(events, api.Event{Host: fmt.Sprintf("h%d", i%3), Time: now.Add(time.Duration(i) * time.Second), Kind: api.EventPhase, Agent: "web", To: fmt.Sprint(i)})
		}
		if err := s.AppendEvents(t.Context(), events); err != nil {
			t.Fatal(err)
		}
		last := 450
		count := 0
		for c := (api.Cursor{Limit: 40}); ; {
			page := must(s.Events(t.Context(), api.EventFilter{Host: "h1", Agent: "web"}, c))(t)
			for _, e := range page.Items {
				var n int
				fmt.Sscan(e.To, &n)
				if n >= last || n%3 != 1 {
					t.Fatalf("event %d after %d", n, last)
				}
				last = n
				count++
			}
			if c.After = page.Next; c.After == "" {
				break
			}
		}
		if count != 150 {
			t.Errorf("%d events of the host, want 150", count)
		}
		if n := len(must(s.Events(t.Context(), api.EventFilter{Since: now.Add(10 * time.Second), Until: now.Add(20 * time.Second)}, api.Cursor{}))(t).Items); n != 10 {
			t.Errorf("%d events of ten seconds", n)
		}
		if _, err := s.Events(t.Context(), api.EventFilter{}, api.Cursor{After: "x"}); api.KindOf(err) != api.KindInvalid {
			t.Errorf("bad cursor: %v", err)
		}
		var deleted int64
		for {
			n := must(s.DeleteEvents(t.Context(), now.Add(100*time.Second), 30))(t)
			if deleted += n; n < 30 {
				break
			}
		}
		if deleted != 100 {
			t.Errorf("deleted %d events, want 100", deleted)
		}
	})
}

func TestHostsAreForgotten(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		for _, name := range []string{"gone", "stays"} {
			h := api.HostReport{Host: host(name, moment()), Events: []api.Event{{Host: name, Time: moment(), Kind: api.EventFirstSeen}}}
			if err := s.SaveReports(t.Context(), []api.HostReport{h}); err != nil {
				t.Fatal(err)
			}
			must(s.EnrollHost(t.Context(), store.HostCredential{Actor: operator, Host: name}))(t)
		}
		forget := func(ctx context.Context, tx *store.Tx) error { return tx.DeleteHost(ctx, "gone") }
		write(t, s, forget)
		refused(t, s, api.KindNotFound, forget)
		if left := hosts(t, s); len(left) != 1 || left[0].Name != "stays" {
			t.Errorf("left: %+v", left)
		}
		if _, err := s.HostToken(t.Context(), "gone"); api.KindOf(err) != api.KindNotFound {
			t.Errorf("credential of a forgotten host: %v", err)
		}
		if n := len(must(s.Events(t.Context(), api.EventFilter{Host: "gone"}, api.Cursor{}))(t).Items); n != 0 {
			t.Errorf("%d events of a forgotten host", n)
		}
	})
}

// BenchmarkLoadHosts loads what OPS_META_BENCH_HOSTS (100 000) hosts
// reported: make bench-meta runs it with a million.
func BenchmarkLoadHosts(b *testing.B) {
	count := 100_000
	fmt.Sscan(os.Getenv("OPS_META_BENCH_HOSTS"), &count)
	for _, name := range []string{"sqlite", "postgres"} {
		b.Run(name, func(b *testing.B) {
			d := database{name: name, cfg: store.Config{Dir: b.TempDir()}}
			if name == "postgres" {
				d = newPostgres(b)
			}
			s := d.open(b)
			fill(b, s, count)
			b.ResetTimer()
			for b.Loop() {
				n, h := 0, api.Host{}
				if err := s.LoadHosts(context.Background(), func(stored store.StoredHost) error { n++; return stored.Decode(&h) }); err != nil || n != count {
					b.Fatalf("%d hosts, %v", n, err)
				}
			}
			b.ReportMetric(float64(count)*float64(b.N)/b.Elapsed().Seconds(), "hosts/s")
		})
	}
}

func fill(b *testing.B, s *store.Store, count int) {
	b.Helper()
	now, began := moment(), time.Now()
	var batch []api.HostReport
	for i := range count {
		h := host(fmt.Sprintf("host-%07d.example", i), now)
		h.Problems = nil
		h.Agents = []api.HostAgent{
			{Name: "web", Version: "1.0", Status: "started", Phase: "idle", RunUser: "www", WorkDir: "/srv/agents"},
			{Name: "falcon-agent", Version: "5.1.3", Status: "started", Phase: "idle", RunUser: "falcon", WorkDir: "/home/falcon/open-falcon"},
		}
		if batch = append(batch, api.HostReport{Host: h}); len(batch) == 5000 || i == count-1 {
			if err := s.SaveReports(context.Background(), batch); err != nil {
				b.Fatal(err)
			}
			batch = batch[:0]
		}
	}
	b.Logf("%s: wrote %d hosts in %s", s.Dialect(), count, time.Since(began).Round(time.Millisecond))
	seen := make([]api.HostSeen, 0, 20_000)
	for i := range min(cap(seen), count) {
		seen = append(seen, api.HostSeen{Host: fmt.Sprintf("host-%07d.example", i*(count/min(cap(seen), count))), Seen: now.Add(time.Second)})
	}
	began = time.Now()
	if err := s.FlushSeen(context.Background(), seen); err != nil {
		b.Fatal(err)
	}
	b.Logf("%s: flushed %d seen in %s", s.Dialect(), len(seen), time.Since(began).Round(time.Millisecond))
}

func FuzzHostEncoding(f *testing.F) {
	f.Add(store.EncodeHost(host("a", time.Now())))
	f.Add([]byte{1})
	f.Add([]byte(strings.Repeat("\xff", 40)))
	f.Fuzz(func(t *testing.T, doc []byte) {
		h, err := store.DecodeHost(doc)
		if err != nil {
			return
		}
		again, err := store.DecodeHost(store.EncodeHost(h))
		if err != nil {
			t.Fatalf("decoded, but not again: %v", err)
		}
		if diff := cmp.Diff(h, again, cmpopts.EquateEmpty(), cmpopts.EquateNaNs()); diff != "" {
			t.Errorf("(-once +twice):\n%s", diff)
		}
	})
}
