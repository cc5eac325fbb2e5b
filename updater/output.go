package updater

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/ops-updater/ops-updater/updater/agent"
)

// outputPatience is how long reading an agent's output may take.
const outputPatience = 10 * time.Second

// Output is the end of what an agent's control script printed on its last
// starts, read as the agent's own user.
func (e *Engine) Output(ctx context.Context, name string) (string, error) {
	k, err := e.find(name)
	if err != nil {
		return "", err
	}
	s := k.snapshot()
	h, err := e.pool.lend(ctx, s.RunUser, false)
	if err != nil {
		return "", fmt.Errorf("cannot read the output of %s: %w", name, err)
	}
	defer e.pool.lose(h)
	dir := agent.Dir{Path: filepath.Join(s.WorkDir, name), Name: name}
	r, err := h.do(ctx, Job{Op: OpOutput, Dir: dir}, outputPatience, nil)
	return r.Output, err
}
