package updater

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ops-updater/ops-updater/updater/install"
)

// idler is a child that does nothing.
type idler struct{ ended atomic.Bool }

func (*idler) do(context.Context, Job, time.Duration, func(install.Progress)) (Result, error) {
	return Result{}, nil
}
func (i *idler) close() { i.ended.Store(true) }

func TestChildrenAreBoundedAndHangingOnesDelayNoOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		started := 0
		p := newPool(func(context.Context, string) (hands, error) { started++; return &idler{}, nil })
		var all []*lent
		lend := func(urgent bool) bool {
			ctx, cancel := context.WithTimeout(t.Context(), slowAfter/4)
			defer cancel()
			l, err := p.lend(ctx, "falcon", urgent)
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
			p.giveBack(l)
		}
		was := started
		if lend(false); started != was {
			t.Error("an idle child was not lent again")
		}
		p.giveBack(all[len(all)-1])
		time.Sleep(2 * idleFor)
		for _, l := range all {
			if !l.hands.(*idler).ended.Load() {
				t.Error("an idle child is kept for ever")
			}
		}
		p.close()
	})
}
