package rollouts_test

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/pgtest"
	"github.com/ops-updater/ops-updater/meta/internal/rollout"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

func beatAll(t *testing.T, s *server, hosts []*host) {
	t.Helper()
	for range 2 { // the second reports what the first one did
		for _, h := range hosts {
			h.beat(t, s)
		}
	}
}

func TestAGoodReleaseReachesEveryHost(t *testing.T) {
	onBoth(t, func(t *testing.T, c store.Config) {
		s := serve(t, c)
		s.prepare(t, "falcon")
		hosts := newHosts(20, "web")
		hosts[3].legacy = true
		beatAll(t, s, hosts)
		r := s.rollout(t, api.NewRollout{Agent: "falcon", Version: "2.0", Inline: &api.Strategy{Name: "default", Stages: []api.Stage{{Count: 1}, {Percent: 25}, {Percent: 100}}}})
		if r.State != api.RolloutRunning || r.Previous != "1.0" || r.Strategy.Name != "default" {
			t.Fatalf("the rollout is %+v", r)
		}
		r = s.await(t, r.ID, api.RolloutCompleted, hosts...)
		for _, h := range hosts {
			eventually(t, h.name+" to run 2.0 by the assignment", func() bool {
				h.beat(t, s)
				return h.runs("falcon") == "2.0" && h.told["falcon"].Rollout == ""
			}, func() string { return h.runs("falcon") + " by " + h.told["falcon"].Rollout })
		}
		if p := r.Progress; p[0].Succeeded != 1 || p[0].Succeeded+p[1].Succeeded+p[2].Succeeded != 20 {
			t.Errorf("progress is %+v", p)
		}
		a, err := s.store.Assignment(t.Context(), "falcon", everyone)
		if err != nil || a.Version != "2.0" {
			t.Errorf("the assignment is %+v (%v), want 2.0", a, err)
		}
		checkTransitions(t, s, r.ID)
	})
}

// checkTransitions looks at the record: who, when, why, and one notice owed
// for each.
func checkTransitions(t *testing.T, s *server, id string) {
	t.Helper()
	page, err := s.engine.Transitions(t.Context(), id, api.Cursor{})
	if err != nil {
		t.Fatal(err)
	}
	from := api.RolloutDraft
	for _, tr := range page.Items {
		if tr.From != from || tr.To == "" || tr.Reason == "" || tr.Message == "" || tr.Actor == "" || tr.Time.IsZero() {
			t.Errorf("transition %+v, after %q", tr, from)
		}
		from = tr.To
	}
	if len(page.Items) < 2 {
		t.Fatalf("only %d transitions are recorded", len(page.Items))
	}
	notes, err := s.store.ClaimNotifications(t.Context(), time.Now().Add(time.Hour), time.Second, 1000)
	if err != nil || len(notes) < len(page.Items) {
		t.Errorf("%d notices for %d transitions (%v)", len(notes), len(page.Items), err)
	}
}

func TestAFailedCanaryClosesTheGate(t *testing.T) {
	for phase, reason := range map[string]rollout.Reason{"rolledBack": rollout.ReasonHostUndone, "failed": rollout.ReasonHostFailed} {
		t.Run(phase, func(t *testing.T) {
			onBoth(t, func(t *testing.T, c store.Config) {
				s := serve(t, c)
				s.prepare(t, "falcon")
				hosts := newHosts(20, "web")
				for _, h := range hosts {
					h.bad["2.0"] = phase
				}
				beatAll(t, s, hosts)
				r := s.rollout(t, api.NewRollout{Agent: "falcon", Version: "2.0"})
				r = s.await(t, r.ID, api.RolloutPaused, hosts...)
				beatAll(t, s, hosts)
				if r.Reason != string(rollout.ReasonTooManyFailures) {
					t.Errorf("paused for %s", r.Reason)
				}
				grants, err := s.engine.Grants(t.Context(), api.GrantFilter{Rollout: r.ID}, api.Cursor{})
				if err != nil || len(grants.Items) != 1 || grants.Items[0].Reason != string(reason) {
					t.Errorf("grants are %+v (%v), want the canary's, failed for %s", grants.Items, err, reason)
				}
				for _, h := range hosts {
					if h.runs("falcon") != "1.0" {
						t.Errorf("%s runs %s", h.name, h.runs("falcon"))
					}
				}
			})
		})
	}
}

func TestOperators(t *testing.T) {
	all := &api.Strategy{Stages: []api.Stage{{Percent: 30}, {Percent: 100, Approval: true}}}
	onBoth(t, func(t *testing.T, c store.Config) {
		t.Run("approve", func(t *testing.T) {
			s := serve(t, c)
			s.prepare(t, "falcon")
			hosts := newHosts(20, "web")
			beatAll(t, s, hosts)
			r := s.rollout(t, api.NewRollout{Agent: "falcon", Version: "2.0", Inline: all, Draft: true, Reason: "for the winter"})
			beatAll(t, s, hosts)
			if got := touched(hosts, "2.0"); len(got) > 0 {
				t.Fatalf("a draft reached %v", got)
			}
			s.act(t, r.ID, api.ActionApprove)
			s.await(t, r.ID, api.RolloutAwaitingApproval, hosts...)
			if n := len(touched(hosts, "2.0")); n == 0 || n == 20 {
				t.Errorf("the first stage reached %d hosts", n)
			}
			s.act(t, r.ID, api.ActionApprove)
			s.await(t, r.ID, api.RolloutCompleted, hosts...)
			checkTransitions(t, s, r.ID)
		})
	})
}

func TestAbortLeavesGrantedHostsWhereTheyAreAndRollbackReturnsThem(t *testing.T) {
	onBoth(t, func(t *testing.T, c store.Config) {
		s := serve(t, c)
		s.prepare(t, "falcon")
		hosts := newHosts(20, "web")
		beatAll(t, s, hosts)
		r := s.rollout(t, api.NewRollout{Agent: "falcon", Version: "2.0", Inline: &api.Strategy{Stages: []api.Stage{{Percent: 50, Soak: 3600}, {Percent: 100}}}})
		beatAll(t, s, hosts)
		reached := touched(hosts, "2.0")
		if len(reached) == 0 || len(reached) == 20 {
			t.Fatalf("half of 20 hosts are %d", len(reached))
		}
		s.act(t, r.ID, api.ActionPause)
		s.act(t, r.ID, api.ActionAbort)
		beatAll(t, s, hosts)
		for _, h := range hosts {
			want := "1.0"
			if slices.Contains(reached, h.name) {
				want = "2.0"
			}
			if h.runs("falcon") != want {
				t.Errorf("after the abort %s runs %s, want %s", h.name, h.runs("falcon"), want)
			}
		}
		back := s.act(t, r.ID, api.ActionRollback)
		if back.RollbackOf != r.ID || back.Version != "1.0" {
			t.Fatalf("the rollout back is %+v", back)
		}
		s.await(t, back.ID, api.RolloutCompleted, hosts...)
		beatAll(t, s, hosts)
		for _, h := range hosts {
			if h.runs("falcon") != "1.0" {
				t.Errorf("after the rollback %s runs %s", h.name, h.runs("falcon"))
			}
		}
		if got := s.read(t, r.ID); got.State != api.RolloutAborted || got.Reason != string(rollout.ReasonRolledBack) || !got.Withdrawn {
			t.Errorf("the rollout that was taken back is %s (%s), withdrawn %v", got.State, got.Reason, got.Withdrawn)
		}
		if n := len(touched(hosts, "2.0")); n != len(reached) {
			t.Errorf("%d hosts were ever on 2.0, want the %d of the first stage", n, len(reached))
		}
	})
}

func TestRollbackByItself(t *testing.T) {
	s := serve(t, store.Config{Dir: t.TempDir()})
	s.prepare(t, "falcon")
	hosts := newHosts(10, "web")
	hosts[4].bad["2.0"] = "rolledBack"
	beatAll(t, s, hosts)
	strategy := &api.Strategy{Stages: []api.Stage{{Percent: 100}}, OnFailure: api.OnFailureRollback}
	r := s.rollout(t, api.NewRollout{Agent: "falcon", Version: "2.0", Inline: strategy})
	r = s.await(t, r.ID, api.RolloutAborted, hosts...)
	beatAll(t, s, hosts)
	for _, h := range hosts {
		if h.runs("falcon") != "1.0" {
			t.Errorf("%s runs %s", h.name, h.runs("falcon"))
		}
	}
	if r.Reason != string(rollout.ReasonRolledBack) {
		t.Errorf("it ended for %s", r.Reason)
	}
}

func TestANewRolloutSupersedes(t *testing.T) {
	s := serve(t, store.Config{Dir: t.TempDir()})
	s.prepare(t, "falcon")
	hosts := newHosts(8, "web")
	beatAll(t, s, hosts)
	for _, h := range hosts {
		h.bad["2.0"] = "hangs"
	}
	first := s.rollout(t, api.NewRollout{Agent: "falcon", Version: "2.0"})
	beatAll(t, s, hosts)
	if _, err := s.engine.CreateRollout(t.Context(), operator, api.NewRollout{Agent: "falcon", Version: "2.0", Scope: everyone}); api.KindOf(err) != api.KindConflict {
		t.Errorf("the same once more: %v, want a conflict", err)
	}
	second := s.rollout(t, api.NewRollout{Agent: "falcon", Version: "3.0", Inline: &api.Strategy{Stages: []api.Stage{{Count: 1}, {Percent: 100}}}})
	if second.Supersedes != first.ID {
		t.Errorf("it supersedes %q, want %s", second.Supersedes, first.ID)
	}
	s.await(t, second.ID, api.RolloutCompleted, hosts...)
	if got := s.read(t, first.ID); got.State != api.RolloutAborted || got.Reason != string(rollout.ReasonSuperseded) {
		t.Errorf("the first one is %s (%s)", got.State, got.Reason)
	}
}

func TestAnAssignmentAtOnceTakesRolloutsOutOfForce(t *testing.T) {
	s := serve(t, store.Config{Dir: t.TempDir()})
	s.prepare(t, "falcon")
	hosts := newHosts(8, "web")
	beatAll(t, s, hosts)
	r := s.rollout(t, api.NewRollout{Agent: "falcon", Version: "2.0"})
	beatAll(t, s, hosts)
	_, err := s.store.Write(t.Context(), operator, func(tx *store.Tx) error {
		if _, err := tx.PutAssignment(t.Context(), api.Assignment{Agent: "falcon", Scope: everyone, Version: "3.0"}); err != nil {
			return err
		}
		return s.engine.WithdrawFor(t.Context(), tx, "falcon", everyone)
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := s.read(t, r.ID); got.State != api.RolloutAborted || got.Reason != string(rollout.ReasonAssigned) || !got.Withdrawn {
		t.Errorf("it is %s (%s), withdrawn %v", got.State, got.Reason, got.Withdrawn)
	}
	if err := s.reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	beatAll(t, s, hosts)
	for _, h := range hosts {
		if h.runs("falcon") != "3.0" {
			t.Errorf("%s runs %s", h.name, h.runs("falcon"))
		}
	}
}

func TestSilenceIsFailure(t *testing.T) {
	s := serve(t, store.Config{Dir: t.TempDir()})
	s.prepare(t, "falcon")
	hosts := newHosts(8, "web")
	beatAll(t, s, hosts)
	for _, h := range hosts {
		h.bad["2.0"] = "hangs"
	}
	strategy := &api.Strategy{Stages: []api.Stage{{Count: 1}, {Percent: 100}}, Deadline: 1}
	r := s.rollout(t, api.NewRollout{Agent: "falcon", Version: "2.0", Inline: strategy})
	r = s.await(t, r.ID, api.RolloutPaused, hosts...)
	grants, err := s.engine.Grants(t.Context(), api.GrantFilter{Rollout: r.ID}, api.Cursor{})
	if err != nil || len(grants.Items) != 1 || grants.Items[0].Reason != string(rollout.ReasonDeadline) {
		t.Errorf("grants are %+v (%v)", grants.Items, err)
	}
}

// A host that was told something else before it could show anything says nothing
// of the release, also when the deadline passes; one that is silent since does.
func TestWhatTookItsPlaceMakesNoReleaseBad(t *testing.T) {
	hasty := &api.Strategy{Stages: []api.Stage{{Count: 1}, {Percent: 100}}, Deadline: 1}
	assign := func(t *testing.T, s *server) {
		_, err := s.store.Write(t.Context(), operator, func(tx *store.Tx) error { return s.engine.WithdrawFor(t.Context(), tx, "falcon", everyone) })
		if err == nil {
			err = s.reload(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		instead func(*testing.T, *server)
		silent  bool
		bad     bool
	}{
		"an assignment":                         {assign, false, false},
		"an assignment, and the host is silent": {assign, true, true},
		"another rollout": {func(t *testing.T, s *server) {
			s.rollout(t, api.NewRollout{Agent: "falcon", Version: "3.0", Inline: &api.Strategy{Stages: []api.Stage{{Count: 1}, {Percent: 100, Approval: true}}}})
		}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, store.Config{Dir: t.TempDir()})
			s.prepare(t, "falcon")
			host := newHosts(1, "web")[0]
			host.beat(t, s)
			host.bad["2.0"] = "hangs"
			r := s.rollout(t, api.NewRollout{Agent: "falcon", Version: "2.0", Inline: hasty})
			host.beat(t, s)
			c.instead(t, s)
			open := func() []api.Grant {
				grants, err := s.engine.Grants(t.Context(), api.GrantFilter{Rollout: r.ID}, api.Cursor{})
				if err != nil {
					t.Fatal(err)
				}
				return slices.DeleteFunc(grants.Items, func(g api.Grant) bool { return g.Outcome != "" })
			}
			if len(open()) != 1 {
				t.Fatalf("open grants are %+v, want one", open())
			}
			eventually(t, "the grant to be settled", func() bool {
				if !c.silent {
					host.beat(t, s)
				}
				return len(open()) == 0
			}, func() string { return fmt.Sprint(open()) })
			got := s.read(t, r.ID)
			if _, bad := rollout.TakenBack([]api.Rollout{got}); bad != c.bad {
				t.Errorf("bad: %v, want %v: %+v", bad, c.bad, got.Progress)
			}
		})
	}
}

func TestHoldsLateJoinersAndGroups(t *testing.T) {
	s := serve(t, store.Config{Dir: t.TempDir()})
	s.prepare(t, "falcon")
	web, lab := newHosts(6, "web"), newHosts(6, "lab")
	hosts := slices.Concat(web, lab)
	web[0].held = true
	_, err := s.store.Write(t.Context(), operator, func(tx *store.Tx) error {
		_, err := tx.CreateHold(t.Context(), api.Hold{Scope: api.Scope{Kind: api.ScopeHost, Name: "web001"}, Reason: "being looked at"})
		return err
	})
	if err == nil {
		err = s.reload(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	beatAll(t, s, hosts)
	strategy := &api.Strategy{Stages: []api.Stage{{Count: 2, Group: "lab"}, {Percent: 100, Group: "lab", Approval: true}, {Percent: 100}}}
	r := s.rollout(t, api.NewRollout{Agent: "falcon", Version: "2.0", Inline: strategy})
	s.await(t, r.ID, api.RolloutAwaitingApproval, hosts...)
	if got := touched(hosts, "2.0"); len(got) != 2 || got[0][:3] != "lab" || got[1][:3] != "lab" {
		t.Fatalf("the first stage reached %v, want two of the lab", got)
	}
	late := newHosts(9, "lab")[6:]
	hosts = append(hosts, late...)
	s.act(t, r.ID, api.ActionApprove)
	s.await(t, r.ID, api.RolloutCompleted, hosts...)
	beatAll(t, s, hosts)
	for _, h := range hosts {
		want := "2.0"
		if h.name == "web000" {
			want = "" // held since before it ran anything
		}
		if h.name == "web001" {
			want = "" // likewise, by the server
		}
		if h.runs("falcon") != want {
			t.Errorf("%s runs %q, want %q", h.name, h.runs("falcon"), want)
		}
	}
}

// A fleet that does not know of the rollout yet has no hosts for it, which
// must not be taken for a scope without hosts.
func TestATickBeforeTheFleetKnowsTheRollout(t *testing.T) {
	s := serve(t, store.Config{Dir: t.TempDir()})
	s.prepare(t, "falcon")
	beatAll(t, s, newHosts(5, "web"))
	s.beforeUse = func() {
		for range 5 {
			// A watcher may come here once more while the test ends.
			if err := s.engine.Tick(t.Context()); err != nil && t.Context().Err() == nil {
				t.Error(err)
			}
		}
	}
	r := s.rollout(t, api.NewRollout{Agent: "falcon", Version: "2.0"})
	if got := s.read(t, r.ID); got.State != api.RolloutRunning || got.Stage != 0 {
		t.Errorf("it is %s (%s) in stage %d, want the first stage to wait for its canary", got.State, got.Reason, got.Stage)
	}
}

func TestOneRolloutAtATimePerHost(t *testing.T) {
	onBoth(t, func(t *testing.T, c store.Config) {
		s := serve(t, c)
		s.prepare(t, "falcon", "probe")
		hosts := newHosts(5, "web")
		beatAll(t, s, hosts)
		for _, h := range hosts {
			h.bad["2.0"] = "hangs"
		}
		all := &api.Strategy{Stages: []api.Stage{{Percent: 100}}}
		first := s.rollout(t, api.NewRollout{Agent: "falcon", Version: "2.0", Inline: all})
		second := s.rollout(t, api.NewRollout{Agent: "probe", Version: "3.0", Inline: all})
		beatAll(t, s, hosts)
		if a, b := s.read(t, first.ID).Progress[0].Granted, s.read(t, second.ID).Progress[0].Granted; a+b != 5 {
			t.Fatalf("%d and %d grants on 5 hosts, want one each", a, b)
		}
		for _, h := range hosts {
			delete(h.bad, "2.0")
		}
		s.await(t, first.ID, api.RolloutCompleted, hosts...)
		s.await(t, second.ID, api.RolloutCompleted, hosts...)
	})
}

func TestARestartInTheMiddleOfAStage(t *testing.T) {
	onBoth(t, func(t *testing.T, c store.Config) {
		s := serve(t, c)
		s.prepare(t, "falcon")
		hosts := newHosts(12, "web")
		beatAll(t, s, hosts)
		for _, h := range hosts {
			h.bad["2.0"] = "hangs"
		}
		strategy := &api.Strategy{Stages: []api.Stage{{Percent: 100}}, MaxInFlight: 4, Deadline: 8}
		r := s.rollout(t, api.NewRollout{Agent: "falcon", Version: "2.0", Inline: strategy})
		beatAll(t, s, hosts)
		s.stop()
		time.Sleep(8100 * time.Millisecond) // every deadline passes meanwhile
		s = serve(t, c)
		for _, h := range hosts {
			delete(h.bad, "2.0")
		}
		s.await(t, r.ID, api.RolloutCompleted, hosts...)
		page, err := s.engine.Transitions(t.Context(), r.ID, api.Cursor{})
		if err != nil || !slices.ContainsFunc(page.Items, func(tr api.Transition) bool { return tr.Reason == string(rollout.ReasonExtended) }) {
			t.Errorf("no transition tells that deadlines moved: %+v (%v)", page.Items, err)
		}
	})
}

// TestExactGrants has many heartbeats ask several servers at once: as many
// are granted as the limit says, never one more or less.
func TestExactGrants(t *testing.T) {
	rounds := 5
	if n, err := strconv.Atoi(os.Getenv("OPS_META_TEST_GRANT_ROUNDS")); err == nil {
		rounds = n
	}
	onBoth(t, func(t *testing.T, c store.Config) {
		servers := []*server{serve(t, c)}
		if c.DSN != "" { // SQLite has one server
			servers = append(servers, serve(t, c), serve(t, c))
		}
		servers[0].prepare(t, "falcon")
		strategy := &api.Strategy{Stages: []api.Stage{{Count: 10}, {Percent: 100, Approval: true}}}
		for round := range rounds {
			hosts := newHosts(64*len(servers), "r"+strconv.Itoa(round)+"-")
			for _, h := range hosts {
				h.bad["2.0"], h.bad["3.0"] = "hangs", "hangs"
			}
			version := []string{"2.0", "3.0"}[round%2]
			for i, h := range hosts {
				h.beat(t, servers[i%len(servers)])
				h.beat(t, servers[i%len(servers)])
			}
			r := servers[0].rollout(t, api.NewRollout{Agent: "falcon", Version: version, Scope: everyone, Inline: strategy})
			for _, s := range servers {
				if err := s.reload(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			// A heartbeat waits a second for its grant, the next one has it.
			eventually(t, "ten hosts are told", func() bool {
				var wg sync.WaitGroup
				for i, h := range hosts {
					wg.Go(func() { h.beat(t, servers[i%len(servers)]) })
				}
				wg.Wait()
				return told(hosts, version) >= 10
			}, func() string { return strconv.Itoa(told(hosts, version)) + " are told" })
			checkExact(t, servers[0], r.ID, hosts, version)
		}
	})
}

func checkExact(t *testing.T, s *server, id string, hosts []*host, version string) {
	t.Helper()
	grants, err := s.store.Grants(t.Context(), api.GrantFilter{Rollout: id}, api.Cursor{Limit: 1000})
	granted, told := len(grants.Items), told(hosts, version)
	if p := s.read(t, id).Progress[0]; err != nil || granted != 10 || told != 10 || p.Granted != 10 {
		t.Fatalf("%d grants, %d hosts told, %d counted; want 10 (%v)", granted, told, p.Granted, err)
	}
}

// told counts the hosts that were told to run a version.
func told(hosts []*host, version string) int {
	n := 0
	for _, h := range hosts {
		if h.told["falcon"].Version == version {
			n++
		}
	}
	return n
}

func TestHealthMustLastThroughTheSoak(t *testing.T) {
	onBoth(t, func(t *testing.T, c store.Config) {
		s := serve(t, c)
		s.prepare(t, "falcon")
		hosts := newHosts(6, "web")
		beatAll(t, s, hosts)
		strategy := &api.Strategy{Stages: []api.Stage{{Count: 2, Soak: 3600}, {Percent: 100}}}
		r := s.rollout(t, api.NewRollout{Agent: "falcon", Version: "2.0", Inline: strategy})
		eventually(t, "the stage to soak", func() bool {
			beatAll(t, s, hosts)
			return s.read(t, r.ID).SettledAt != nil
		}, func() string { return s.read(t, r.ID).Reason })
		canary := touched(hosts, "2.0")[0]
		for _, h := range hosts {
			if h.name == canary {
				h.agents["falcon"].Status = "stoped"
			}
		}
		r = s.await(t, r.ID, api.RolloutPaused, hosts...)
		g, err := s.store.Grant(t.Context(), r.ID, canary)
		if err != nil || g.Outcome != api.OutcomeFailed || g.Reason != string(rollout.ReasonUnhealthy) {
			t.Errorf("the grant of %s is %+v (%v)", canary, g, err)
		}
		if p := r.Progress[0]; p.Succeeded != 1 || p.Failed != 1 {
			t.Errorf("progress is %+v, want one success taken back", p)
		}
	})
}

// A host that asks another server a moment after its grant is still on its
// way to the target, whatever that server has heard of.
func TestAGrantHoldsOnEveryServer(t *testing.T) {
	c := store.Config{DSN: pgtest.NewSchema(t)}
	a, b := serve(t, c), serve(t, c)
	a.prepare(t, "falcon")
	hosts := newHosts(4, "web")
	beatAll(t, a, hosts)
	r := a.rollout(t, api.NewRollout{Agent: "falcon", Version: "2.0", Inline: &api.Strategy{Stages: []api.Stage{{Count: 2}, {Percent: 100, Approval: true}}}})
	if err := b.reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, h := range hosts {
		h.bad["2.0"] = "hangs"
		h.beat(t, a)
		at := h.told["falcon"].Version
		h.beat(t, b)
		if got := h.told["falcon"].Version; got != at {
			t.Errorf("%s was told %s by one server and %s by the other", h.name, at, got)
		}
	}
	a.act(t, r.ID, api.ActionAbort)
	if err := b.reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	granted := 0
	for _, h := range hosts {
		h.beat(t, b)
		if h.told["falcon"].Version == "2.0" {
			granted++
		}
	}
	if granted != 2 {
		t.Errorf("after the abort %d hosts are told 2.0, want the two that were granted it", granted)
	}
}
