// Command simrollout takes a simulated fleet through a rollout of five stages
// by the shipped ops-meta, with a share of hosts on which the release fails,
// and checks while it happens that no limit is exceeded. scripts/sim-rollout
// builds and runs it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/scripts/fleetsim/lab"
	"github.com/ops-updater/ops-updater/scripts/fleetsim/sim"
)

// trial is one rollout.
type trial struct {
	meta     string // the ops-meta binary
	hosts    int
	interval time.Duration
	failing  float64
	inFlight int
	limit    time.Duration
	dir      string
}

const target = "5.2.0"

func main() {
	t := trial{}
	flag.StringVar(&t.meta, "ops-meta", "bin/ops-meta", "the binary")
	flag.IntVar(&t.hosts, "hosts", 100_000, "how many hosts")
	flag.DurationVar(&t.interval, "interval", time.Minute, "between a host's heartbeats")
	flag.Float64Var(&t.failing, "failing", 0.02, "share of hosts on which the release fails")
	flag.IntVar(&t.inFlight, "in-flight", 5000, "grants not yet judged, at most")
	flag.DurationVar(&t.limit, "limit", 30*time.Minute, "give up after this")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := t.run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func (t *trial) fiveStages() api.Strategy {
	return api.Strategy{
		Name: "five-stages", MaxInFlight: t.inFlight, Deadline: 300, MinSample: 50,
		MaxFailed: t.hosts / 10, MaxFailedPct: 10,
		Stages: []api.Stage{
			{Name: "canary", Count: 10, Soak: 5},
			{Name: "one", Percent: 1, Soak: 5},
			{Name: "ten", Percent: 10},
			{Name: "half", Percent: 50},
			{Name: "all", Percent: 100},
		},
	}
}

func (t *trial) run(ctx context.Context) error {
	var err error
	if t.dir, err = os.MkdirTemp("", "ops-meta-rollout."); err != nil {
		return err
	}
	address, err := lab.FreeAddress(ctx)
	if err != nil {
		return err
	}
	p, err := lab.Start(ctx, lab.Meta(t.meta, address, t.dir+"/data"))
	if err != nil {
		return err
	}
	err = t.rollOut(ctx, p)
	if err = errors.Join(err, p.Stop(syscall.SIGTERM)); err != nil {
		return fmt.Errorf("%w (kept %s)", err, t.dir)
	}
	return os.RemoveAll(t.dir)
}

func (t *trial) rollOut(ctx context.Context, p *lab.Process) error {
	c, err := lab.Admin(p.URL, t.dir+"/data")
	if err != nil {
		return err
	}
	if err := lab.Publish(ctx, c); err != nil {
		return err
	}
	agent := lab.Agents[1].Name
	if err := lab.Upload(ctx, c, sim.Agent{Name: agent, Version: target}); err != nil {
		return err
	}
	fleet, err := sim.New(sim.Config{
		Server: p.URL, Hosts: t.hosts, Seed: 5, Agents: lab.Agents, Labels: true, Count: int64(t.hosts), Workers: 64,
		Failures: []sim.Failure{{Agent: agent, Version: target, Share: t.failing}},
		Upgrade:  3 * time.Second, Probation: 3 * time.Second, Conditional: true,
	})
	if err != nil {
		return err
	}
	if r := fleet.Run(ctx); r.Errors > 0 {
		return fmt.Errorf("cannot make the fleet known: %s", r.FirstError)
	}
	fmt.Printf("%d hosts are known\n", t.hosts)
	err = fleet.Drive(func(s *sim.Config) { s.Interval, s.Count, s.Duration, s.Workers = t.interval, 0, t.limit, 256 })
	if err != nil {
		return err
	}
	return t.watchRollout(ctx, p, c, fleet)
}

// watchRollout runs the fleet and the rollout until the rollout has ended.
func (t *trial) watchRollout(ctx context.Context, p *lab.Process, c *api.Client, fleet *sim.Sim) error {
	strategy := t.fiveStages()
	before, err := p.Usage()
	if err != nil {
		return err
	}
	began := time.Now()
	ro, err := c.CreateRollout(ctx, api.NewRollout{Agent: lab.Agents[1].Name, Version: target, Scope: api.Scope{Kind: api.ScopeEveryone}, Inline: &strategy})
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	done := make(chan sim.Report, 1)
	go func() { done <- fleet.Run(running) }()
	ro, err = t.followRollout(ctx, c, ro.ID)
	took := time.Since(began)
	after, usageErr := p.Usage()
	stop()
	report := <-done
	if err = errors.Join(err, usageErr); err != nil {
		return err
	}
	fmt.Printf("%s after %v: %s\n", ro.State, took.Round(time.Second), ro.Reason)
	fmt.Printf("server: %.2f cores on average, %.0f heartbeats/s, peak RSS %d MB; p99 %v\n",
		(after.CPU-before.CPU).Seconds()/took.Seconds(), report.PerSecond(), after.Peak>>20, report.P99.Round(time.Millisecond))
	return t.verifyCounts(ro, report)
}

// followRollout asks once a second how the rollout stands, and checks its limits.
func (t *trial) followRollout(ctx context.Context, c *api.Client, id string) (api.Rollout, error) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	stage := -1
	ctx, cancel := context.WithTimeout(ctx, t.limit)
	defer cancel()
	for {
		ro, err := c.Rollout(ctx, id)
		if err != nil {
			return ro, err
		}
		if err := t.checkLimits(ro); err != nil {
			return ro, err
		}
		if ro.Stage != stage {
			stage = ro.Stage
			fmt.Printf("stage %s\n", ro.Strategy.Stages[stage].Name)
		}
		if ro.State != api.RolloutRunning {
			return ro, nil
		}
		select {
		case <-ctx.Done():
			return ro, fmt.Errorf("the rollout is %s at stage %d, %+v: %w", ro.State, ro.Stage, ro.Progress, ctx.Err())
		case <-tick.C:
		}
	}
}

// checkLimits checks every limit of the strategy.
func (t *trial) checkLimits(ro api.Rollout) error {
	flying := 0
	for i, p := range ro.Progress {
		flying += p.Granted - p.Succeeded - p.Failed
		if limit := ro.Strategy.Stages[i].Count; limit > 0 && p.Granted > limit {
			return fmt.Errorf("stage %d granted %d hosts, its limit is %d", i, p.Granted, limit)
		}
		if p.Granted > 0 && i > ro.Stage {
			return fmt.Errorf("stage %d granted %d hosts before its turn", i, p.Granted)
		}
	}
	if flying > t.inFlight {
		return fmt.Errorf("%d hosts are in flight, the limit is %d", flying, t.inFlight)
	}
	return nil
}

// verifyCounts compares what the server counts with what the hosts run.
func (t *trial) verifyCounts(ro api.Rollout, r sim.Report) error {
	granted, succeeded, failed := 0, 0, 0
	for _, p := range ro.Progress {
		granted, succeeded, failed = granted+p.Granted, succeeded+p.Succeeded, failed+p.Failed
	}
	onTarget, back := r.Versions[lab.Agents[1].Name+"@"+target], r.Phases["rolledBack"]
	fmt.Printf("server: %d granted, %d succeeded, %d failed; hosts: %d on the target, %d rolled back\n", granted, succeeded, failed, onTarget, back)
	switch {
	case ro.State != api.RolloutCompleted:
		return fmt.Errorf("the rollout is %s: %s", ro.State, ro.Reason)
	case r.Errors > 0 || r.Refused > 0:
		return fmt.Errorf("%d heartbeats failed, %d were refused, first: %s", r.Errors, r.Refused, r.FirstError)
	case granted != t.hosts || succeeded != onTarget || failed != back:
		return errors.New("the server and the hosts do not agree")
	}
	return nil
}
