package pool

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ops-updater/ops-updater/updater/job"
)

// idler is a child that does nothing.
type idler struct{ ended atomic.Bool }

func (*idler) Do(context.Context, job.Job, time.Duration, func(job.Progress)) (job.Result, error) {
	return job.Result{}, nil
}
func (i *idler) Close() { i.ended.Store(true) }

func TestChildrenAreBoundedAndHangingOnesDelayNoOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		started := 0
		p := New(func(context.Context, string) (Child, error) { started++; return &idler{}, nil })
		var all []*Lent
		lend := func(urgent bool) bool {
			ctx, cancel := context.WithTimeout(t.Context(), slowAfter/4)
			defer cancel()
			l, err := p.Lend(ctx, "falcon", urgent)
			if err == nil {
				all = append(all, l)
			}
			return err == nil
		}
		for range maxQuick {
			lend(false)
		}
		if lend(false) || started != maxQuick {
			t.Errorf("%d children at work, and one more was lent", started)
		}
		if !lend(true) {
			t.Error("who has stopped an agent had to wait")
		}
		time.Sleep(slowAfter) // in the bubble's time: the first ones hang by now
		for range maxQuick {
			if !lend(false) {
				t.Fatal("agents that hang delay others")
			}
		}
		for range 100 {
			time.Sleep(slowAfter + time.Second)
			lend(false)
		}
		if most := maxQuick + maxSlow + 1; len(all) != most {
			t.Errorf("%d children; want at most %d", len(all), most)
		}
		for _, l := range all {
			p.GiveBack(l)
		}
		was := started
		if lend(false); started != was {
			t.Error("an idle child was not lent again")
		}
		p.GiveBack(all[len(all)-1])
		time.Sleep(2 * idleFor)
		for _, l := range all {
			if !l.Child.(*idler).ended.Load() {
				t.Error("an idle child is kept for ever")
			}
		}
		p.Close()
	})
}
