package fleet_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/fleet"
)

// journal keeps what it is given, unless it is told to fail.
type journal struct {
	mu      sync.Mutex
	err     error
	takes   time.Duration
	saves   int
	reports []api.HostReport
	seen    map[string]time.Time
}

func (j *journal) SaveReports(ctx context.Context, r []api.HostReport) error {
	if j.takes > 0 {
		select {
		case <-time.After(j.takes):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err != nil {
		return j.err
	}
	j.saves++
	j.reports = append(j.reports, r...)
	return nil
}

func (j *journal) FlushSeen(_ context.Context, seen []api.HostSeen) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.seen == nil {
		j.seen = make(map[string]time.Time)
	}
	for _, s := range seen {
		j.seen[s.Host] = s.Seen
	}
	return j.err
}

func (j *journal) fail(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.err = err
}

// kinds lists the events saved so far as host/agent kind from→to.
func (j *journal) kinds() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []string
	for _, r := range j.reports {
		for _, e := range r.Events {
			out = append(out, fmt.Sprintf("%s %s %s %s→%s", e.Host, e.Kind, e.Agent, e.From, e.To))
		}
	}
	return out
}

// start runs a fleet inside a synctest bubble; stop ends it.
func start(t *testing.T, f *fleet.Fleet) (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	return func() error {
		cancel()
		return <-done
	}
}

func TestOnlyTimestampsMakeASteadyHeartbeat(t *testing.T) {
	now := time.Now().Unix()
	req := func(change func(*meta.HeartbeatRequest)) []byte {
		r := report("web-01", running("falcon", "1.0"))
		r.RealAgents[0].Timestamp = now
		if change != nil {
			change(r)
		}
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	cases := []struct {
		name string
		beat fleet.Beat
		want bool
	}{
		{"the same", fleet.Beat{Dialect: meta.DialectV1, Remote: "a", Body: req(nil)}, true},
		{"another timestamp", fleet.Beat{Dialect: meta.DialectV1, Remote: "a", Body: req(func(r *meta.HeartbeatRequest) { r.RealAgents[0].Timestamp = now + 60 })}, true},
		{"a clock far behind", fleet.Beat{Dialect: meta.DialectV1, Remote: "a", Body: req(func(r *meta.HeartbeatRequest) { r.RealAgents[0].Timestamp = now - 86400 })}, false},
		{"another version", fleet.Beat{Dialect: meta.DialectV1, Remote: "a", Body: req(func(r *meta.HeartbeatRequest) { r.RealAgents[0].Version = "1.1" })}, false},
		{"another status", fleet.Beat{Dialect: meta.DialectV1, Remote: "a", Body: req(func(r *meta.HeartbeatRequest) { r.RealAgents[0].Status = "stoped" })}, false},
		{"another host", fleet.Beat{Dialect: meta.DialectV1, Remote: "a", Body: req(func(r *meta.HeartbeatRequest) { r.Hostname = "web-02" })}, false},
		{"another address", fleet.Beat{Dialect: meta.DialectV1, Remote: "b", Body: req(nil)}, false},
		{"the other dialect", fleet.Beat{Dialect: meta.DialectLegacy, Remote: "a", Body: req(nil)}, false},
		{"cut short", fleet.Beat{Dialect: meta.DialectV1, Remote: "a", Body: req(nil)[:80]}, false},
		{"empty", fleet.Beat{Dialect: meta.DialectV1, Remote: "a"}, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			f := newFleet(t, fleet.Options{}, wanted())
			body := req(nil)
			first := report("web-01", running("falcon", "1.0"))
			if _, err := f.Report(context.Background(), fleet.Report{Beat: fleet.Beat{Dialect: meta.DialectV1, Remote: "a", Body: body}, Request: first}); err != nil {
				t.Fatal(err)
			}
			if _, got := f.Steady(context.Background(), c.beat); got != c.want {
				t.Fatalf("steady is %v; want %v", got, c.want)
			}
		})
	}
}

func TestSteadyAllocatesNothing(t *testing.T) {
	f := newFleet(t, fleet.Options{}, wanted())
	req := report("web-01", running("falcon", "1.0"))
	body, err := json.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	b := fleet.Beat{Dialect: meta.DialectV1, Remote: "10.9.9.9", Body: body}
	beat(t, f, meta.DialectV1, req)
	ctx := context.Background()
	if n := testing.AllocsPerRun(1000, func() {
		if _, ok := f.Steady(ctx, b); !ok {
			t.Fatal("not steady")
		}
	}); n > 0 {
		t.Fatalf("a steady heartbeat allocates %v times", n)
	}
}

func TestWhatTheTimelineTells(t *testing.T) {
	base := func() *meta.HeartbeatRequest { return report("h", running("a", "1.0"), running("b", "1.0")) }
	cases := []struct {
		name   string
		change func(*meta.HeartbeatRequest)
		want   []string
	}{
		{"nothing", func(*meta.HeartbeatRequest) {}, nil},
		{"version", func(r *meta.HeartbeatRequest) { r.RealAgents[1].Version = "1.1" }, []string{"h version b 1.0→1.1"}},
		{"status", func(r *meta.HeartbeatRequest) { r.RealAgents[0].Status = "stoped" }, []string{"h status a started→stoped"}},
		{"the detail of unknown is not a change of status", func(r *meta.HeartbeatRequest) { r.RealAgents[0].Progress = 0.5 }, nil},
		{"phase and error", func(r *meta.HeartbeatRequest) {
			r.RealAgents[0].Phase, r.RealAgents[0].Error = meta.PhaseFailed, "no space"
		}, []string{"h phase a idle→failed", "h error a →"}},
		{"an agent is gone", func(r *meta.HeartbeatRequest) { r.RealAgents = r.RealAgents[:1] }, []string{"h removed b 1.0→"}},
		{"an agent is new", func(r *meta.HeartbeatRequest) { r.RealAgents = append(r.RealAgents, running("c", "2")) }, []string{"h version c →2"}},
		{"order does not matter", func(r *meta.HeartbeatRequest) { slices.Reverse(r.RealAgents) }, nil},
		{"address", func(r *meta.HeartbeatRequest) { r.IP = "10.0.0.2" }, []string{"h host  →"}},
		{"labels", func(r *meta.HeartbeatRequest) { r.Labels = map[string]string{"zone": "bj"} }, []string{"h host  →"}},
		{"a hold on the host", func(r *meta.HeartbeatRequest) { r.RealAgents[0].Held = true }, []string{"h held a →"}},
		{"reboot", func(r *meta.HeartbeatRequest) { r.BootID, r.BootTime = "other", 2000 }, []string{"h host  →"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j := &journal{}
				f := newFleet(t, fleet.Options{Journal: j}, wanted())
				stop := start(t, f)
				first, second := base(), base()
				first.BootID, first.BootTime = "boot", 1000
				second.BootID, second.BootTime = "boot", 1000
				beat(t, f, meta.DialectV1, first)
				c.change(second)
				beat(t, f, meta.DialectV1, second)
				if err := stop(); err != nil {
					t.Fatal(err)
				}
				got := j.kinds()
				want := append([]string{"h firstSeen  →"}, c.want...)
				if !slices.Equal(got, want) {
					t.Fatalf("timeline %q; want %q", got, want)
				}
			})
		})
	}
}

func TestAChangeIsDurableBeforeItsReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &journal{takes: 300 * time.Millisecond}
		f := newFleet(t, fleet.Options{Journal: j}, wanted())
		stop := start(t, f)
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				beat(t, f, meta.DialectV1, report(fmt.Sprintf("h%d", i)))
				j.mu.Lock()
				defer j.mu.Unlock()
				if !slices.ContainsFunc(j.reports, func(r api.HostReport) bool { return r.Host.Name == fmt.Sprintf("h%d", i) }) {
					t.Errorf("h%d was answered before its change was saved", i)
				}
			})
		}
		wg.Wait()
		if j.saves > 3 {
			t.Errorf("%d transactions for 50 heartbeats at once", j.saves)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestHeartbeatsGoOnWithoutTheJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &journal{err: errors.New("connection refused")}
		f := newFleet(t, fleet.Options{Journal: j, MaxLines: 40}, wanted())
		stop := start(t, f)
		began := time.Now()
		for i := range 100 {
			beat(t, f, meta.DialectV1, report(fmt.Sprintf("h%d", i), running("falcon", "1.0")))
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("100 heartbeats waited %v for a journal that fails", took)
		}
		for v := range 100 {
			beat(t, f, meta.DialectV1, report("h0", running("falcon", fmt.Sprint(v))))
		}
		if n, failing := f.Backlog(); n == 0 || !failing {
			t.Errorf("backlog %d, failing %v", n, failing)
		}
		j.fail(nil)
		<-time.After(10 * time.Second)
		j.mu.Lock()
		saved := make(map[string]string)
		lines := 0
		for _, r := range j.reports {
			saved[r.Host.Name] = r.Host.Agents[0].Version
			lines += len(r.Events)
		}
		j.mu.Unlock()
		if len(saved) != 100 || saved["h0"] != "99" {
			t.Errorf("%d hosts saved, h0 at %s; want all, with the last version", len(saved), saved["h0"])
		}
		if lines > 60 {
			t.Errorf("%d timeline lines were kept; want no more than about 40", lines)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestAHangingJournalDoesNotHoldReplies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &journal{takes: time.Hour}
		f := newFleet(t, fleet.Options{Journal: j}, wanted())
		stop := start(t, f)
		began := time.Now()
		beat(t, f, meta.DialectV1, report("h"))
		if took := time.Since(began); took != fleet.DefaultCommitWait {
			t.Errorf("the reply took %v; want %v", took, fleet.DefaultCommitWait)
		}
		if err := stop(); err == nil {
			t.Error("stopping says nothing of the change that could not be saved")
		}
	})
}

func TestSilenceAndReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &journal{}
		f := newFleet(t, fleet.Options{Journal: j, Interval: time.Minute}, wanted())
		stop := start(t, f)
		beat(t, f, meta.DialectV1, report("quiet"))
		for range 10 {
			beat(t, f, meta.DialectV1, report("alive"))
			<-time.After(time.Minute)
		}
		page, err := f.List(api.HostQuery{Silent: true})
		if err != nil || len(page.Items) != 1 || page.Items[0].Name != "quiet" {
			t.Errorf("silent are %+v, %v", page.Items, err)
		}
		body, _ := json.Marshal(report("quiet"))
		if _, steady := f.Steady(context.Background(), fleet.Beat{Dialect: meta.DialectV1, Remote: "10.9.9.9", Body: body}); steady {
			t.Error("the return of a silent host is not noticed")
		}
		beat(t, f, meta.DialectV1, report("quiet"))
		want := []string{"quiet firstSeen  →", "alive firstSeen  →", "quiet silent  →", "quiet returned  →"}
		if err := stop(); err != nil || !slices.Equal(j.kinds(), want) {
			t.Errorf("timeline %q, %v; want %q", j.kinds(), err, want)
		}
		if len(j.seen) != 2 {
			t.Errorf("last seen of %v was kept; want both", j.seen)
		}
	})
}

func TestOneReplicaTellsOfSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &journal{}
		f := newFleet(t, fleet.Options{Journal: j, Interval: time.Minute, Leads: func() bool { return false }}, wanted())
		stop := start(t, f)
		beat(t, f, meta.DialectV1, report("quiet"))
		<-time.After(10 * time.Minute)
		if o := f.Overview(); o.Silent != 1 {
			t.Errorf("%d hosts are silent; want 1", o.Silent)
		}
		if err := stop(); err != nil || !slices.Equal(j.kinds(), []string{"quiet firstSeen  →"}) {
			t.Errorf("timeline %q, %v; want silence told by the other replica", j.kinds(), err)
		}
	})
}

// What was heard by a clock that was ahead counts from now: the host falls
// silent as others do.
func TestAHostHeardInTheFutureFallsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, fleet.Options{Journal: &journal{}, Interval: time.Minute}, wanted())
		now := time.Now()
		f.Restore(api.Host{Name: "ahead", Dialect: "v1", Protocol: 1, FirstSeen: now, LastSeen: now.AddDate(10, 0, 0)})
		stop := start(t, f)
		<-time.After(2 * time.Minute)
		if o := f.Overview(); o.Silent != 0 {
			t.Errorf("%d hosts are silent after two minutes", o.Silent)
		}
		<-time.After(8 * time.Minute)
		if o := f.Overview(); o.Silent != 1 {
			t.Errorf("%d hosts are silent after ten minutes; want 1", o.Silent)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// A jump of the server's clock makes nobody silent.
func TestAClockThatJumpsMakesNobodySilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var looked atomic.Int64
		f := newFleet(t, fleet.Options{Journal: &journal{}, Interval: time.Minute, SeeClock: func() { looked.Add(1) }}, wanted())
		hour := time.Now().Add(-time.Hour)
		f.Restore(api.Host{Name: "steady", Dialect: "v1", Protocol: 1, FirstSeen: hour, LastSeen: hour})
		f.ClockJumped(time.Hour)
		stop := start(t, f)
		<-time.After(2 * time.Minute)
		if o := f.Overview(); o.Silent != 0 || looked.Load() == 0 {
			t.Errorf("%d hosts are silent; the clock was looked at %d times", o.Silent, looked.Load())
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestARestartIsNotTheFleetsSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &journal{}
		f := newFleet(t, fleet.Options{Journal: j, Interval: time.Minute}, wanted())
		now := time.Now()
		f.Restore(api.Host{Name: "alive", Dialect: "v1", Protocol: 1, FirstSeen: now.Add(-time.Hour), LastSeen: now.Add(-30 * time.Minute)})
		f.Restore(api.Host{Name: "gone", Dialect: "v1", Protocol: 1, FirstSeen: now.Add(-time.Hour), LastSeen: now.Add(-50 * time.Minute)})
		stop := start(t, f)
		<-time.After(59 * time.Second)
		if o := f.Overview(); o.Silent != 1 {
			t.Errorf("%d hosts are silent; want only the one that was so before", o.Silent)
		}
		<-time.After(time.Minute)
		if err := stop(); err != nil || !slices.Equal(j.kinds(), []string{"alive silent  →"}) {
			t.Errorf("timeline %q, %v; want silence of alive after one interval", j.kinds(), err)
		}
	})
}

func TestARestoredHostIsNotNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &journal{}
		f := newFleet(t, fleet.Options{Journal: j}, wanted())
		stop := start(t, f)
		req := report("h", running("b", "2.0"), running("a", "1.0"))
		req.Labels = map[string]string{"zone": "bj", "tier": "x"}
		req.BootID = "4a6bd1f7-1a8e-4d7c-9b43-3f5a2d8f9b10"
		req.RealAgents[0].Rollout, req.RealAgents[0].DesiredVersion = "r1", "2.0"
		beat(t, f, meta.DialectV1, req)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		stored := j.reports[0].Host
		for i := range stored.Agents { // what the store does not keep
			stored.Agents[i].Rollout, stored.Agents[i].DesiredVersion, stored.Agents[i].Wanted = "", "", ""
		}
		again := &journal{}
		g := newFleet(t, fleet.Options{Journal: again}, wanted())
		g.Restore(stored)
		stop = start(t, g)
		beat(t, g, meta.DialectV1, req)
		if err := stop(); err != nil || len(again.reports) != 0 {
			t.Errorf("saved %+v, %v; want nothing", again.reports, err)
		}
		if h, ok := g.Host("h"); !ok || h.BootID != req.BootID || h.Labels["zone"] != "bj" || len(h.Agents) != 2 {
			t.Errorf("restored as %+v", h)
		}
	})
}

func TestHostsBeyondTheLimitAreRefused(t *testing.T) {
	f := newFleet(t, fleet.Options{MaxHosts: 1}, wanted())
	beat(t, f, meta.DialectV1, report("h1"))
	_, err := f.Report(context.Background(), fleet.Report{Beat: fleet.Beat{Dialect: meta.DialectV1}, Request: report("h2")})
	if api.KindOf(err) != api.KindUnavailable {
		t.Fatalf("got %v; want unavailable", err)
	}
	if !f.ForgetHost("h1") || f.ForgetHost("h1") || f.Hosts() != 0 {
		t.Fatal("h1 was not forgotten once")
	}
	beat(t, f, meta.DialectV1, report("h2"))
}
