package updater

import (
	"context"
	"os"
	"os/exec"
	"os/user"

	"github.com/ops-updater/ops-updater/internal/faultpoint"
)

// prepareDir makes what the agent's own user may not make itself.
func (e *Engine) prepareDir(p Place, _ string) error {
	_, err := user.Lookup(p.RunUser)
	return err
}

// command is the command line of a child that runs as user.
func (e *Engine) command(_ context.Context, _ string) (*exec.Cmd, error) {
	argv := e.config().Child
	cmd := exec.Command(argv[0], argv[1:]...) //nolint:noctx // ended by closing its input
	cmd.Env = append(os.Environ(), faultpoint.Environment()...)
	return cmd, nil
}
