package updater

import (
	"context"
	"sync"
	"time"

	"github.com/ops-updater/ops-updater/updater/agent"
)

// What an agent writes to the output that control start gave it is cut at every
// look. Between two looks it may write this much: the more it writes, the
// sooner the next look.
const (
	outputBetweenLooks = 4 << 20
	outputEvery        = time.Second // the soonest
)

// pauseForOutput is pause, or less where an agent that had freed bytes of
// output cut after since would write too much until then.
func pauseForOutput(pause time.Duration, freed int64, since time.Duration) time.Duration {
	if freed == 0 {
		return pause
	}
	soon := time.Duration(float64(since) * outputBetweenLooks / float64(freed))
	return min(pause, max(soon, outputEvery))
}

// outputLimits cuts the outputs of a child's agents for as long as the child
// lives: a download may take an hour, and the old version writes on.
type outputLimits struct {
	mu    sync.Mutex
	dirs  map[agent.Dir]bool
	ended chan struct{}
}

func limitOutputs(ctx context.Context) *outputLimits {
	o := &outputLimits{dirs: map[agent.Dir]bool{}, ended: make(chan struct{})}
	go func() {
		defer close(o.ended)
		tick := time.NewTicker(outputEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				o.cut()
			case <-ctx.Done():
				return
			}
		}
	}()
	return o
}

func (o *outputLimits) add(d agent.Dir) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.dirs[d] = true
}

func (o *outputLimits) cut() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for d := range o.dirs {
		d.LimitOutput()
	}
}

func (o *outputLimits) wait() { <-o.ended }
