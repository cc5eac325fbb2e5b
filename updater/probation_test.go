package updater

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/ops-updater/ops-updater/internal/host/status"
	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/config"
	"github.com/ops-updater/ops-updater/updater/job"
	"github.com/ops-updater/ops-updater/updater/plan"
	"github.com/ops-updater/ops-updater/updater/pool"
)

// onlooker is a child that takes a moment to find a version running.
type onlooker struct{ living, looks *atomic.Int32 }

func (o onlooker) Do(context.Context, job.Job, time.Duration, func(job.Progress)) (job.Result, error) {
	time.Sleep(10 * time.Millisecond)
	o.looks.Add(1)
	return job.Result{Probe: plan.Probe{Status: status.Status{Word: meta.StatusStarted}, Pid: 42}}, nil
}

func (o onlooker) Close() { o.living.Add(-1) }

// However many agents are on probation, each is looked at in every round, by children that
// serve one after another, and between two rounds none is left.
func TestManyAgentsOnProbationShareFewChildren(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := config.Default()
		c.VarDir, c.WorkDir = t.TempDir(), t.TempDir()
		e, err := NewEngine(NewEngineConfig(c, zerolog.Nop()))
		if err != nil {
			t.Fatal(err)
		}
		var living, most, looks atomic.Int32
		e.pool = pool.New(func(context.Context, string) (pool.Child, error) {
			most.Store(max(most.Load(), living.Add(1)))
			return onlooker{&living, &looks}, nil
		})
		ctx, cancel := context.WithCancel(t.Context())
		e.ctx = ctx
		var ended sync.WaitGroup
		const agents, rounds, every = 100, 5, 2 * time.Second
		for i := range agents {
			k := newKeeper(e, fmt.Sprintf("agent-%02d", i), ownState)
			txn := &plan.Txn{Act: plan.ActInstall, To: plan.Target{Place: plan.Place{WorkDir: c.WorkDir, RunUser: "root"}, Version: "1.0.0"}}
			txn.Wish.Agent.Probation = 3600
			ended.Go(func() { _ = k.watchProbation(ctx, txn) })
		}
		time.Sleep(rounds*every - every/8) // just before another round
		synctest.Wait()
		if n := living.Load(); n > 0 {
			t.Errorf("%d children are left between two rounds", n)
		}
		if n := looks.Load(); n != agents*rounds {
			t.Errorf("%d looks at %d agents in %d rounds", n, agents, rounds)
		}
		if n := most.Load(); n >= agents/4 {
			t.Errorf("%d children at once for %d agents", n, agents)
		}
		cancel()
		ended.Wait()
		e.group.Wait()
		e.pool.Close()
	})
}
