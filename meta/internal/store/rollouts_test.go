package store_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

var engine = api.Actor{Name: "ops-meta"}

// start makes a running rollout of web 1.1 with two stages.
func start(t testing.TB, s *store.Store, id string) {
	t.Helper()
	write(t, s, func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.CreateRollout(ctx, api.Rollout{
			ID: id, Agent: "web", Version: "1.1", Scope: api.Scope{Kind: api.ScopeEveryone}, State: api.RolloutRunning,
			Strategy: api.Strategy{Name: "careful", Stages: []api.Stage{{Count: 1}, {Percent: 100}}},
		}, api.Transition{To: api.RolloutRunning, Reason: "stage-started"})
		return err
	})
}

// grant lets a host have a rollout's target while less than limit have it, as
// the engine does.
func grant(ctx context.Context, s *store.Store, id, host string, limit int) (granted bool, err error) {
	_, err = s.Steer(ctx, engine, id, func(tx *store.Tx, r api.Rollout) error {
		granted = false
		if r.State != api.RolloutRunning || r.Progress[0].Granted >= limit {
			return nil
		}
		granted = true
		return tx.PutGrant(ctx, api.Grant{Rollout: id, Host: host, Granted: tx.Now(), Deadline: tx.Now().Add(time.Minute)}, true)
	})
	return granted && err == nil, err
}

func judge(t testing.TB, s *store.Store, j store.Judgement) (took bool) {
	t.Helper()
	return len(must(s.JudgeGrants(t.Context(), []store.Judgement{j}))(t)) == 1
}

func TestGrantsAreExactUnderConcurrency(t *testing.T) {
	rounds := 3
	if n, err := strconv.Atoi(os.Getenv("OPS_META_TEST_GRANT_ROUNDS")); err == nil {
		rounds = n
	}
	onBoth(t, func(t *testing.T, d database) {
		replicas := []*store.Store{d.open(t)}
		if d.name == "postgres" { // SQLite has one server
			replicas = append(replicas, d.open(t), d.open(t))
		}
		seed(t, replicas[0])
		for round := range rounds {
			id := fmt.Sprintf("r%d", round)
			start(t, replicas[0], id)
			granted := stampede(t, replicas, id)
			checkGrants(t, replicas[0], id, granted)
		}
	})
}

// stampede has 64 hosts ask each replica twice at the same moment.
func stampede(t *testing.T, replicas []*store.Store, id string) int {
	var wg sync.WaitGroup
	var granted atomic.Int64
	gate := make(chan struct{})
	for _, s := range replicas {
		for n := range 64 {
			host := fmt.Sprintf("%s-host-%d", id, n)
			wg.Go(func() {
				<-gate
				for range 2 {
					ok, err := grant(t.Context(), s, id, host, 10)
					if err != nil && api.KindOf(err) != api.KindExists {
						t.Errorf("grant: %v", err)
					}
					if ok {
						granted.Add(1)
					}
				}
			})
		}
	}
	close(gate)
	wg.Wait()
	return int(granted.Load())
}

func checkGrants(t *testing.T, s *store.Store, id string, granted int) {
	t.Helper()
	rows := must(s.Grants(t.Context(), api.GrantFilter{Rollout: id}, api.Cursor{}))(t).Items
	counted := must(s.Rollout(t.Context(), id))(t).Progress[0].Granted
	if granted != 10 || len(rows) != 10 || counted != 10 {
		t.Errorf("rollout %s: told %d hosts, %d rows, counted %d, want 10 each", id, granted, len(rows), counted)
	}
}

func TestOneExclusiveRolloutPerHost(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		seed(t, s)
		start(t, s, "r1")
		start(t, s, "r2")
		if ok, err := grant(t.Context(), s, "r1", "a", 10); !ok || err != nil {
			t.Fatalf("first grant: %v, %v", ok, err)
		}
		if ok, err := grant(t.Context(), s, "r2", "a", 10); ok || api.KindOf(err) != api.KindConflict {
			t.Errorf("grant to a busy host: %v, %v", ok, err)
		}
		if n := must(s.Rollout(t.Context(), "r2"))(t).Progress[0].Granted; n != 0 {
			t.Errorf("a refused grant was counted: %d", n)
		}
		judge(t, s, store.Judgement{Rollout: "r1", Host: "a", Outcome: api.OutcomeFailed, Time: time.Now()})
		if ok, err := grant(t.Context(), s, "r2", "a", 10); !ok || err != nil {
			t.Errorf("grant after the other was judged: %v, %v", ok, err)
		}
	})
}

func TestJudgements(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		seed(t, s)
		start(t, s, "r1")
		if ok, err := grant(t.Context(), s, "r1", "a", 10); !ok || err != nil {
			t.Fatal(ok, err)
		}
		at := time.Now().UTC().Truncate(time.Microsecond)
		for _, c := range []struct {
			name string
			j    store.Judgement
			took bool
			want api.StageCount
		}{
			{"of a host without a grant", store.Judgement{Host: "b", Outcome: api.OutcomeFailed}, false, api.StageCount{Granted: 1}},
			{"the first", store.Judgement{Host: "a", Outcome: api.OutcomeSucceeded, Reason: "healthy"}, true, api.StageCount{Granted: 1, Succeeded: 1}},
			{"a second one that thinks it is the first", store.Judgement{Host: "a", Outcome: api.OutcomeFailed}, false, api.StageCount{Granted: 1, Succeeded: 1}},
			{"a success is taken back", store.Judgement{Host: "a", Undo: true, Outcome: api.OutcomeFailed, Reason: "unhealthy"}, true, api.StageCount{Granted: 1, Failed: 1}},
		} {
			c.j.Rollout, c.j.Time = "r1", at
			if took := judge(t, s, c.j); took != c.took {
				t.Errorf("%s: took effect: %v, want %v", c.name, took, c.took)
			}
			if diff := cmp.Diff(c.want, must(s.Rollout(t.Context(), "r1"))(t).Progress[0]); diff != "" {
				t.Errorf("%s: progress (-want +got):\n%s", c.name, diff)
			}
		}
		got := must(s.Grant(t.Context(), "r1", "a"))(t)
		want := api.Grant{Rollout: "r1", Host: "a", Outcome: api.OutcomeFailed, Judged: &at, Reason: "unhealthy"}
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(api.Grant{}, "Granted", "Deadline")); diff != "" {
			t.Errorf("grant (-want +got):\n%s", diff)
		}
	})
}

// A failed canary closes the gate in the transaction that records it: every
// grant was made before it or is refused.
func TestJudgementAndStepAreOneTransaction(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		seed(t, s)
		start(t, s, "r1")
		if ok, err := grant(t.Context(), s, "r1", "canary", 10); !ok || err != nil {
			t.Fatal(ok, err)
		}
		before := must(s.Serial(t.Context()))(t)
		serial, err := s.Steer(t.Context(), engine, "r1", func(tx *store.Tx, r api.Rollout) error {
			if _, err := tx.JudgeGrants(t.Context(), []store.Judgement{{Rollout: "r1", Host: "canary", Outcome: api.OutcomeFailed, Time: tx.Now()}}); err != nil {
				return err
			}
			r.State, r.Reason = api.RolloutPaused, "too-many-failures"
			_, err := tx.UpdateRollout(t.Context(), r,
				api.Transition{From: api.RolloutRunning, To: api.RolloutPaused, Reason: "too-many-failures"},
				api.Notification{Kind: "rollout.paused", Target: "ops", Payload: []byte(`{"a":1}`)})
			return err
		})
		if err != nil || serial <= before {
			t.Fatalf("steer: serial %d after %d, %v", serial, before, err)
		}
		if ok, err := grant(t.Context(), s, "r1", "late", 10); ok || err != nil {
			t.Errorf("grant by a paused rollout: %v, %v", ok, err)
		}
		r := must(s.Rollout(t.Context(), "r1"))(t)
		if r.State != api.RolloutPaused || r.Progress[0].Failed != 1 || r.Revision != serial {
			t.Errorf("rollout is %s, failed %d, revision %d", r.State, r.Progress[0].Failed, r.Revision)
		}
		steps := must(s.Transitions(t.Context(), "r1", api.Cursor{}))(t).Items
		want := []api.Transition{
			{Rollout: "r1", Actor: "alice", To: api.RolloutRunning, Reason: "stage-started"},
			{Rollout: "r1", Actor: "ops-meta", From: api.RolloutRunning, To: api.RolloutPaused, Reason: "too-many-failures"},
		}
		if diff := cmp.Diff(want, steps, cmpopts.IgnoreFields(api.Transition{}, "Time")); diff != "" {
			t.Errorf("transitions (-want +got):\n%s", diff)
		}
		notes := must(s.ClaimNotifications(t.Context(), time.Now(), time.Minute, 10))(t)
		if len(notes) != 1 || notes[0].Kind != "rollout.paused" || string(notes[0].Payload) != `{"a":1}` {
			t.Errorf("notifications: %+v", notes)
		}
	})
}

func TestUpdateRolloutIsCompareAndSwap(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		seed(t, s)
		start(t, s, "r1")
		r := must(s.Rollout(t.Context(), "r1"))(t)
		step := func(ctx context.Context, tx *store.Tx) error {
			r := r
			r.Stage = 1
			_, err := tx.UpdateRollout(ctx, r, api.Transition{To: r.State, Stage: 1, Reason: "stage-complete"})
			return err
		}
		write(t, s, step)
		refused(t, s, api.KindConflict, step)
	})
}

func TestRolloutsInForce(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		seed(t, s)
		for _, id := range []string{"running", "aborted-unused", "aborted-granted", "withdrawn", "completed"} {
			start(t, s, id)
			if id == "aborted-unused" {
				continue
			}
			if ok, err := grant(t.Context(), s, id, "host-of-"+id, 1); !ok || err != nil {
				t.Fatal(ok, err)
			}
		}
		end := func(id string, state api.RolloutState, withdrawn bool) {
			write(t, s, func(ctx context.Context, tx *store.Tx) error {
				r, err := tx.LockRollout(ctx, id)
				if err != nil {
					return err
				}
				r.State, r.Withdrawn = state, withdrawn
				_, err = tx.UpdateRollout(ctx, r, api.Transition{To: state, Reason: "test"})
				return err
			})
		}
		end("aborted-unused", api.RolloutAborted, false)
		end("aborted-granted", api.RolloutAborted, false)
		end("withdrawn", api.RolloutAborted, true)
		end("completed", api.RolloutCompleted, false)
		var ids []string
		for _, r := range must(s.Wanted(t.Context()))(t).Rollouts {
			ids = append(ids, r.ID)
		}
		if diff := cmp.Diff([]string{"running", "aborted-granted"}, ids); diff != "" {
			t.Errorf("in force (-want +got):\n%s", diff)
		}
		active := must(s.Rollouts(t.Context(), api.RolloutFilter{Active: true}, api.Cursor{}))(t).Items
		if len(active) != 1 || active[0].ID != "running" {
			t.Errorf("active: %+v", active)
		}
	})
}

func TestRolloutsArePagedNewestFirst(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		seed(t, s)
		var want []string
		for i := range 5 {
			id := fmt.Sprintf("r%d", i)
			start(t, s, id)
			want = append([]string{id}, want...)
		}
		var got []string
		for c := (api.Cursor{Limit: 2}); ; {
			page := must(s.Rollouts(t.Context(), api.RolloutFilter{}, c))(t)
			for _, r := range page.Items {
				got = append(got, r.ID)
			}
			if c.After = page.Next; c.After == "" {
				break
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("rollouts (-want +got):\n%s", diff)
		}
	})
}

func TestProgressOfATickKeepsWhatGrantsCounted(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		seed(t, s)
		start(t, s, "r1")
		if ok, err := grant(t.Context(), s, "r1", "a", 1); !ok || err != nil {
			t.Fatal(ok, err)
		}
		before := must(s.Serial(t.Context()))(t)
		if err := s.SaveProgress(t.Context(), "r1", []api.StageCount{{Size: 9, Granted: 7, Waiting: 8}, {Size: 90}}); err != nil {
			t.Fatal(err)
		}
		r := must(s.Rollout(t.Context(), "r1"))(t)
		want := []api.StageCount{{Size: 9, Granted: 1, Waiting: 8}, {Size: 90}}
		if diff := cmp.Diff(want, r.Progress); diff != "" {
			t.Errorf("progress (-want +got):\n%s", diff)
		}
		if after := must(s.Serial(t.Context()))(t); after != before {
			t.Errorf("serial went from %d to %d", before, after)
		}
	})
}

func TestDeadlines(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		seed(t, s)
		start(t, s, "r1")
		for _, host := range []string{"a", "b", "done"} {
			if ok, err := grant(t.Context(), s, "r1", host, 10); !ok || err != nil {
				t.Fatal(ok, err)
			}
		}
		judge(t, s, store.Judgement{Rollout: "r1", Host: "done", Outcome: api.OutcomeSucceeded, Time: time.Now()})
		due := func() (hosts []string) {
			for _, g := range must(s.DueGrants(t.Context(), time.Now().Add(2*time.Minute), 10))(t) {
				hosts = append(hosts, g.Host)
			}
			return hosts
		}
		if diff := cmp.Diff([]string{"a", "b"}, due()); diff != "" {
			t.Errorf("due (-want +got):\n%s", diff)
		}
		move := func(host string) {
			_, err := s.Steer(t.Context(), engine, "r1", func(tx *store.Tx, _ api.Rollout) error {
				return tx.MoveDeadlines(t.Context(), "r1", host, time.Hour)
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		move("a")
		if diff := cmp.Diff([]string{"b"}, due()); diff != "" {
			t.Errorf("due after one moved (-want +got):\n%s", diff)
		}
		move("")
		if left := due(); len(left) != 0 {
			t.Errorf("due after all moved: %v", left)
		}
	})
}
