// Command fleetsim plays a fleet of hosts against an ops-meta on loopback and
// tells what it saw.
//
//	go run ./scripts/fleetsim -server http://127.0.0.1:2002 -hosts 10000 -interval 30s -duration 5m
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/ops-updater/ops-updater/scripts/fleetsim/sim"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := runFleet(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func runFleet(ctx context.Context, args []string, out io.Writer) error {
	cfg, err := parseFlags(args)
	if err != nil {
		return err
	}
	fleet, err := sim.New(cfg)
	if err != nil {
		return err
	}
	r := fleet.Run(ctx)
	if _, err := io.WriteString(out, reportText(r)); err != nil {
		return err
	}
	if r.Errors > 0 {
		return fmt.Errorf("%d heartbeats failed, the first with: %s", r.Errors, r.FirstError)
	}
	return nil
}

func parseFlags(args []string) (sim.Config, error) {
	c := sim.Config{}
	f := flag.NewFlagSet("fleetsim", flag.ContinueOnError)
	f.StringVar(&c.Server, "server", "http://127.0.0.1:2002", "the server, on loopback")
	f.IntVar(&c.Hosts, "hosts", 1000, "how many hosts")
	f.StringVar(&c.Prefix, "prefix", "host", "of the hosts' names")
	f.Uint64Var(&c.Seed, "seed", 1, "the same seed gives the same hosts and fates")
	f.Float64Var(&c.Legacy, "legacy", 0, "share of hosts that speak the older dialect")
	f.Float64Var(&c.Changed, "changed", 0, "share of heartbeats that report another status")
	f.Float64Var(&c.Restarts, "restarts", 0, "share of heartbeats sent after a reboot")
	f.BoolVar(&c.Labels, "labels", false, "hosts have labels zone and rack")
	f.DurationVar(&c.Interval, "interval", 0, "between a host's heartbeats; 0: as fast as possible")
	f.DurationVar(&c.Upgrade, "upgrade", 2*time.Second, "from being told a version to running it")
	f.DurationVar(&c.Probation, "probation", 2*time.Second, "from running it to being content with it")
	f.IntVar(&c.Workers, "workers", 64, "heartbeats at once")
	f.BoolVar(&c.NoKeepAlive, "no-keep-alive", false, "a connection per heartbeat")
	f.BoolVar(&c.Conditional, "conditional", false, "send If-None-Match")
	f.Int64Var(&c.Count, "count", 0, "heartbeats at most; 0: no limit")
	f.DurationVar(&c.Duration, "duration", time.Minute, "at most")
	f.Func("agent", "NAME@VERSION that every host runs at first (may be repeated)", func(s string) error {
		name, version, _ := strings.Cut(s, "@")
		c.Agents = append(c.Agents, sim.Agent{Name: name, Version: version})
		return nil
	})
	f.Func("fail", "NAME@VERSION=SHARE that fails on a share of the hosts (may be repeated)", func(s string) error {
		what, share, _ := strings.Cut(s, "=")
		name, version, _ := strings.Cut(what, "@")
		n, err := strconv.ParseFloat(share, 64)
		c.Failures = append(c.Failures, sim.Failure{Agent: name, Version: version, Share: n})
		return err
	})
	return c, f.Parse(args)
}

func reportText(r sim.Report) string {
	out := new(strings.Builder)
	fmt.Fprintf(out, "heartbeats   %d in %v, %.0f/s\n", r.Heartbeats, r.Elapsed.Round(time.Millisecond), r.PerSecond())
	fmt.Fprintf(out, "latency      p50 %v, p99 %v, max %v; sent up to %v late\n", r.P50, r.P99, r.Max, r.Late.Round(time.Millisecond))
	fmt.Fprintf(out, "not modified %d, refused %d, errors %d %s\n", r.NotModified, r.Refused, r.Errors, r.FirstError)
	for _, k := range slices.Sorted(maps.Keys(r.Versions)) {
		fmt.Fprintf(out, "%8d  %s\n", r.Versions[k], k)
	}
	for _, k := range slices.Sorted(maps.Keys(r.Phases)) {
		fmt.Fprintf(out, "%8d  agents are %s\n", r.Phases[k], k)
	}
	return out.String()
}
