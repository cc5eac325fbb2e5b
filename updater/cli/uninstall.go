package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/updater"
	"github.com/ops-updater/ops-updater/updater/config"
	"github.com/ops-updater/ops-updater/updater/local"
)

// endPatience is how long a sidecar may take to end: it finishes what it has stopped an
// agent for.
const endPatience = 5 * time.Minute

// What becomes of the agents.
const (
	agentsKeep = "keep"
	agentsStop = "stop"
)

func (a *app) uninstallCommand() *cobra.Command {
	var agents string
	var yes, dry bool
	cmd := &cobra.Command{
		Use:   "uninstall",
		Short: "take the sidecar off this host, and let its agents run on or stop them",
		Long: `Take the sidecar off this host: end it, and remove its program, its configuration,
its credential and what it keeps. Agents run on, or are stopped with --agents stop;
their directories stay in either case, and are named. What a package installed is the
package manager's to remove.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if agents != agentsKeep && agents != agentsStop {
				return usageError{fmt.Errorf("--agents is %q: want %s or %s", agents, agentsKeep, agentsStop)}
			}
			c, err := a.loadConfig()
			if err != nil {
				return err
			}
			return a.uninstall(cmd.Context(), c, agents == agentsStop, yes, dry)
		},
	}
	cmd.Flags().StringVar(&agents, "agents", agentsKeep, "what becomes of the agents: keep or stop")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "say what would be removed, and remove nothing")
	_ = cmd.RegisterFlagCompletionFunc("agents", cobra.FixedCompletions([]string{agentsKeep, agentsStop}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (a *app) uninstall(ctx context.Context, c config.Config, stopAgents, yes, dry bool) error {
	found, err := updater.FindInstallation(c)
	if err != nil {
		return err
	}
	for _, path := range found.Files {
		if owner := packageOf(ctx, path); owner != "" {
			return hinted{fmt.Errorf("%s belongs to a package", path), "remove that: " + owner}
		}
	}
	verb := "remove"
	if dry {
		verb = "would remove"
	}
	for _, path := range found.Files {
		_, _ = fmt.Fprintf(a.stdio.Out, "%s %s\n", verb, printable.Text(path))
	}
	for _, path := range found.Left {
		_, _ = fmt.Fprintf(a.stdio.Out, "keep   %s, an agent's\n", printable.Text(path))
	}
	if dry {
		return nil
	}
	if !yes {
		if err := a.confirm("Take the sidecar off this host?"); err != nil {
			return err
		}
	}
	if err := endSidecar(ctx, c, found.Unit); err != nil {
		return err
	}
	if stopAgents {
		meter := newMeter(a.stdio.Err)
		err := updater.StopAgents(ctx, c, onceLog(a.stdio.Err), meter.showProgress)
		meter.endLine()
		if err != nil {
			return hinted{fmt.Errorf("nothing was removed: %w", err), "stop these yourself, or say --agents keep"}
		}
	}
	if err := found.Remove(); err != nil {
		return fmt.Errorf("not everything could be removed: %w", err)
	}
	if found.Unit {
		_ = runQuietly(ctx, "systemctl", "daemon-reload")
	}
	_, err = fmt.Fprintln(a.stdio.Out, "the sidecar is gone")
	return err
}

// confirm asks the person at the terminal; without one somebody has to have said --yes.
func (a *app) confirm(question string) error {
	in, ok := a.stdio.In.(*os.File)
	if !ok || !isTerminal(in) {
		return usageError{errors.New("nobody can be asked here: say --yes, or --dry-run to see what would be done")}
	}
	_, _ = fmt.Fprintf(a.stdio.Err, "%s [y/N] ", question)
	line, _ := bufio.NewReader(in).ReadString('\n')
	if word := strings.ToLower(strings.TrimSpace(line)); word != "y" && word != "yes" {
		return errors.New("nothing was done")
	}
	return nil
}

// endSidecar ends the sidecar that runs, and keeps systemd from starting it again.
func endSidecar(ctx context.Context, c config.Config, unit bool) error {
	if unit {
		_ = runQuietly(ctx, "systemctl", "disable", "--now", "ops-updater")
	}
	daemon := local.NewClient(c.VarDir)
	deadline := time.Now().Add(endPatience)
	told := false
	for {
		s, err := daemon.Status(ctx)
		if errors.Is(err, local.ErrNotRunning) && updater.HasEnded(c.VarDir) {
			return nil
		}
		if err == nil && !told {
			told = true
			if err := syscall.Kill(s.Pid, syscall.SIGTERM); err != nil {
				return fmt.Errorf("cannot end the sidecar, process %d: %w", s.Pid, err)
			}
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the sidecar has not ended after %s; nothing was removed", endPatience)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// packageOf is the command that removes the package that path belongs to, or empty.
func packageOf(ctx context.Context, path string) string {
	if runQuietly(ctx, "dpkg-query", "-S", path) == nil {
		return "apt purge ops-updater"
	}
	if runQuietly(ctx, "rpm", "-qf", path) == nil {
		return "dnf remove ops-updater"
	}
	return ""
}

// runQuietly runs a program that may not be there.
func runQuietly(ctx context.Context, name string, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return exec.CommandContext(ctx, name, args...).Run()
}
