package main

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"github.com/ops-updater/ops-updater/internal/pause"
	"github.com/ops-updater/ops-updater/scripts/fleetsim/lab"
	"github.com/ops-updater/ops-updater/scripts/fleetsim/sim"
)

// endureRestarts is d: all hosts known, paced, and the server restarted in between,
// once politely and once not.
func (b *bench) endureRestarts(ctx context.Context) error {
	e := endured{}
	p, err := b.startMeta(ctx, "endure")
	if err != nil {
		return err
	}
	address := p.URL[len("http://"):]
	if err := publishAgents(ctx, p, b.dir+"/endure"); err != nil {
		return err
	}
	fleet, err := sim.New(sim.Config{Server: p.URL, Hosts: b.million, Seed: 2, Agents: lab.Agents, Labels: true, Workers: 64, Count: int64(b.million)})
	if err != nil {
		return err
	}
	first := fleet.Run(ctx)
	if first.Errors > 0 || ctx.Err() != nil {
		return fmt.Errorf("cannot make the hosts known: %d errors, first: %s", first.Errors, first.FirstError)
	}
	e.fill = first.Elapsed
	err = fleet.Drive(func(c *sim.Config) { c.Interval, c.Count, c.Duration, c.Workers = b.pace, 0, b.hold, 256 })
	if err != nil {
		return err
	}
	p, err = b.bounceServer(ctx, &e, p, address, syscall.SIGTERM)
	if err != nil {
		return err
	}
	loaded, err := p.Usage()
	if err != nil {
		return err
	}
	e.cpu = -loaded.CPU // the restarts below count, this one does not
	done := make(chan sim.Report, 1)
	go func() { done <- fleet.Run(ctx) }()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		if !pause.For(ctx, b.hold/3) {
			break
		}
		fleet.Disturb(true)
		if p, err = b.bounceServer(ctx, &e, p, address, sig); err != nil {
			return err
		}
		pause.For(ctx, settle)
		fleet.Disturb(false)
	}
	e.Report = <-done
	if err := e.addUsage(p); err != nil {
		return err
	}
	fmt.Print(e)
	return p.Stop(syscall.SIGTERM)
}

// bounceServer stops the server, starts it again on what it left, and counts both.
func (b *bench) bounceServer(ctx context.Context, e *endured, p *lab.Process, address string, sig syscall.Signal) (*lab.Process, error) {
	if len(e.restarts) > 0 { // what came before the first is not measured
		if err := e.addUsage(p); err != nil {
			return nil, err
		}
	}
	if err := p.Stop(sig); err != nil {
		return nil, err
	}
	next, err := b.restartMeta(ctx, "endure", address)
	if err != nil {
		return nil, err
	}
	u, err := next.Usage()
	e.restarts = append(e.restarts, restart{next.Took, u.CPU})
	return next, err
}

// addUsage adds a server's whole life, its start included.
func (e *endured) addUsage(p *lab.Process) error {
	u, err := p.Usage()
	if err != nil {
		return err
	}
	e.cpu += u.CPU
	e.rss = u.RSS
	e.peak = max(e.peak, u.Peak)
	return nil
}

// settle is how long after a restart heartbeats count as disturbed: what
// waited meanwhile arrives at once.
const settle = 10 * time.Second
