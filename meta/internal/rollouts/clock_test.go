package rollouts_test

import (
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/rollout"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

// A clock that jumps moves deadlines and soak times, whichever way, and never
// beyond what a grant can need.
func TestDeadlinesAndSoakTimesFollowAClockThatJumps(t *testing.T) {
	onBoth(t, func(t *testing.T, c store.Config) {
		s := serve(t, c)
		s.prepare(t, "falcon")
		hosts := newHosts(2, "web")
		for _, h := range hosts {
			h.bad["2.0"] = "hangs"
		}
		beatAll(t, s, hosts)
		r := s.rollout(t, api.NewRollout{Agent: "falcon", Version: "2.0", Inline: &api.Strategy{Stages: []api.Stage{{Percent: 100}}, Deadline: 600}})
		beatAll(t, s, hosts)
		deadline := func() time.Time {
			page, err := s.engine.Grants(t.Context(), api.GrantFilter{Rollout: r.ID, Open: true}, api.Cursor{})
			if err != nil || len(page.Items) != 2 {
				t.Fatalf("grants %+v, %v", page.Items, err)
			}
			return page.Items[0].Deadline
		}
		before := deadline()
		for _, by := range []time.Duration{time.Minute, 10 * 365 * 24 * time.Hour, -10 * 365 * 24 * time.Hour} {
			if err := s.engine.ClockJumped(t.Context(), by); err != nil {
				t.Fatal(err)
			}
			now := time.Now()
			if moved := deadline().Sub(before); by == time.Minute && moved != by {
				t.Errorf("the clock jumped by %s, the deadline moved by %s", by, moved)
			}
			if left := deadline().Sub(now); left < 0 || left > time.Hour {
				t.Errorf("the clock jumped by %s, and %s are left", by, left)
			}
		}
		if got := s.read(t, r.ID); got.State != api.RolloutRunning || got.Reason != string(rollout.ReasonExtended) {
			t.Errorf("the rollout is %s (%s)", got.State, got.Reason)
		}
		for _, h := range hosts {
			delete(h.bad, "2.0")
		}
		s.await(t, r.ID, api.RolloutCompleted, hosts...)
	})
}
