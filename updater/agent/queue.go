package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ops-updater/ops-updater/internal/filelock"
	"github.com/ops-updater/ops-updater/internal/pause"
)

// All runs of one agent's control script, whoever asks for them, go through
// one queue: the lock on .control.lock. Whoever has it has a turn, in which it
// may run the script as often as it needs to ask, stop or start.
//
// A turn begins with what the turns before it may have left: a script whose
// waiting child was killed is ended, one whose child lives is waited for. That
// also keeps order where the filesystem knows no locks, and beside a sidecar
// of an older version, which takes none.

// ErrBusy is wrapped by errors that say who else is running the control
// script. What could not be asked is no evidence about the agent.
var ErrBusy = errors.New("its control script is at work for somebody else")

// queuePoll is how often a script that runs without a lock is looked at.
const queuePoll = 50 * time.Millisecond

// takeTurn waits for the queue, at most for patience, and makes sure that the
// agent is looked after by nobody but r.Owner. The runner that it returns has
// the turn until done is called. A runner that has one needs no other.
func (r Runner) takeTurn(ctx context.Context, patience time.Duration) (inTurn Runner, done func(), err error) {
	if r.inTurn {
		return r, func() {}, nil
	}
	turn, err := r.waitInQueue(ctx, patience)
	if err != nil {
		return r, nil, err
	}
	r.inTurn = true
	return r, turn.Release, nil
}

func (r Runner) waitInQueue(ctx context.Context, patience time.Duration) (*filelock.Lock, error) {
	deadline := time.Now().Add(patience)
	request := filelock.Request{Path: r.Dir.file(lockFile), Create: !r.Guest, Patience: patience}
	turn, err := filelock.Take(ctx, request)
	if errors.Is(err, filelock.ErrHeld) {
		return nil, r.Dir.busyError()
	}
	if err != nil {
		return nil, err
	}
	if err = r.clearTheWay(ctx, deadline); err == nil && !r.Guest && r.Owner != nil {
		err = r.Dir.takeOwnership(*r.Owner)
	}
	if err != nil {
		turn.Release()
		return nil, err
	}
	return turn, nil
}

// clearTheWay ends a script that was left, and waits for one that was not. A
// guest ends nothing.
func (r Runner) clearTheWay(ctx context.Context, deadline time.Time) error {
	for {
		run, running := r.Dir.scriptAtWork()
		switch {
		case !running:
			if !r.Guest && run != nil {
				r.Dir.forgetRun()
			}
			return nil
		case run.isLeftover() && r.Guest:
			return nil
		case run.isLeftover():
			return r.Dir.endLeftover(run)
		case !time.Now().Before(deadline):
			return r.Dir.busyError()
		}
		if !pause.For(ctx, queuePoll) {
			return ctx.Err()
		}
	}
}

// busyError says whose script is waited for.
func (d Dir) busyError() error {
	if run, running := d.scriptAtWork(); running {
		return fmt.Errorf("%w: %s", ErrBusy, run)
	}
	if holder, script := lockHolder(d.file(lockFile)); holder != 0 {
		return fmt.Errorf("%w: %s is being run by pid %d%s", ErrBusy, script.describe(d), holder, script.describeAge())
	}
	return ErrBusy
}

// InTurn does act, which changes the agent's files, in a turn of the queue.
func (r Runner) InTurn(ctx context.Context, act func() error) error {
	_, done, err := r.takeTurn(ctx, r.Timeouts.Start)
	if err != nil {
		return fmt.Errorf("cannot change %s: %w", r.Dir.Name, err)
	}
	defer done()
	return act()
}
