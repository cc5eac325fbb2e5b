package updater

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/ops-updater/ops-updater/updater/job"
	"github.com/ops-updater/ops-updater/updater/pool"
)

// What an agent writes to the output that control start gave it is cut every
// outputEvery, whatever else happens to it, and so bounded by what it can write
// in that time. Once it is known to write much, the next cut comes when it will
// have written outputBetween.
const (
	outputEvery   = 10 * time.Second
	outputSoonest = time.Second
	outputBetween = 4 << 20

	cutPatience = 10 * time.Second
)

// pauseForOutput is how long nothing is to be cut after freed bytes of one
// agent's output were, which it had written since.
func pauseForOutput(freed int64, since time.Duration) time.Duration {
	if freed == 0 {
		return outputEvery
	}
	soon := time.Duration(float64(since) * outputBetween / float64(freed))
	return min(outputEvery, max(soon, outputSoonest))
}

// outputs are the directories in which .control.out is to be cut, each with a
// process of its agent as far as one is known: where somebody removed the file,
// that process still has it.
type outputs map[job.Dir]int

// outputBook knows the outputs of each user. A user is in it for as long as
// somebody cuts for them.
type outputBook struct {
	mu sync.Mutex
	of map[string]outputs
}

// addOutput adds an output; first says that nobody cuts for user yet.
func (b *outputBook) addOutput(user string, d job.Dir, pid int) (first bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if first = b.of[user] == nil; first {
		b.of[user] = outputs{}
	}
	b.of[user][d] = max(pid, b.of[user][d])
	return first
}

// dropAgent forgets all outputs of the agent: it may have one in each of two places.
func (b *outputBook) dropAgent(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, of := range b.of {
		maps.DeleteFunc(of, func(d job.Dir, _ int) bool { return d.Name == name })
	}
}

// dueOf are user's outputs; without any the user leaves the book.
func (b *outputBook) dueOf(user string) outputs {
	b.mu.Lock()
	defer b.mu.Unlock()
	of := maps.Clone(b.of[user])
	if len(of) == 0 {
		delete(b.of, user)
	}
	return of
}

// noteOutput follows where the agent may write to, by the jobs that were done:
// a look says where it is now. Whoever only asks cuts nothing.
func (k *keeper) noteOutput(user string, j job.Job, r job.Result) {
	if j.Op == job.OpObserve || j.Op == job.OpEvict || j.Op == job.OpDisown {
		k.e.outputs.dropAgent(k.name)
	}
	nothing := j.Op == job.OpObserve && (r.Seen.Version == "" || r.Seen.OwnedBy != "")
	if nothing || j.Guest || j.Op == job.OpEvict || j.Op == job.OpDisown {
		return
	}
	if k.e.outputs.addOutput(user, j.Dir, max(r.Seen.Pid, r.Probe.Pid)) {
		k.e.limitOutputsOf(user)
	}
}

// limitOutputsOf cuts the outputs of user's agents for as long as there are any.
// One child does it for all of them, since a look at each alone would cost more.
func (e *Engine) limitOutputsOf(user string) {
	e.group.Go(func() {
		ctx, last, pause := e.ctx, time.Now(), outputEvery
		for {
			timer := time.NewTimer(pause)
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
				return
			}
			due := e.outputs.dueOf(user)
			if len(due) == 0 {
				return
			}
			freed := e.cutOutputs(ctx, user, due)
			pause = pauseForOutput(freed, time.Since(last))
			last = time.Now()
		}
	})
}

// cutOutputs returns how much the agent that wrote most had written. An output
// that cannot be reached is left until a look at its agent can.
func (e *Engine) cutOutputs(ctx context.Context, user string, due outputs) (freed int64) {
	var child *pool.Lent
	defer func() {
		if child != nil {
			e.pool.Lose(child) // nobody needs it for a long while
		}
	}()
	for d, pid := range due {
		var err error
		if child == nil {
			if child, err = e.pool.Lend(ctx, user, true); err != nil {
				return freed // looks at the agents fail as well, and say why
			}
		}
		r, err := child.Do(ctx, job.Job{Op: job.OpLimitOutput, Dir: d, Pid: pid}, cutPatience, nil)
		if ctx.Err() != nil {
			return freed
		}
		if err != nil {
			e.currentConfig().Log.Warn().Err(err).Str("agent", d.Name).Msg("cannot bound the agent's output until the next look at it")
			e.outputs.dropAgent(d.Name)
		}
		if errors.Is(err, pool.ErrLost) {
			e.pool.Lose(child)
			child = nil
		}
		freed = max(freed, r.Freed)
	}
	return freed
}
