package rollouts_test

import (
	"fmt"
	"testing"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

func TestFailedHostsTryAgainOnTheServersWord(t *testing.T) {
	onBoth(t, func(t *testing.T, c store.Config) {
		s := serve(t, c)
		s.prepare(t, "falcon")
		hosts := newHosts(8, "web")
		for _, i := range []int{2, 5} {
			hosts[i].bad["2.0"] = "rolledBack"
		}
		beatAll(t, s, hosts)
		r := s.rollout(t, api.NewRollout{Agent: "falcon", Version: "2.0", Inline: &api.Strategy{MaxFailed: 1, Stages: []api.Stage{{Percent: 100}}}})
		s.await(t, r.ID, api.RolloutPaused, hosts...)
		if _, err := s.engine.ActOnRollout(t.Context(), operator, r.ID, "reboot", api.RolloutAction{}); api.KindOf(err) != api.KindNotFound {
			t.Errorf("an action that there is none of: %v", err)
		}
		for _, i := range []int{2, 5} {
			delete(hosts[i].bad, "2.0")
		}
		again := s.act(t, r.ID, api.ActionRetry)
		if again.State != api.RolloutRunning || again.Reason != "retried" || again.Progress[0].Failed != 0 || again.Progress[0].Forgiven != 0 {
			t.Fatalf("after retry it is %+v", again)
		}
		if failed := hostsOf(t, s, r.ID, api.RolloutHostFailed); len(failed) != 0 {
			t.Errorf("failed are %v", failed)
		}
		done := s.await(t, r.ID, api.RolloutCompleted, hosts...)
		if p := done.Progress[0]; p.Succeeded != 8 || p.Failed != 0 {
			t.Errorf("progress is %+v", p)
		}
		if _, err := s.engine.ActOnRollout(t.Context(), operator, r.ID, api.ActionRetry, api.RolloutAction{}); api.KindOf(err) != api.KindConflict {
			t.Errorf("retry of what has ended: %v", err)
		}
		log, err := s.store.Audit(t.Context(), api.AuditFilter{Action: api.ActionRetry, Name: r.ID}, api.Cursor{})
		if err != nil || len(log.Items) != 1 || log.Items[0].Reason != "because" || log.Items[0].Actor != operator.Name {
			t.Errorf("the audit log has %+v (%v)", log.Items, err)
		}
	})
}

func TestAHostThatFailsAgainIsFailedAgain(t *testing.T) {
	s := serve(t, store.Config{Dir: t.TempDir()})
	s.prepare(t, "falcon")
	hosts := newHosts(3, "web")
	hosts[1].bad["2.0"] = "failed"
	beatAll(t, s, hosts)
	r := s.rollout(t, api.NewRollout{Agent: "falcon", Version: "2.0", Inline: &api.Strategy{Stages: []api.Stage{{Percent: 100}}}})
	s.await(t, r.ID, api.RolloutPaused, hosts...)
	s.act(t, r.ID, api.ActionRetry)
	r = s.await(t, r.ID, api.RolloutPaused, hosts...)
	if r.Progress[0].Failed != 1 {
		t.Errorf("progress is %+v", r.Progress)
	}
}

func TestSkippingToTheEnd(t *testing.T) {
	s := serve(t, store.Config{Dir: t.TempDir()})
	s.prepare(t, "falcon")
	hosts := newHosts(10, "web")
	beatAll(t, s, hosts)
	r := s.rollout(t, api.NewRollout{Agent: "falcon", Version: "2.0", Inline: &api.Strategy{
		Stages: []api.Stage{{Count: 1, Soak: 3600}, {Percent: 50, Approval: true}, {Percent: 100, Approval: true}},
	}})
	eventually(t, "the canary", func() bool {
		for _, h := range hosts {
			h.beat(t, s)
		}
		return s.read(t, r.ID).Progress[0].Succeeded == 1
	}, func() string { return fmt.Sprint(s.read(t, r.ID)) })
	if skipped := s.act(t, r.ID, api.ActionSkip); skipped.State != api.RolloutRunning || skipped.Stage != 2 || skipped.Reason != "skipped" {
		t.Fatalf("after skip it is %+v", skipped)
	}
	s.await(t, r.ID, api.RolloutCompleted, hosts...)
	if n := len(touched(hosts, "2.0")); n != len(hosts) {
		t.Errorf("%d hosts have it", n)
	}
}
