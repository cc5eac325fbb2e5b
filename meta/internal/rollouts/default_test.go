package rollouts_test

import (
	"fmt"
	"testing"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/fleet"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

// Without a strategy each stage proves itself for a probation and a heartbeat
// before the next; few hosts are not kept waiting for nothing.
func TestTheDefaultStrategyIsCareful(t *testing.T) {
	every := int(fleet.DefaultInterval.Seconds())
	for hosts, want := range map[int]string{
		0:  fmt.Sprint([]int{api.DefaultProbation + every, api.DefaultProbation + every, 0}),
		1:  fmt.Sprint([]int{0}),
		5:  fmt.Sprint([]int{api.DefaultProbation + every, 0}),
		20: fmt.Sprint([]int{api.DefaultProbation + every, api.DefaultProbation + every, 0}),
	} {
		t.Run(fmt.Sprintf("%d hosts", hosts), func(t *testing.T) {
			s := serve(t, store.Config{Dir: t.TempDir()})
			s.prepare(t, "falcon")
			for _, h := range newHosts(hosts, "web") {
				h.beat(t, s)
			}
			r := s.rollout(t, api.NewRollout{Agent: "falcon", Version: "2.0"})
			var soaks []int
			for _, st := range r.Strategy.Stages {
				soaks = append(soaks, st.Soak)
			}
			if got := fmt.Sprint(soaks); got != want || r.Strategy.Name != "default" {
				t.Errorf("it is %s and soaks %s, want %s", r.Strategy.Name, got, want)
			}
		})
	}
	t.Run("an agent's own probation", func(t *testing.T) {
		s := serve(t, store.Config{Dir: t.TempDir()})
		s.prepare(t, "falcon")
		_, err := s.store.Write(t.Context(), operator, func(tx *store.Tx) error {
			_, err := tx.PutAgent(t.Context(), api.Agent{Name: "falcon", Probation: 900, Revision: 1})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if r := s.rollout(t, api.NewRollout{Agent: "falcon", Version: "2.0"}); r.Strategy.Stages[0].Soak != 900+every {
			t.Errorf("it soaks %d s", r.Strategy.Stages[0].Soak)
		}
	})
}
