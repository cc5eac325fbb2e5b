// Package soak lets a real sidecar live through a bad week in minutes: a server
// that keeps changing its mind, kill -9 of whatever the sidecar runs and of
// itself, lies, full disks, corrupt journals and people who give orders. At each
// calm point a judge looks at the invariants I1 to I7 of the host.
//
// What is done is decided by a seed alone, so a run can be repeated; at which
// moment of an update it hits is the machine's to say.
package soak

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Options say how long and how to shake.
type Options struct {
	Seed     uint64
	Kills    int                              // the run ends at the first calm point after as many kill -9s
	Burst    int                              // faults between two calm points
	Binary   string                           // an ops-updater with fault points
	Dir      string                           // an empty directory; its filesystems are unmounted at the end
	Progress func(format string, args ...any) // a line for people at each calm point
}

// Tally is what happened.
type Tally struct {
	Rounds   int
	Kills    map[string]int // kill -9s by what was killed
	Faults   map[string]int // everything that was done to the host, by name
	Wanted   int            // agents that came to rest at the version that was wanted
	Previous int            // agents that came to rest at another one, with the reason reported
	Beats    int            // heartbeats that the server heard
	Took     time.Duration
	Untried  []string // faults that cannot be had on this machine
}

// KillCount is how many processes got a SIGKILL.
func (t Tally) KillCount() (n int) {
	for _, k := range t.Kills {
		n += k
	}
	return n
}

// String is the tally in one line.
func (t Tally) String() string {
	return fmt.Sprintf("%d rounds, %d kill -9 (%s), faults: %s; at rest %d times at what was wanted, %d times at the previous version with a reason; %d heartbeats; %s",
		t.Rounds, t.KillCount(), counts(t.Kills), counts(t.Faults), t.Wanted, t.Previous, t.Beats, t.Took.Round(time.Second))
}

func counts(m map[string]int) string {
	var parts []string
	for name, n := range m {
		parts = append(parts, fmt.Sprintf("%s %d", name, n))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

// run is one soak.
type run struct {
	Options
	host  *host
	meta  *server
	tally Tally
	step  uint64 // of the schedule
	wants map[string]want
	fixed map[string]bool // agents that stay where they are until the next calm point
}

// Run shakes a host until there were enough kills. The error is the first breach
// of an invariant, with what is needed to look for its cause.
func Run(ctx context.Context, o Options) (Tally, error) {
	r := &run{
		Options: o, wants: map[string]want{}, fixed: map[string]bool{},
		tally: Tally{Kills: map[string]int{}, Faults: map[string]int{}},
	}
	began := time.Now()
	err := r.run(ctx)
	if err != nil {
		err = fmt.Errorf("seed %d, round %d: %w", o.Seed, r.tally.Rounds+1, err)
	}
	r.tally.Took = time.Since(began)
	if r.meta != nil {
		r.tally.Beats = r.meta.beatCount()
	}
	return r.tally, err
}

func (r *run) run(ctx context.Context) (err error) {
	if r.host, err = newHost(r.Options); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, r.host.describe())
		}
		r.host.close()
	}()
	r.tally.Untried = r.host.untried
	if r.meta, err = newServer(r.host); err != nil {
		return err
	}
	defer r.meta.close()
	if err := r.host.configure(r.meta.url()); err != nil {
		return err
	}
	for _, name := range agents {
		r.wants[name] = want{version: versions[0].name, place: r.host.places[0]}
	}
	if err := r.calmDown(ctx); err != nil {
		return fmt.Errorf("before anything was done: %w", err)
	}
	for r.tally.KillCount() < r.Kills {
		began := time.Now()
		if err := r.shake(ctx); err != nil {
			return err
		}
		shaken := time.Now()
		if err := r.calmDown(ctx); err != nil {
			return err
		}
		r.tally.Rounds++
		r.Progress("soak: seed %d, round %d: %d of %d kills; %d at what was wanted, %d at the previous one with a reason; shaken for %s, at rest %s later",
			r.Seed, r.tally.Rounds, r.tally.KillCount(), r.Kills, r.tally.Wanted, r.tally.Previous,
			shaken.Sub(began).Round(time.Second/10), time.Since(shaken).Round(time.Second/10))
	}
	return nil
}

// dice are those of the next step. Each step has its own, so that what one takes
// more or less of them, because of the moment it came at, changes no later one.
func (r *run) dice() *rand.Rand {
	r.step++
	return rand.New(rand.NewPCG(r.Seed, r.step))
}

// shake does one burst of faults.
func (r *run) shake(ctx context.Context) error {
	clear(r.fixed)
	for range r.Burst {
		d := r.dice()
		f := pick(d, faults)
		did, err := f.do(ctx, r, d)
		if err != nil {
			return err
		}
		if did {
			r.tally.Faults[f.name]++
		}
		if err := pause(ctx, time.Duration(20+d.IntN(300))*time.Millisecond); err != nil {
			return err
		}
		if err := r.host.checkAlive(r.tally.Kills); err != nil {
			return err
		}
		// A sidecar that is down is not shaken: most of the time it is not.
		if !r.host.isUp() && d.IntN(4) > 0 {
			if err := r.host.start(pickFaultPoint(d)); err != nil {
				return err
			}
		}
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
