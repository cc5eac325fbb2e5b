// Command benchmeta measures ops-meta's heartbeats through the shipped
// binary, beside a bare net/http handler that decodes the same reports and
// writes the same bytes, and with a million known hosts. It prints a table in
// markdown. scripts/bench-meta builds and runs it.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/ops-updater/ops-updater/scripts/fleetsim/lab"
	"github.com/ops-updater/ops-updater/scripts/fleetsim/sim"
)

// bench is one run of the benchmark.
type bench struct {
	meta    string // the ops-meta binary
	dir     string // for everything that is written
	hosts   int    // of a, b and c
	each    time.Duration
	rounds  int
	million int // hosts of d
	pace    time.Duration
	hold    time.Duration
}

func main() {
	b := bench{}
	bare := flag.String("bare", "", "serve the bare handler on this address")
	reply := flag.String("reply", "", "file of what the bare handler answers")
	flag.StringVar(&b.meta, "ops-meta", "bin/ops-meta", "the binary to measure")
	flag.IntVar(&b.hosts, "hosts", 20_000, "hosts of a, b and c")
	flag.DurationVar(&b.each, "each", 10*time.Second, "how long a, b and c are measured in each round")
	flag.IntVar(&b.rounds, "rounds", 3, "how often a, b and c are measured")
	flag.IntVar(&b.million, "million", 1_000_000, "hosts of d; 0 leaves d out")
	flag.DurationVar(&b.pace, "interval", 5*time.Minute, "between a host's heartbeats in d")
	flag.DurationVar(&b.hold, "hold", 2*time.Minute, "how long d is measured")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := error(nil)
	if *bare != "" {
		err = serveBare(*bare, *reply)
	} else {
		err = b.run(ctx)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func (b *bench) run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "ops-meta-bench.")
	if err != nil {
		return err
	}
	b.dir = dir
	fmt.Printf("%d cores, %s\n\n", runtime.NumCPU(), runtime.Version())
	if err = b.compareServers(ctx); err == nil && b.million > 0 {
		err = b.endureRestarts(ctx)
	}
	if err != nil {
		return fmt.Errorf("%w (kept %s)", err, dir)
	}
	return os.RemoveAll(dir)
}

// result is one measurement.
type result struct {
	sim.Report
	cpu  time.Duration // of the server
	rss  int64
	peak int64
}

func (r result) cpuEach() time.Duration {
	return r.cpu / time.Duration(max(r.Heartbeats-r.Errors, 1))
}

// measureFleet drives a fleet against a server and takes its usage before and
// after.
func measureFleet(ctx context.Context, p *lab.Process, fleet *sim.Sim) (result, error) {
	before, err := p.Usage()
	if err != nil {
		return result{}, err
	}
	r := result{Report: fleet.Run(ctx)}
	after, err := p.Usage()
	if err != nil {
		return result{}, err
	}
	r.cpu, r.rss, r.peak = after.CPU-before.CPU, after.RSS, after.Peak
	if r.Errors > 0 || r.Refused > 0 {
		return r, fmt.Errorf("%d errors, %d refused, first: %s", r.Errors, r.Refused, r.FirstError)
	}
	return r, ctx.Err()
}

// compareServers measures a, b and c in turns, so that what else the machine does
// falls on all of them.
func (b *bench) compareServers(ctx context.Context) error {
	meta, err := b.startMeta(ctx, "compare")
	if err != nil {
		return err
	}
	defer meta.Stop(syscall.SIGTERM) //nolint:errcheck // its work is done
	if err := publishAgents(ctx, meta, b.dir+"/compare"); err != nil {
		return err
	}
	fleet, err := sim.New(sim.Config{Server: meta.URL, Hosts: b.hosts, Seed: 1, Agents: lab.Agents, Labels: true, Workers: 32, Count: int64(b.hosts)})
	if err != nil {
		return err
	}
	for range 2 { // known, and steady
		if r := fleet.Run(ctx); r.Errors > 0 {
			return fmt.Errorf("cannot make the fleet known: %s", r.FirstError)
		}
	}
	bare, err := b.startBare(ctx, fleet.LastReply())
	if err != nil {
		return err
	}
	defer bare.Stop(syscall.SIGKILL) //nolint:errcheck // it holds nothing
	var as, bs, cs []result
	for range b.rounds {
		for _, m := range []struct {
			p       *lab.Process
			changed float64
			into    *[]result
		}{{bare, 0, &as}, {meta, 0, &bs}, {meta, 0.01, &cs}} {
			err := fleet.Drive(func(c *sim.Config) {
				c.Server, c.Changed, c.Count, c.Duration = m.p.URL, m.changed, 0, b.each
			})
			if err != nil {
				return err
			}
			r, err := measureFleet(ctx, m.p, fleet)
			if err != nil {
				return err
			}
			*m.into = append(*m.into, r)
		}
	}
	fmt.Print(compareTable(medianRound(as), medianRound(bs), medianRound(cs)))
	return nil
}

func publishAgents(ctx context.Context, p *lab.Process, data string) error {
	c, err := lab.Admin(p.URL, data)
	if err != nil {
		return err
	}
	return lab.Publish(ctx, c)
}

// medianRound is the round in the middle by the server's time per heartbeat.
func medianRound(rs []result) result {
	slices.SortFunc(rs, func(a, b result) int { return cmp.Compare(a.cpuEach(), b.cpuEach()) })
	return rs[len(rs)/2]
}

func (b *bench) startMeta(ctx context.Context, name string) (*lab.Process, error) {
	address, err := lab.FreeAddress(ctx)
	if err != nil {
		return nil, err
	}
	return b.restartMeta(ctx, name, address)
}

func (b *bench) restartMeta(ctx context.Context, name, address string) (*lab.Process, error) {
	return lab.Start(ctx, lab.Meta(b.meta, address, b.dir+"/"+name))
}

func (b *bench) startBare(ctx context.Context, reply []byte) (*lab.Process, error) {
	file := b.dir + "/reply.json"
	if err := os.WriteFile(file, reply, 0o600); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	address, err := lab.FreeAddress(ctx)
	if err != nil {
		return nil, err
	}
	return lab.Start(ctx, lab.Launch{Dir: b.dir, Address: address, Ready: "/", Args: []string{self, "-bare", address, "-reply", file}})
}
