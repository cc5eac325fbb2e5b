package fleet_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/fleet"
)

// smallFleet is four hosts: two healthy ones, one that failed, one legacy.
func smallFleet(t *testing.T) *fleet.Fleet {
	w := wanted()
	w.Assignments = []api.Assignment{assign("falcon", everyone, "2.0")}
	f := newFleet(t, fleet.Options{}, w)
	good := report("web-01", running("falcon", "2.0"))
	good.Labels = map[string]string{"zone": "Beijing"}
	beat(t, f, meta.DialectV1, good)
	beat(t, f, meta.DialectV1, report("web-02", running("falcon", "1.0"), running("other", "9")))
	bad := running("falcon", "1.0")
	bad.Phase, bad.Error, bad.Status = meta.PhaseRolledBack, "did not start", "unknown: exit 3"
	failed := report("db-01", bad)
	failed.IP, failed.Arch = "10.7.7.7", "linux_arm64"
	beat(t, f, meta.DialectV1, failed)
	beat(t, f, meta.DialectLegacy, &meta.HeartbeatRequest{Hostname: "old-01", RealAgents: []meta.RealAgent{{Name: "falcon", Version: "2.0", Status: "started"}}})
	return f
}

func TestListPicksHosts(t *testing.T) {
	f := smallFleet(t)
	cases := []struct {
		name  string
		query api.HostQuery
		want  []string
	}{
		{"all by name", api.HostQuery{}, []string{"db-01", "old-01", "web-01", "web-02"}},
		{"part of a name", api.HostQuery{Search: "WEB"}, []string{"web-01", "web-02"}},
		{"part of an address", api.HostQuery{Search: "7.7"}, []string{"db-01"}},
		{"a label's value", api.HostQuery{Search: "beij"}, []string{"web-01"}},
		{"the address an older client came from", api.HostQuery{Search: "10.9.9.9"}, []string{"old-01"}},
		{"group", api.HostQuery{Group: "canary"}, []string{"web-01"}},
		{"agent", api.HostQuery{Agent: "other"}, []string{"web-02"}},
		{"agent's version", api.HostQuery{Agent: "falcon", Version: "2.0"}, []string{"old-01", "web-01"}},
		{"one agent must satisfy all", api.HostQuery{Agent: "other", Version: "1.0"}, nil},
		{"status by its first word", api.HostQuery{Status: "unknown"}, []string{"db-01"}},
		{"phase", api.HostQuery{Phase: "rolledBack"}, []string{"db-01"}},
		{"arch", api.HostQuery{Arch: "linux_arm64"}, []string{"db-01"}},
		{"failing", api.HostQuery{Failing: true}, []string{"db-01"}},
		{"drifted", api.HostQuery{Drifted: true}, []string{"web-02"}},
		{"silent", api.HostQuery{Silent: true}, nil},
		{"problem", api.HostQuery{Problem: true}, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			page, err := f.List(c.query)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, h := range page.Items {
				got = append(got, h.Name)
			}
			if !slices.Equal(got, c.want) || page.Total != len(c.want) {
				t.Fatalf("got %q of %d; want %q", got, page.Total, c.want)
			}
		})
	}
	if _, err := f.List(api.HostQuery{Group: "nope"}); api.KindOf(err) != api.KindInvalid {
		t.Errorf("an unknown group gives %v", err)
	}
}

func TestListPages(t *testing.T) {
	f := newFleet(t, fleet.Options{}, wanted())
	for i := range 25 {
		beat(t, f, meta.DialectV1, report(fmt.Sprintf("h%02d", i)))
	}
	var got []string
	q := api.HostQuery{Limit: 10}
	for {
		page, err := f.List(q)
		if err != nil || page.Total != 25 {
			t.Fatalf("total %d, %v", page.Total, err)
		}
		for _, h := range page.Items {
			got = append(got, h.Name)
		}
		if q.After = page.Next; q.After == "" {
			break
		}
	}
	if len(got) != 25 || !slices.IsSorted(got) {
		t.Fatalf("pages give %q", got)
	}
}

func TestMatchPages(t *testing.T) {
	f := smallFleet(t)
	sel, err := fleet.CompileSelector(api.Selector{CIDRs: []string{"10.0.0.0/8"}, Arches: []string{"linux_amd64"}})
	if err != nil {
		t.Fatal(err)
	}
	page, err := f.Match(t.Context(), sel, api.Cursor{Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := f.Match(ended, sel, api.Cursor{Limit: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("nobody waits for it any more: got %v", err)
	}
	if page.Total != 2 || len(page.Items) != 1 || page.Items[0].Name != "web-01" || page.Next != "web-01" {
		t.Fatalf("page %+v", page)
	}
}

func TestOverviewCounts(t *testing.T) {
	o := smallFleet(t).Overview()
	if o.Hosts != 4 || o.Failing != 1 || o.Silent != 0 || o.Drifted != 1 || o.Dialects["legacy"] != 1 || o.Arches["linux_arm64"] != 1 || o.Arches["unknown"] != 1 {
		t.Errorf("overview %+v", o)
	}
	if len(o.Agents) != 2 || o.Agents[0].Name != "falcon" {
		t.Fatalf("agents %+v", o.Agents)
	}
	a := o.Agents[0]
	if a.Hosts != 4 || a.Versions["2.0"] != 2 || a.Versions["1.0"] != 2 || a.Statuses["unknown"] != 1 || a.Phases["rolledBack"] != 1 || a.Failing != 1 {
		t.Errorf("falcon %+v", a)
	}
}

func TestParallelUse(t *testing.T) {
	f := newFleet(t, fleet.Options{Journal: &journal{}}, wanted())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 200 {
				req := report(fmt.Sprintf("h%d", i%20), running("falcon", fmt.Sprint(i%3)))
				req.BootID = fmt.Sprint("boot", g%2)
				body, _ := json.Marshal(req)
				b := fleet.Beat{Dialect: meta.DialectV1, Body: body}
				if _, ok := f.Steady(ctx, b); !ok {
					if _, err := f.Report(ctx, fleet.Report{Beat: b, Request: req}); err != nil {
						t.Error(err)
					}
				}
				switch i % 50 {
				case 0:
					w := wanted()
					w.Assignments = []api.Assignment{assign("falcon", everyone, "1.0")}
					f.UseSnapshot(fleet.Compile(fleet.Config{Wanted: w}, time.Now()))
				case 10:
					f.Overview()
				case 20:
					if _, err := f.List(api.HostQuery{Search: "h"}); err != nil {
						t.Error(err)
					}
				case 30:
					f.AddGrants("r", "h1", "h2", "h99")
					f.DropGrants("r")
				case 40:
					f.Explain("h1")
					f.ForgetHost("h7")
				}
			}
		})
	}
	wg.Wait()
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// kept is a stored host; one without a name cannot be decoded.
type kept api.Host

var errKept = errors.New("cannot be decoded")

func (k kept) Decode(into *api.Host) error {
	*into = api.Host(k)
	if k.Name == "" {
		return errKept
	}
	return nil
}

func TestLoadEndsAtAHostThatCannotBeRead(t *testing.T) {
	for _, bad := range []int{0, 1500, 2999} {
		f := newFleet(t, fleet.Options{}, wanted())
		err := fleet.Load(t.Context(), f, 3000, func(visit func(kept) error) error {
			for i := range 3000 {
				h := kept(storedHost(i))
				if i == bad {
					h.Name = ""
				}
				if err := visit(h); err != nil {
					return err
				}
			}
			return nil
		})
		if !errors.Is(err, errKept) {
			t.Errorf("host %d: %v", bad, err)
		}
	}
}

func TestLoadRestoresAll(t *testing.T) {
	const hosts = 3000
	f := newFleet(t, fleet.Options{}, wanted())
	err := fleet.Load(t.Context(), f, hosts, func(visit func(kept) error) error {
		for i := range hosts {
			if err := visit(kept(storedHost(i))); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || f.Hosts() != hosts {
		t.Fatalf("%d hosts, %v", f.Hosts(), err)
	}
	got, _ := f.Host("host-0002999")
	want := storedHost(2999)
	if got.BootID != want.BootID || got.IP != want.IP || got.Labels["rack"] != want.Labels["rack"] || len(got.Agents) != 3 {
		t.Fatalf("restored %+v", got)
	}
}
