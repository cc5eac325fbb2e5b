package updater

import (
	"context"
	"fmt"
	"time"

	"github.com/ops-updater/ops-updater/updater/job"
	"github.com/ops-updater/ops-updater/updater/plan"
)

// outputPatience is how long reading an agent's output may take.
const outputPatience = 10 * time.Second

// Output is the end of what an agent's control script printed on its last
// starts, read as the agent's own user.
func (e *Engine) Output(ctx context.Context, name string) (string, error) {
	k, err := e.findKeeper(name)
	if err != nil {
		return "", err
	}
	s := k.currentState()
	child, err := e.pool.Lend(ctx, s.RunUser, false)
	if err != nil {
		return "", fmt.Errorf("cannot read the output of %s: %w", name, err)
	}
	defer e.pool.Lose(child)
	dir := dirOf(plan.Place{WorkDir: s.WorkDir}, name)
	r, err := child.Do(ctx, job.Job{Op: job.OpOutput, Dir: dir}, outputPatience, nil)
	return r.Output, err
}
