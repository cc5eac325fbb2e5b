package runas

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"
)

// createTimeout bounds the system's own tool for new users.
const createTimeout = 30 * time.Second

// Ensure makes a system user, with a group of the same name and a home
// directory, when there is none of that name. created is true when it did.
func Ensure(ctx context.Context, name string) (created bool, err error) {
	_, err = Lookup(ctx, name)
	if !errors.Is(err, ErrUnknownUser) {
		return false, err
	}
	if os.Geteuid() != 0 {
		return false, &Error{User: name, Why: fmt.Sprintf("only root can create the user: run “useradd --system --user-group --create-home %s” as root", name), Err: ErrUnknownUser}
	}
	if err := createUser(ctx, name); err != nil {
		return false, err
	}
	_, err = Lookup(ctx, name)
	return err == nil, err
}

// creators are the tools in use, in the order they are looked for.
var creators = [][]string{
	{"useradd", "--system", "--user-group", "--create-home", "--shell", "/bin/false"},
	{"adduser", "-S", "-D", "-s", "/bin/false"}, // busybox
}

func createUser(ctx context.Context, name string) error {
	for _, argv := range creators {
		tool, err := exec.LookPath(argv[0])
		if err != nil {
			continue
		}
		return runTool(ctx, tool, append(argv[1:len(argv):len(argv)], name), name)
	}
	return &Error{User: name, Why: "the user does not exist, and neither useradd nor adduser is here to create it", Err: ErrUnknownUser}
}

func runTool(ctx context.Context, tool string, args []string, name string) error {
	ctx, cancel := context.WithTimeout(ctx, createTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, tool, args...)
	cmd.Env = toolEnv()
	out := NewExcerpt(stderrLimit)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.WaitDelay = pipeDelay
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("cannot create user %s: %s says %q: %w", name, tool, lastLine(out.String()), err)
	}
	return nil
}
