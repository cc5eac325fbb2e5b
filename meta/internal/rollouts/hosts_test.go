package rollouts_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

// hostsOf follows the listing of a rollout's hosts in small pages.
func hostsOf(t *testing.T, s *server, id string, state api.RolloutHostState) []api.RolloutHost {
	t.Helper()
	all, err := api.All(func(cursor string) (api.Page[api.RolloutHost], error) {
		return s.engine.RolloutHosts(t.Context(), id, state, api.Cursor{After: cursor, Limit: 3})
	})
	if err != nil {
		t.Fatalf("hosts in state %q: %v", state, err)
	}
	return all
}

func namesOf(hosts []api.RolloutHost) []string {
	names := []string{}
	for _, h := range hosts {
		names = append(names, h.Host)
	}
	return names
}

func TestHostsOfARolloutByTheirState(t *testing.T) {
	onBoth(t, func(t *testing.T, c store.Config) {
		s := serve(t, c)
		s.prepare(t, "falcon")
		hosts := newHosts(12, "web")
		hosts[2].held = true
		hosts[5].bad["2.0"] = "rolledBack"
		hosts[6].bad["2.0"] = "hangs"
		beatAll(t, s, hosts)
		r := s.rollout(t, api.NewRollout{Agent: "falcon", Version: "2.0", Inline: &api.Strategy{
			MaxFailed: 5, Stages: []api.Stage{{Count: 2}, {Percent: 100}},
		}})
		for _, h := range []*host{hosts[5], hosts[6], hosts[5], hosts[6]} { // these two are the canaries
			h.beat(t, s)
		}
		eventually(t, "the canary's failure", func() bool {
			return len(hostsOf(t, s, r.ID, api.RolloutHostFailed)) == 1
		}, func() string { return fmt.Sprint(hostsOf(t, s, r.ID, "")) })
		for state, want := range map[api.RolloutHostState][]string{
			api.RolloutHostFailed:    {"web005"},
			api.RolloutHostInFlight:  {"web006"},
			api.RolloutHostHeld:      {"web002"},
			api.RolloutHostSucceeded: {},
			api.RolloutHostAlready:   {},
			api.RolloutHostSilent:    {},
			api.RolloutHostWaiting:   {"web000", "web001", "web003", "web004", "web007", "web008", "web009", "web010", "web011"},
		} {
			if got := namesOf(hostsOf(t, s, r.ID, state)); !slices.Equal(got, want) {
				t.Errorf("%s: got %v, want %v", state, got, want)
			}
		}
		all := hostsOf(t, s, r.ID, "")
		if len(all) != len(hosts) || !slices.IsSorted(namesOf(all)) {
			t.Errorf("all are %v", namesOf(all))
		}
		waiting, failed := all[0], all[5]
		if waiting.Reason != "limit-reached" && waiting.Reason != "not-yet" || waiting.Message == "" || waiting.Version != "1.0" || waiting.LastSeen == nil {
			t.Errorf("a waiting host is %+v", waiting)
		}
		if failed.Reason != "host-rolled-back" || failed.Granted == nil || failed.Judged == nil || failed.Message != "control start: exit 1" {
			t.Errorf("a failed host is %+v", failed)
		}
		s.act(t, r.ID, api.ActionAbort)
		if got := namesOf(hostsOf(t, s, r.ID, "")); !slices.Equal(got, []string{"web005", "web006"}) {
			t.Errorf("once it has ended its hosts are %v, want those that were granted", got)
		}
	})
}
