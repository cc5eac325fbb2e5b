package rollouts_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

// write is an operator's write that must succeed.
func (s *server) write(t testing.TB, do func(*store.Tx) error) {
	t.Helper()
	if _, err := s.store.Write(t.Context(), operator, do); err != nil {
		t.Fatal(err)
	}
	if err := s.reload(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// schedule makes one of two waves, the lab's hosts and then all.
func (s *server) schedule(t testing.TB) {
	t.Helper()
	s.write(t, func(tx *store.Tx) error {
		waves := api.Strategy{Name: "waves", Stages: []api.Stage{{Name: "lab", Percent: 100, Group: "lab"}, {Name: "all", Percent: 100}}}
		if _, err := tx.PutStrategy(t.Context(), waves); err != nil {
			return err
		}
		_, err := tx.PutSchedule(t.Context(), api.Schedule{Name: "production", Channel: "stable", Strategy: "waves"})
		return err
	})
}

func (s *server) point(t testing.TB, version string) {
	t.Helper()
	s.write(t, func(tx *store.Tx) error {
		_, err := tx.PutChannel(t.Context(), api.Channel{Agent: "falcon", Name: "stable", Version: version})
		return err
	})
}

// awaitState waits until the schedule says so of the agent, while hosts heartbeat.
func (s *server) awaitState(t testing.TB, reason string, hosts ...*host) (st api.ScheduleState) {
	t.Helper()
	eventually(t, "the schedule to be "+reason, func() bool {
		for _, h := range hosts {
			h.beat(t, s)
		}
		states, err := s.engine.ScheduleStates(t.Context(), "production")
		if err != nil || len(states) != 1 {
			t.Fatalf("%d states (%v)", len(states), err)
		}
		st = states[0]
		return st.Reason == reason
	}, func() string { return fmt.Sprintf("%+v", st) })
	return st
}

func (s *server) all(t testing.TB) []api.Rollout {
	t.Helper()
	page, err := s.engine.Rollouts(t.Context(), api.RolloutFilter{}, api.Cursor{})
	if err != nil {
		t.Fatal(err)
	}
	return page.Items
}

func TestAReleaseOfTheChannelGoesOutWaveByWave(t *testing.T) {
	onBoth(t, func(t *testing.T, c store.Config) {
		s := serve(t, c)
		s.prepare(t, "falcon")
		hosts := append(newHosts(3, "lab"), newHosts(5, "web")...)
		beatAll(t, s, hosts)
		s.schedule(t)
		s.point(t, "1.0") // what runs already: there is nothing to begin
		if st := s.awaitState(t, "up-to-date", hosts...); len(s.all(t)) != 0 || st.Version != "1.0" {
			t.Fatalf("%+v, rollouts %+v", st, s.all(t))
		}
		s.point(t, "2.0")
		st := s.awaitState(t, "under-way")
		for len(touched(hosts, "2.0")) < 3 { // nobody of the second wave before the first is whole
			for _, h := range hosts {
				h.beat(t, s)
			}
			for _, h := range hosts[3:] {
				if n := len(touched(hosts[:3], "2.0")); n < 3 && h.runs("falcon") == "2.0" {
					t.Fatalf("%s has 2.0 when %d of the first wave have", h.name, n)
				}
			}
		}
		r := s.await(t, st.Rollout, api.RolloutCompleted, hosts...)
		if r.Schedule != "production" || r.Strategy.Name != "waves" || r.CreatedBy != "ops-meta" {
			t.Errorf("the rollout is %+v", r)
		}
		s.awaitState(t, "up-to-date", hosts...)
		if got := s.all(t); len(got) != 1 {
			t.Errorf("%d rollouts: %+v", len(got), got)
		}
	})
}

// A bad release stops, and is not begun again until the channel moves on.
func TestABadReleaseIsNotBegunAgain(t *testing.T) {
	onBoth(t, func(t *testing.T, c store.Config) {
		s := serve(t, c)
		s.prepare(t, "falcon")
		hosts := append(newHosts(2, "lab"), newHosts(3, "web")...)
		for _, h := range hosts {
			h.bad["2.0"] = "rolledBack"
		}
		beatAll(t, s, hosts)
		s.schedule(t)
		s.point(t, "2.0")
		st := s.awaitState(t, "halted", hosts...)
		if r := s.read(t, st.Rollout); r.State != api.RolloutPaused || r.Version != "2.0" {
			t.Fatalf("the rollout is %+v", r)
		}
		s.act(t, st.Rollout, api.ActionAbort)
		if st = s.awaitState(t, "taken-back", hosts...); st.Rollout != s.all(t)[0].ID {
			t.Errorf("%+v", st)
		}
		// Saying something else makes it look again.
		s.write(t, func(tx *store.Tx) error {
			_, err := tx.PutAgent(t.Context(), api.Agent{Name: "falcon", Description: "x"})
			return err
		})
		for range 5 {
			if err := s.engine.Tick(t.Context()); err != nil {
				t.Fatal(err)
			}
			beatAll(t, s, hosts)
		}
		if got := s.all(t); len(got) != 1 {
			t.Fatalf("it was begun again: %+v", got)
		}
		s.point(t, "3.0")
		s.awaitState(t, "up-to-date", hosts...)
		if got := s.all(t); len(got) != 2 || got[0].Version != "3.0" || got[0].State != api.RolloutCompleted {
			t.Errorf("rollouts: %+v", got)
		}
		if who := touched(hosts, "2.0"); len(who) != 0 {
			t.Errorf("2.0 ran on %v", who)
		}
	})
}

// What protects rollouts protects schedules: paused, out of the window, and a standstill begin
// nothing.
func TestNothingBeginsThatIsHeldUp(t *testing.T) {
	onBoth(t, func(t *testing.T, c store.Config) {
		s := serve(t, c)
		s.prepare(t, "falcon")
		hosts := newHosts(2, "lab")
		beatAll(t, s, hosts)
		s.schedule(t)
		pause := func(on bool) {
			s.write(t, func(tx *store.Tx) error {
				_, err := tx.PutSchedule(t.Context(), api.Schedule{Name: "production", Channel: "stable", Strategy: "waves", Paused: on})
				return err
			})
		}
		closed := func(w *api.Window) {
			s.write(t, func(tx *store.Tx) error {
				_, err := tx.PutStrategy(t.Context(), api.Strategy{Name: "waves", Window: w, Stages: []api.Stage{{Percent: 100}}})
				return err
			})
		}
		pause(true)
		s.point(t, "2.0")
		s.awaitState(t, "paused", hosts...)
		later := time.Now().UTC().Add(2 * time.Hour)
		closed(&api.Window{From: later.Format("15:04"), To: later.Add(time.Hour).Format("15:04")})
		pause(false)
		st := s.awaitState(t, "outside-window", hosts...)
		if st.Until == nil || st.Until.Sub(later).Abs() > time.Minute {
			t.Errorf("it waits until %v, want %v", st.Until, later)
		}
		if err := s.engine.Tick(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := s.all(t); len(got) != 0 {
			t.Fatalf("it was begun: %+v", got)
		}
		closed(nil)
		s.awaitState(t, "up-to-date", hosts...)
	})
}

// Of servers that look at the same moment one begins the rollout.
func TestSeveralServersBeginOneRollout(t *testing.T) {
	onBoth(t, func(t *testing.T, c store.Config) {
		if c.DSN == "" {
			t.Skip("one server has an SQLite database")
		}
		a, b := serve(t, c), serve(t, c)
		a.prepare(t, "falcon")
		a.schedule(t)
		a.point(t, "2.0")
		if err := b.reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for _, s := range []*server{a, b, a, b} {
			wg.Go(func() {
				if err := s.engine.Tick(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if got := a.all(t); len(got) != 1 {
			t.Errorf("%d rollouts: %+v", len(got), got)
		}
	})
}

// A restored database waits to begin what went out long ago: hosts are on a later release
// since. Nothing begins while the fleet stands still, nor that one after it; only what
// somebody moves the channel to meanwhile, or later.
func TestWhatWaitedBeforeTheDatabaseWentBackDoesNotBegin(t *testing.T) {
	for name, moved := range map[string]bool{"the channel is as it was": false, "the channel was moved since": true} {
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, c store.Config) {
				s := serve(t, c)
				s.prepare(t, "falcon")
				hosts := newHosts(2, "lab")
				beatAll(t, s, hosts)
				s.schedule(t)
				pause := func(on bool) {
					s.write(t, func(tx *store.Tx) error {
						_, err := tx.PutSchedule(t.Context(), api.Schedule{Name: "production", Channel: "stable", Strategy: "waves", Paused: on})
						return err
					})
				}
				pause(true)
				if !moved {
					s.point(t, "2.0")
				}
				s.write(t, func(tx *store.Tx) error {
					return tx.BeginStandstill(t.Context(), api.Standstill{Since: time.Now(), Reason: "the database was restored"}, 0)
				})
				pause(false)
				if moved {
					s.point(t, "2.0")
				}
				s.awaitState(t, "standstill", hosts...)
				if err := s.engine.Tick(t.Context()); err != nil || len(s.all(t)) != 0 {
					t.Fatalf("while it stands still: %v, rollouts %+v", err, s.all(t))
				}
				s.write(t, func(tx *store.Tx) error {
					if err := s.engine.GoOn(t.Context(), tx); err != nil {
						return err
					}
					return tx.EndStandstill(t.Context(), "looked at it")
				})
				if moved {
					s.awaitState(t, "up-to-date", hosts...)
					return
				}
				st := s.awaitState(t, "taken", hosts...)
				if err := s.engine.Tick(t.Context()); err != nil || len(s.all(t)) != 0 {
					t.Fatalf("afterwards: %v, rollouts %+v", err, s.all(t))
				}
				if !strings.Contains(st.Message, "2.0 was left as it was on") || !strings.Contains(st.Message, "ops-meta deploy falcon 2.0") {
					t.Errorf("it says %q", st.Message)
				}
				s.point(t, "3.0")
				s.awaitState(t, "up-to-date", hosts...)
			})
		})
	}
}
