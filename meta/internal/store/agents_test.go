package store_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

// numberedAgents are n agents that keep so many versions.
func numberedAgents(n, keep int) []api.Agent {
	list := make([]api.Agent, n)
	for i := range list {
		list[i] = api.Agent{Name: fmt.Sprintf("agent-%06d", i), Keep: keep}
	}
	return list
}

// Many agents in one go are what they are one by one, in the table and in the
// audit log.
func TestPuttingManyAgentsIsPuttingEach(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		const n = 450 // more than two statements take
		put := func(list []api.Agent) {
			write(t, s, func(ctx context.Context, tx *store.Tx) error { return tx.PutAgents(ctx, list) })
		}
		put(numberedAgents(n, 2))
		again := numberedAgents(n, 2)
		again[7].Keep, again[449].Keep = 3, 3
		put(append(again, api.Agent{Name: "new"}))
		w := must(s.Wanted(t.Context()))(t)
		if len(w.Agents) != n+1 || w.Agents[7].Keep != 3 || w.Agents[7].Revision != 2 || w.Agents[8].Keep != 2 || w.Agents[8].Revision != 1 {
			t.Fatalf("%d agents, of which 7 is %+v and 8 %+v", len(w.Agents), w.Agents[7], w.Agents[8])
		}
		page := must(s.Audit(t.Context(), api.AuditFilter{}, api.Cursor{Limit: api.MaxPage}))(t)
		var said []string
		for _, e := range page.Items[:4] {
			said = append(said, e.Action+" "+e.Name)
		}
		if want := "[create new update agent-000449 update agent-000007 create agent-000449]"; fmt.Sprint(said) != want {
			t.Errorf("the audit log ends with %v, want %s", said, want)
		}
		stale := numberedAgents(1, 9)
		stale[0].Revision = 7
		for name, list := range map[string][]api.Agent{"a stale revision": stale, "an unknown strategy": {{Name: "x", Strategy: "none"}}} {
			_, err := s.Write(t.Context(), api.Actor{Name: "alice"}, func(tx *store.Tx) error { return tx.PutAgents(t.Context(), append(numberedAgents(3, 8)[1:], list...)) })
			if err == nil {
				t.Errorf("%s: no error", name)
			}
		}
		if w := must(s.Wanted(t.Context()))(t); w.Agents[1].Keep != 2 {
			t.Errorf("a write that failed has left %+v", w.Agents[1])
		}
	})
}

// BenchmarkPutAgents makes 100 000 agents in one write, as a fleet file does.
func BenchmarkPutAgents(b *testing.B) {
	list := numberedAgents(100_000, 3)
	for name, put := range map[string]func(*store.Tx) error{
		"each": func(tx *store.Tx) error {
			for _, a := range list {
				if _, err := tx.PutAgent(b.Context(), a); err != nil {
					return err
				}
			}
			return nil
		},
		"many": func(tx *store.Tx) error { return tx.PutAgents(b.Context(), list) },
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				s := database{name: "sqlite", cfg: store.Config{Dir: b.TempDir()}}.open(b)
				b.StartTimer()
				if _, err := s.Write(b.Context(), api.Actor{Name: "alice"}, put); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
