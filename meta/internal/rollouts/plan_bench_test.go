package rollouts_test

import (
	"fmt"
	"testing"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

// manyHosts is a large fleet.
const manyHosts = 100_000

func largeFleet(b *testing.B) *server {
	b.Helper()
	s := serve(b, store.Config{Dir: b.TempDir()})
	s.prepare(b, "falcon")
	for i := range manyHosts {
		s.fleet.Restore(api.Host{
			Name: fmt.Sprintf("%s%06d", []string{"lab", "web", "db"}[min(i%50, 2)], i), IP: "192.0.2.1", Arch: "linux_amd64", Dialect: string(meta.DialectV1),
			Agents: []api.HostAgent{{Name: "falcon", Version: "1.0", Status: "started", Phase: meta.PhaseIdle}},
		})
	}
	s.write(b, func(tx *store.Tx) error {
		waves := api.Strategy{Name: "waves", Stages: []api.Stage{
			{Count: 5, Soak: 3600}, {Name: "lab", Percent: 100, Group: "lab", Soak: 3600}, {Percent: 10, Soak: 3600}, {Percent: 100},
		}, Window: &api.Window{Days: []string{"mon", "tue", "wed"}, From: "09:00", To: "16:00"}, Rate: &api.RateLimit{Hosts: 100, Period: 60}}
		if _, err := tx.PutStrategy(b.Context(), waves); err != nil {
			return err
		}
		_, err := tx.PutSchedule(b.Context(), api.Schedule{Name: "production", Channel: "stable", Strategy: "waves"})
		return err
	})
	s.point(b, "1.0")
	return s
}

func BenchmarkPlanOfALargeFleet(b *testing.B) {
	s := largeFleet(b)
	q := api.PlanQuery{Schedule: "production", Version: "2.0"}
	b.ReportAllocs()
	for b.Loop() {
		plans, err := s.engine.SchedulePlan(b.Context(), q)
		if err != nil || len(plans) != 1 || plans[0].Ends == nil || plans[0].Hosts[api.PlanHostChanges] != manyHosts {
			b.Fatalf("%+v, %v", plans, err)
		}
	}
}

func BenchmarkWhetherALargeFleetCanHaveARelease(b *testing.B) {
	s := largeFleet(b)
	for b.Loop() {
		if err := s.engine.CheckDeliverable(b.Context(), s.store.Reader, "falcon", "2.0", everyone); err != nil {
			b.Fatal(err)
		}
	}
}
