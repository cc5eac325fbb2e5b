package soak

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// fault is one thing that happens to a host.
type fault struct {
	name   string
	weight int
	// do does it and says whether there was anything to do it to.
	do func(ctx context.Context, r *run, d *rand.Rand) (bool, error)
}

// faults is filled by init, since faults look at each other.
var faults []fault

func init() {
	faults = []fault{
		{"the sidecar is killed", 30, killSidecar},
		{"a child is killed", 18, killOne("child", func(h *host) []process { return h.children() })},
		{"a control script is killed", 8, killOne("control script", func(h *host) []process { return h.scripts() })},
		{"an agent crashes", 8, killApp},
		{"the server wants something else", 22, changeMind},
		{"the server's mood", 12, changeMood},
		{"a disk is full", 5, fillDisk},
		{"disks have space again", 4, emptyDisks},
		{"a journal is corrupt", 4, corruptJournal},
		{"a person gives an order", 6, giveOrder},
	}
}

func pick(d *rand.Rand, from []fault) fault {
	sum := 0
	for _, f := range from {
		sum += f.weight
	}
	n := d.IntN(sum)
	for _, f := range from {
		if n -= f.weight; n < 0 {
			return f
		}
	}
	return from[0]
}

func one[T any](d *rand.Rand, from []T) T { return from[d.IntN(len(from))] }

// Moments of an update at which a sidecar may be started to kill itself.
var faultPoints = []string{
	"sidecar.downloading", "sidecar.staging", "sidecar.stopping", "sidecar.stopped", "sidecar.starting",
	"sidecar.activated", "sidecar.started", "sidecar.probation", "sidecar.proved", "sidecar.ended",
	"sidecar.rollingBack", "sidecar.flippedBack", "sidecar.restarted",
	"child.install.before", "install.downloaded", "install.staged", "install.synced", "child.install.after",
	"child.stop.before", "control.stop", "child.stop.after", "child.activate.before", "activate.write", "activate.done",
	"child.start.before", "control.start", "child.start.after", "child.probe.before", "child.probe.after", "child.prune.before",
}

func pickFaultPoint(d *rand.Rand) string {
	if d.IntN(2) == 0 {
		return ""
	}
	return one(d, faultPoints) + ":kill"
}

func killSidecar(_ context.Context, r *run, d *rand.Rand) (bool, error) {
	if !r.host.isUp() {
		return false, r.host.start(pickFaultPoint(d))
	}
	r.host.kill()
	r.tally.Kills["sidecar"]++
	if d.IntN(5) == 0 { // it stays away for a while
		return true, nil
	}
	return true, r.host.start(pickFaultPoint(d))
}

func killOne(what string, list func(*host) []process) func(context.Context, *run, *rand.Rand) (bool, error) {
	return func(_ context.Context, r *run, d *rand.Rand) (bool, error) {
		all := list(r.host)
		if len(all) == 0 {
			return false, nil
		}
		if syscall.Kill(one(d, all).pid, syscall.SIGKILL) != nil {
			return false, nil // it has just ended
		}
		r.tally.Kills[what]++
		return true, nil
	}
}

func killApp(_ context.Context, r *run, d *rand.Rand) (bool, error) {
	apps := r.host.apps(one(d, shaken))
	if len(apps) == 0 || syscall.Kill(apps[0].pid, syscall.SIGKILL) != nil {
		return false, nil
	}
	r.tally.Kills["agent"]++
	return true, nil
}

func changeMind(_ context.Context, r *run, d *rand.Rand) (bool, error) {
	for _, agent := range shaken {
		if d.IntN(2) == 0 {
			continue
		}
		w := want{version: one(d, versions).name, place: r.wants[agent].place}
		if d.IntN(4) == 0 && !r.fixed[agent] {
			w.place = one(d, r.host.places)
		}
		switch d.IntN(10) {
		case 0:
			w.cmd = "stop"
		case 1:
			w.absent = true
		case 2:
			w.cmd = "dance"
		}
		r.wants[agent] = w
	}
	r.meta.want(r.wants)
	return true, nil
}

func changeMood(_ context.Context, r *run, d *rand.Rand) (bool, error) {
	r.meta.setMood(one(d, moods))
	return true, nil
}

func fillDisk(_ context.Context, r *run, d *rand.Rand) (bool, error) {
	if len(r.host.disks) == 0 {
		return false, nil
	}
	return true, r.host.fill(one(d, r.host.disks))
}

func emptyDisks(_ context.Context, r *run, _ *rand.Rand) (bool, error) {
	r.host.empty()
	return true, nil
}

// corruptJournal destroys what is remembered of an agent. Where an agent is, of two
// work directories, only the journal knows, so what is on its way between them is
// left alone, and stays where it is until the next calm point.
func corruptJournal(_ context.Context, r *run, d *rand.Rand) (bool, error) {
	agent := one(d, shaken)
	heard, _ := r.meta.last()
	how := d.IntN(5)
	if heard[agent].WorkDir != r.wants[agent].place || len(r.host.placesOf(agent)) != 1 {
		return false, nil
	}
	r.fixed[agent] = true
	path := filepath.Join(r.host.varDir, "journal", agent+".json")
	data, err := os.ReadFile(path)
	if err != nil {
		return false, nil
	}
	r.host.down(r)
	switch how {
	case 0:
		data = nil
	case 1:
		data = make([]byte, len(data))
	case 2:
		data = data[:len(data)/2]
	case 3:
		data = []byte(`{"name": 7, "txn": [[[`)
	case 4:
		for i := range data {
			data[i] ^= byte(d.IntN(256))
		}
	}
	// A full disk keeps the file as short as it gets, which is corrupt enough.
	_ = os.WriteFile(path, data, 0o600)
	return true, r.host.start("")
}

// down kills a sidecar that is up.
func (h *host) down(r *run) {
	if h.isUp() {
		h.kill()
		r.tally.Kills["sidecar"]++
	}
}

// placesOf are the work directories in which an agent has anything.
func (h *host) placesOf(agent string) (places []string) {
	for _, place := range h.places {
		if _, err := os.Lstat(filepath.Join(place, agent)); err == nil {
			places = append(places, place)
		}
	}
	return places
}

// giveOrder runs a command of a person. It may be refused: there may be nothing to
// go back to, or no sidecar.
func giveOrder(ctx context.Context, r *run, d *rand.Rand) (bool, error) {
	agent := one(d, shaken)
	order := one(d, [][]string{
		{"hold", agent, "--reason", "soak", "--for", "20s"},
		{"unhold", agent},
		{"rollback", agent, "--reason", "soak"},
		{"clear", agent},
		{"reload"},
		{"status", "--json"},
		{"plan"},
	})
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if _, err := r.host.command(ctx, order...); err != nil && ctx.Err() != nil {
		return false, fmt.Errorf("I6: an order is not answered: %w", err)
	}
	return true, nil
}
