package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/local"
)

func (a *app) beatCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "beat",
		Short: "make the running sidecar ask the server now, and say what came of it",
		Long: `Make the running sidecar ask the server now instead of at its next heartbeat,
and say what came of it: which server answered, and when the next heartbeat goes
out. What the answer wants is done by the sidecar afterwards; once waits for it.
Exit code 1 when no server answered.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			daemon, _, err := a.runningSidecar(cmd.Context())
			if err != nil {
				return err
			}
			h, err := daemon.Beat(cmd.Context())
			switch {
			case err != nil:
				return err
			case asJSON:
				err = a.printJSON(h)
			default:
				_, err = fmt.Fprintln(a.stdio.Out, printable.Text(heartbeatInWords(h, time.Now())))
			}
			if err == nil && h.Failures > 0 {
				err = errors.New("no server answered the heartbeat, see above")
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// onceThrough has the running sidecar do what once does.
func (a *app) onceThrough(ctx context.Context, daemon *local.Client, pid int) error {
	_, _ = fmt.Fprintf(a.stdio.Err, "the sidecar is running with pid %d and does it\n", pid)
	for range 2 { // what is wanted, and when that is done, what was reached
		h, err := daemon.Beat(ctx)
		if err == nil && h.Failures > 0 {
			err = errors.New(h.Error)
		}
		if err == nil {
			err = a.awaitSettled(ctx, daemon)
		}
		if err != nil {
			return err
		}
	}
	s, err := daemon.Status(ctx)
	if err != nil {
		return err
	}
	return a.concludeBeat(s.Agents)
}

// awaitSettled tells meanwhile what is going on.
func (a *app) awaitSettled(ctx context.Context, daemon *local.Client) error {
	settled := make(chan error, 1)
	go func() { settled <- daemon.Settle(ctx) }()
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	said := map[string]meta.Phase{}
	for {
		select {
		case err := <-settled:
			return err
		case <-tick.C:
		}
		s, err := daemon.Status(ctx)
		if err != nil {
			continue // settled tells why
		}
		for _, r := range s.Agents {
			if r.Phase != meta.PhaseIdle && said[r.Name] != r.Phase {
				said[r.Name] = r.Phase
				_, _ = fmt.Fprintf(a.stdio.Err, "%s %s: %s\n", r.Name, printable.Text(r.DesiredVersion), r.Phase)
			}
		}
	}
}

// concludeBeat shows what was reached.
func (a *app) concludeBeat(agents []meta.RealAgent) error {
	if err := a.showOutcome(agents); err != nil {
		return err
	}
	if slices.ContainsFunc(agents, func(r meta.RealAgent) bool { return r.Error != "" }) {
		return errors.New("not every agent is as wanted, see above")
	}
	return nil
}
