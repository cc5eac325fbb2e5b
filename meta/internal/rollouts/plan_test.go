package rollouts_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/fleet"
	"github.com/ops-updater/ops-updater/meta/internal/rollouts"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

// The plans' assumption, which the simulated hosts keep: each needs so long from its
// grant until it has shown that the version works.
const planTakes = 10 * time.Minute

// simulation is a server and hosts whose clock goes by steps, for as long as it takes: in
// each moment everybody talks until nothing changes any more.
type simulation struct {
	*server
	t     testing.TB
	hosts []*simulated
}

// simulated is a host that needs [planTakes] for a version.
type simulated struct {
	*host
	offered time.Time // when it was first told 2.0
	changed time.Time // when it ran it
}

// simulate makes a server that nothing but the test drives. Call it in a bubble of synctest.
func simulate(t testing.TB, hosts ...*host) *simulation {
	t.Helper()
	s, err := store.Open(t.Context(), store.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	srv := &server{store: s, fleet: fleet.New(fleet.Options{Journal: s, Log: zerolog.Nop(), FlushEvery: time.Hour, Interval: time.Minute, SweepEvery: time.Hour})}
	srv.engine = rollouts.New(rollouts.Options{
		Store: s, Fleet: srv.fleet, Log: zerolog.New(zerolog.NewTestWriter(t)), Grace: time.Minute, Reload: func(ctx context.Context, _ int64) error { return srv.reload(ctx) },
	})
	srv.engine.Attach()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	if err := srv.reload(ctx); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { _ = srv.fleet.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	sim := &simulation{server: srv, t: t}
	for _, h := range hosts {
		h.agents["falcon"] = &meta.RealAgent{Name: "falcon", Version: "1.0", Status: "started", RunUser: "root", WorkDir: "/opt", Phase: meta.PhaseIdle}
		h.bad["2.0"] = "hangs"
		sim.hosts = append(sim.hosts, &simulated{host: h})
	}
	srv.prepare(t, "falcon")
	for _, h := range hosts {
		h.beat(t, srv)
	}
	return sim
}

// talk has everybody talk until nothing changes.
func (s *simulation) talk() {
	s.t.Helper()
	if ends := s.fleet.Snapshot().ValidUntil(); !ends.IsZero() && !time.Now().Before(ends) { // a hold has ended
		if err := s.reload(s.t.Context()); err != nil {
			s.t.Fatal(err)
		}
	}
	for last := ""; ; {
		for _, h := range s.hosts {
			h.work(s.t, s.server)
		}
		if err := s.engine.Tick(s.t.Context()); err != nil {
			s.t.Fatal(err)
		}
		is := ""
		for _, r := range s.all(s.t) {
			if r.State == api.RolloutAwaitingApproval {
				s.act(s.t, r.ID, api.ActionApprove)
			}
			is += fmt.Sprintln(r.ID, r.State, r.Reason, r.Stage, r.Progress, r.SettledAt)
		}
		for _, h := range s.hosts {
			is += fmt.Sprintln(h.name, h.runs("falcon"), h.offered)
		}
		if is == last {
			return
		}
		last = is
	}
}

// work is one heartbeat of a host, which runs what it was told once its time is over.
func (h *simulated) work(t testing.TB, s *server) {
	if !h.offered.IsZero() && !time.Now().Before(h.offered.Add(planTakes)) {
		delete(h.bad, "2.0")
	}
	h.beat(t, s)
	if d := h.told["falcon"]; d.Version == "2.0" && h.offered.IsZero() && h.runs("falcon") != "2.0" && !h.held {
		h.offered = time.Now()
	}
	if h.changed.IsZero() && h.runs("falcon") == "2.0" {
		h.changed = time.Now()
	}
}

// goOn lets time pass until a moment or until done says so.
func (s *simulation) goOn(until time.Time, done func() bool) {
	for s.talk(); time.Now().Before(until) && !done(); s.talk() {
		time.Sleep(5 * time.Minute)
	}
}

func (s *simulation) plan(q api.PlanQuery) (api.SchedulePlan, map[string]api.PlanHost) {
	s.t.Helper()
	q.Schedule, q.Takes = "production", int(planTakes.Seconds())
	plans, err := s.engine.SchedulePlan(s.t.Context(), q)
	if err != nil || len(plans) != 1 {
		s.t.Fatalf("%d plans: %v", len(plans), err)
	}
	q.From = plans[0].From
	hosts, err := api.All(func(after string) (api.Page[api.PlanHost], error) {
		return s.engine.SchedulePlanHosts(s.t.Context(), q, api.Cursor{After: after, Limit: 7})
	})
	if err != nil {
		s.t.Fatal(err)
	}
	byName := map[string]api.PlanHost{}
	for _, h := range hosts {
		byName[h.Host] = h
	}
	return plans[0], byName
}

func (s *simulation) follow(st api.Strategy) {
	s.t.Helper()
	st.Name = "waves"
	s.write(s.t, func(tx *store.Tx) error {
		if _, err := tx.PutStrategy(s.t.Context(), st); err != nil {
			return err
		}
		_, err := tx.PutSchedule(s.t.Context(), api.Schedule{Name: "production", Channel: "stable", Strategy: "waves"})
		return err
	})
	s.point(s.t, "1.0")
	s.talk()
}

// checkPlan plans 2.0, publishes it in the channel, and holds what then happens against the plan.
func (s *simulation) checkPlan() api.SchedulePlan {
	s.t.Helper()
	serial := s.serial()
	p, hosts := s.plan(api.PlanQuery{Version: "2.0"})
	if s.serial() != serial || len(s.all(s.t)) != 0 {
		s.t.Fatal("the plan has written something")
	}
	if waits := p.Begins != nil && p.Begins.After(p.From); waits != (p.Begins != nil && len(p.Stages[0].Waits) > 0 && p.Stages[0].Waits[0].From.Equal(p.From)) {
		s.t.Errorf("from %s on it begins on %s, and the first wave waits %+v", p.From, p.Begins, p.Stages[0].Waits)
	}
	start := time.Now()
	s.point(s.t, "2.0")
	s.goOn(start.Add(20*24*time.Hour), func() bool {
		all := s.all(s.t)
		return len(all) > 0 && (all[0].State == api.RolloutCompleted || all[0].State == api.RolloutPaused || all[0].State == api.RolloutInconclusive)
	})
	s.checkRollout(p)
	for _, h := range hosts { // those whose hold ends later
		if h.By != nil && h.By.After(time.Now()) {
			s.goOn(*h.By, func() bool { return false })
		}
	}
	s.checkHosts(p, hosts)
	return p
}

func (s *simulation) serial() int64 {
	n, err := s.store.Serial(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

// checkRollout holds the waves against the rollout's history.
func (s *simulation) checkRollout(p api.SchedulePlan) {
	s.t.Helper()
	all := s.all(s.t)
	if (len(all) == 1) != (p.Begins != nil) {
		s.t.Fatalf("%d rollouts, and the plan says %+v", len(all), p)
	}
	if len(all) == 0 {
		return
	}
	r := all[0]
	if !r.CreatedAt.Equal(*p.Begins) {
		s.t.Errorf("it began on %s, planned was %s", r.CreatedAt, p.Begins)
	}
	if (r.State == api.RolloutCompleted) != (p.Ends != nil) || p.Ends != nil && !r.UpdatedAt.Equal(*p.Ends) || p.Ends == nil && r.Reason != p.Reason {
		s.t.Errorf("it is %s (%s) on %s, the plan says %v (%s: %s)", r.State, r.Reason, r.UpdatedAt, p.Ends, p.Reason, p.Message)
	}
	history, err := s.engine.Transitions(s.t.Context(), r.ID, api.Cursor{Limit: api.MaxPage})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, tr := range history.Items {
		if tr.Reason != "stage-started" {
			continue
		}
		if begins := p.Stages[tr.Stage].Begins; begins == nil || !begins.Equal(tr.Time) {
			s.t.Errorf("stage %d began on %s, planned was %v", tr.Stage, tr.Time, begins)
		}
	}
	for k, c := range r.Progress {
		if c.Granted != p.Stages[k].Hosts && !hasCounts(r.Strategy) {
			s.t.Errorf("stage %d granted %d, planned were %d", k, c.Granted, p.Stages[k].Hosts)
		}
	}
}

func hasCounts(st api.Strategy) bool {
	return slices.ContainsFunc(st.Stages, func(s api.Stage) bool { return s.Count > 0 })
}

// checkHosts holds when hosts had the version against when they were to.
func (s *simulation) checkHosts(p api.SchedulePlan, hosts map[string]api.PlanHost) {
	s.t.Helper()
	if len(hosts) != len(s.hosts) && p.Begins != nil {
		s.t.Errorf("%d hosts are planned of %d", len(hosts), len(s.hosts))
	}
	for _, h := range s.hosts {
		is := hosts[h.name]
		if (is.State == api.PlanHostChanges) != !h.offered.IsZero() {
			if is.State == api.PlanHostNotReached && is.From != nil { // a number took it, or another
				continue
			}
			s.t.Errorf("%s was let have it on %s, the plan says %+v", h.name, h.offered, is)
			continue
		}
		if h.offered.IsZero() {
			continue
		}
		from := is.From
		if is.Chance != nil {
			from = &is.Chance.From
		}
		if h.offered.Before(*from) || h.offered.After(*is.By) {
			s.t.Errorf("%s was let have it on %s, planned was %s to %s (%+v)", h.name, h.offered, from, is.By, is)
		}
	}
}

func TestWhatAPlanSaysIsWhatHappens(t *testing.T) {
	needsSimulation(t)
	night := &api.Window{From: "22:00", To: "04:00"}
	weekdays := &api.Window{Days: []string{"mon", "tue"}, From: "09:00", To: "10:00", Zone: "Europe/Berlin"}
	for _, c := range []struct {
		name string
		st   api.Strategy
		set  func(*simulation)
		ends string // the reason of a plan that does not come to its end
	}{
		{"all at once", api.Strategy{Stages: []api.Stage{{Percent: 100}}}, nil, ""},
		{"waves with windows and soak times", api.Strategy{Stages: []api.Stage{
			{Name: "lab", Percent: 100, Group: "lab", Soak: 3600}, {Percent: 40, Soak: 86400, Window: night}, {Percent: 100, Window: weekdays},
		}}, nil, ""},
		{"numbers first", api.Strategy{Stages: []api.Stage{{Count: 1, Soak: 600}, {Count: 4}, {Percent: 50, Window: night}, {Percent: 100}}}, nil, ""},
		{"a number that takes all of a group", api.Strategy{Stages: []api.Stage{{Count: 9, Group: "lab", Soak: 600}, {Percent: 100}}}, nil, ""},
		{"a rate, in windows that are too short for it", api.Strategy{Rate: &api.RateLimit{Hosts: 2, Period: 1800}, Stages: []api.Stage{{Percent: 30}, {Percent: 100, Window: weekdays}}}, nil, ""},
		{"few in flight", api.Strategy{MaxInFlight: 2, Window: night, Stages: []api.Stage{{Percent: 100}}}, nil, ""},
		{"approvals", api.Strategy{Stages: []api.Stage{{Percent: 20, Approval: true}, {Percent: 100, Approval: true, Window: night}}}, nil, ""},
		{"hosts that do not change", api.Strategy{Stages: []api.Stage{{Percent: 50, Soak: 600}, {Percent: 100}}}, func(s *simulation) {
			s.hosts[0].agents["falcon"].Version = "2.0"
			s.hosts[1].held = true
			s.write(s.t, func(tx *store.Tx) error {
				if _, err := tx.PutAssignment(s.t.Context(), api.Assignment{Agent: "falcon", Scope: api.Scope{Kind: api.ScopeHost, Name: "web003"}, Version: "3.0"}); err != nil {
					return err
				}
				for name, until := range map[string]time.Duration{"web004": 20 * time.Minute, "web005": 40 * time.Hour} {
					at := time.Now().Add(until)
					if _, err := tx.CreateHold(s.t.Context(), api.Hold{Scope: api.Scope{Kind: api.ScopeHost, Name: name}, Reason: "disk", Until: &at}); err != nil {
						return err
					}
				}
				_, err := tx.CreateHold(s.t.Context(), api.Hold{Scope: api.Scope{Kind: api.ScopeHost, Name: "web006"}, Reason: "disk"})
				return err
			})
		}, ""},
		{"a wave of nobody but held hosts", api.Strategy{Stages: []api.Stage{{Name: "lab", Group: "lab", Percent: 100}, {Percent: 100}}}, func(s *simulation) {
			s.write(s.t, func(tx *store.Tx) error {
				_, err := tx.CreateHold(s.t.Context(), api.Hold{Scope: api.Scope{Kind: api.ScopeGroup, Name: "lab"}, Reason: "moves"})
				return err
			})
		}, "no-evidence"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := simulate(t, append(newHosts(3, "lab"), newHosts(9, "web")...)...)
				s.follow(c.st)
				if c.set != nil {
					c.set(s)
					s.talk()
				}
				if p := s.checkPlan(); p.Reason != c.ends {
					t.Errorf("it ends for %q (%s), want %q", p.Reason, p.Message, c.ends)
				}
			})
		})
	}
}

// A rollout that is under way is planned from where it stands, with hosts in flight.
func TestWhatAPlanSaysOfARolloutUnderWayIsWhatHappens(t *testing.T) {
	needsSimulation(t)
	synctest.Test(t, func(t *testing.T) {
		s := simulate(t, append(newHosts(3, "lab"), newHosts(9, "web")...)...)
		s.follow(api.Strategy{Rate: &api.RateLimit{Hosts: 2, Period: 1800}, Stages: []api.Stage{
			{Name: "lab", Percent: 100, Group: "lab", Soak: 3600}, {Percent: 40}, {Percent: 100, Window: &api.Window{From: "22:00", To: "04:00"}},
		}})
		s.point(t, "2.0")
		s.goOn(time.Now().Add(20*24*time.Hour), func() bool {
			all := s.all(t)
			return len(all) > 0 && all[0].Stage == 1 && all[0].Progress[1].Granted > 0
		})
		p, hosts := s.plan(api.PlanQuery{})
		under := s.all(t)[0]
		if p.Rollout != under.ID || p.Ends == nil || len(hosts) != 12 || hosts["lab000"].State != api.PlanHostAlready {
			t.Fatalf("%+v\n%+v", p, hosts)
		}
		s.goOn(p.Ends.Add(time.Hour), func() bool { return s.all(t)[0].State == api.RolloutCompleted })
		if r := s.read(t, under.ID); !r.UpdatedAt.Equal(*p.Ends) {
			t.Errorf("it is %s since %s, planned was %s", r.State, r.UpdatedAt, p.Ends)
		}
		for _, h := range s.hosts {
			if is := hosts[h.name]; is.State == api.PlanHostChanges && (h.offered.Before(*is.From) || h.offered.After(*is.By)) {
				t.Errorf("%s was let have it on %s, planned was %+v", h.name, h.offered, is)
			}
		}
	})
}

func needsSimulation(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("SKIPPED with -short: days of simulated fleets")
	}
}

func TestWhatAPlanSaysOfAnyStrategyIsWhatHappens(t *testing.T) {
	needsSimulation(t)
	for seed := range uint64(anyStrategies) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				any := dice{rand.New(rand.NewPCG(seed, 1))}
				st := any.waves()
				t.Logf("strategy %+v", st)
				if err := st.Validate(); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Duration(any.IntN(500)) * 5 * time.Minute)
				s := simulate(t, append(newHosts(any.IntN(4), "lab"), newHosts(1+any.IntN(8), "web")...)...)
				s.follow(st)
				if any.oneIn(2) {
					s.hosts[any.IntN(len(s.hosts))].held = true
					s.talk()
				}
				s.checkPlan()
			})
		})
	}
}

// anyStrategies is how many strategies are made up; of the first eighty all were as planned.
const anyStrategies = 6

type dice struct{ *rand.Rand }

func (d dice) oneIn(n int) bool { return d.IntN(n) == 0 }

func (d dice) window() *api.Window {
	of := []*api.Window{{From: "10:00", To: "11:00"}, {From: "22:00", To: "02:00", Zone: "America/New_York"}, {Days: []string{"tue"}, From: "00:00", To: "12:00"}}
	if i := d.IntN(6); i < len(of) {
		return of[i]
	}
	return nil
}

func (d dice) waves() api.Strategy {
	s := api.Strategy{Name: "waves", Window: d.window()}
	if d.oneIn(3) {
		s.MaxInFlight = 1 + d.IntN(3)
	}
	if d.oneIn(3) {
		s.Rate = &api.RateLimit{Hosts: 1 + d.IntN(3), Period: 3600}
	}
	// Either numbers of the same hosts or percents: who a number takes leaves others for the
	// waves after it, which no plan can know.
	counted, group := d.oneIn(2), []string{"", "lab"}[d.IntN(2)]
	count, percent := 0, map[string]float64{}
	for range d.IntN(4) {
		st := api.Stage{Window: d.window(), Approval: d.oneIn(5), Soak: []int{0, 600, 43200}[d.IntN(3)]}
		if counted {
			count += 1 + d.IntN(3)
			st.Group, st.Count = group, count
		} else {
			st.Group = []string{"", "lab"}[d.IntN(2)]
			percent[st.Group] += 1 + d.Float64()*32
			st.Percent = percent[st.Group]
		}
		s.Stages = append(s.Stages, st)
	}
	s.Stages = append(s.Stages, api.Stage{Percent: 100, Window: d.window()})
	return s
}

// What is asked wrongly is refused by the name of what is wrong.
func TestWhatAPlanIsAskedFor(t *testing.T) {
	onBoth(t, func(t *testing.T, c store.Config) {
		s := serve(t, c)
		s.prepare(t, "falcon", "probe")
		hosts := newHosts(2, "lab")
		beatAll(t, s, hosts)
		s.schedule(t)
		s.point(t, "1.0")
		s.write(t, func(tx *store.Tx) error {
			_, err := tx.PutChannel(t.Context(), api.Channel{Agent: "probe", Name: "stable", Version: "1.0"})
			return err
		})
		for _, q := range []struct {
			api.PlanQuery
			field string // that is wrong; empty: nothing
		}{
			{api.PlanQuery{}, ""},
			{api.PlanQuery{Agent: "falcon", Version: "2.0"}, ""},
			{api.PlanQuery{Agent: "falcon", From: time.Now().Add(-time.Minute)}, ""},
			{api.PlanQuery{Version: "2.0"}, "agent"},
			{api.PlanQuery{Agent: "nobody"}, "agent"},
			{api.PlanQuery{Agent: "falcon", Version: "9.0"}, "version"},
			{api.PlanQuery{From: time.Now().Add(-2 * time.Hour)}, "from"},
			{api.PlanQuery{From: time.Now().Add(2 * api.PlanHorizon)}, "from"},
		} {
			q.Schedule = "production"
			plans, err := s.engine.SchedulePlan(t.Context(), q.PlanQuery)
			var e *api.Error
			if errors.As(err, &e); q.field == "" && (err != nil || len(plans) == 0) || q.field != "" && (e == nil || e.Field != q.field) {
				t.Errorf("%+v: %d plans, %v", q, len(plans), err)
			}
		}
		if _, err := s.engine.SchedulePlanHosts(t.Context(), api.PlanQuery{Schedule: "production"}, api.Cursor{}); err == nil {
			t.Error("hosts of two agents' plans are listed together")
		}
		page, err := s.engine.SchedulePlanHosts(t.Context(), api.PlanQuery{Schedule: "production", Agent: "falcon", Version: "2.0"}, api.Cursor{Limit: 1})
		if err != nil || len(page.Items) != 1 || page.Next != "lab000" || page.Total != 2 || page.Items[0].Stage != "lab" {
			t.Errorf("%+v, %v", page, err)
		}
	})
}
