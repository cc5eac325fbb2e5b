package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater"
	"github.com/ops-updater/ops-updater/updater/local"
)

func (a *app) holdCommand() *cobra.Command {
	var reason string
	var lasts length
	cmd := &cobra.Command{
		Use:   "hold AGENT",
		Short: "keep AGENT at the version it has, whatever the server wants",
		Example: `  ops-updater hold falcon-agent --reason "debugging ticket 4711"
  ops-updater hold falcon-agent --for 2h`,
		Args: oneAgent,
		RunE: func(cmd *cobra.Command, args []string) error {
			o := local.Order{Verb: local.VerbHold, Agent: args[0], Reason: reason}
			if lasts > 0 {
				o.Until = time.Now().Add(time.Duration(lasts))
			}
			return a.giveOrder(cmd, o)
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for those who look later")
	cmd.Flags().Var(&lasts, "for", "end by itself after this time, such as 2h or 3d; a plain number is seconds")
	return cmd
}

func (a *app) orderCommand(verb local.Verb, short string) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use: string(verb) + " AGENT", Short: short, Args: oneAgent,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.giveOrder(cmd, local.Order{Verb: verb, Agent: args[0], Reason: reason})
		},
	}
	if verb == local.VerbRollback {
		cmd.Flags().StringVar(&reason, "reason", "", "why, for those who look later")
	}
	return cmd
}

// giveOrder takes an order to the daemon, or to the state on disk when none runs.
func (a *app) giveOrder(cmd *cobra.Command, o local.Order) error {
	daemon, config, err := a.runningSidecar(cmd.Context())
	if err != nil {
		return err
	}
	o.By = currentUserName()
	if err := o.Validate(); err != nil {
		return usageError{err}
	}
	err = daemon.Do(cmd.Context(), o)
	if errors.Is(err, local.ErrNotRunning) {
		err = updater.OrderOffline(config, zerolog.Nop(), o)
	}
	if err != nil {
		return err
	}
	if _, err = fmt.Fprintf(a.stdio.Out, "%s: %s\n", o.Agent, done[o.Verb]); o.Verb == local.VerbHold {
		a.hintUnknown(cmd, daemon, o.Agent)
	}
	return err
}

// hintUnknown: an agent may be held before it comes, but more often its name
// was mistyped.
func (a *app) hintUnknown(cmd *cobra.Command, daemon *local.Client, agent string) {
	s, err := daemon.Status(cmd.Context())
	if err != nil || slices.ContainsFunc(s.Agents, func(r meta.RealAgent) bool { return r.Name == agent }) {
		return
	}
	_, _ = fmt.Fprintf(a.stdio.Err, "hint: this host has no agent %s yet; ops-updater status lists those it has, and ops-updater unhold %s takes this back\n", agent, agent)
}

var done = map[local.Verb]string{
	local.VerbHold:     "held at the version it has",
	local.VerbUnhold:   "follows the server again",
	local.VerbRollback: "goes back to its previous version; ops-updater status shows how far it is",
	local.VerbClear:    "failures forgotten",
}

func (a *app) reloadCommand() *cobra.Command {
	return &cobra.Command{
		Use: "reload", Short: "make the running sidecar read its configuration again", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			daemon, _, err := a.runningSidecar(cmd.Context())
			if err != nil {
				return err
			}
			r, err := daemon.Reload(cmd.Context())
			if err != nil {
				return err
			}
			if len(r.Restart) > 0 {
				_, _ = fmt.Fprintf(a.stdio.Err, "hint: %s changed, which only counts after ./control restart\n", strings.Join(r.Restart, " and "))
			}
			_, err = fmt.Fprintln(a.stdio.Out, "configuration reloaded")
			return err
		},
	}
}

func (a *app) planCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "plan", Short: "say what would be done now about every agent, and why; do nothing", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			plan, err := a.currentPlan(cmd.Context())
			if err != nil {
				return err
			}
			return a.showPlan(plan, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// currentPlan asks the running sidecar, or plans without one.
func (a *app) currentPlan(ctx context.Context) (local.Plan, error) {
	daemon, config, err := a.runningSidecar(ctx)
	if err != nil {
		return local.Plan{}, err
	}
	plan, err := daemon.Plan(ctx)
	if errors.Is(err, local.ErrNotRunning) {
		return updater.PlanOffline(ctx, config, zerolog.Nop())
	}
	return plan, err
}

func (a *app) showPlan(plan local.Plan, asJSON bool) error {
	if asJSON {
		return a.printJSON(plan)
	}
	if len(plan.Steps) == 0 {
		_, err := fmt.Fprintln(a.stdio.Out, "no agent is wanted or known on this host")
		return err
	}
	t := tabwriter.NewWriter(a.stdio.Out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "AGENT\tACT\tFROM\tTO\tWHY")
	for _, s := range plan.Steps {
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", printable.Text(s.Agent), s.Act, orDash(s.From), orDash(s.To), printable.Text(reasonInWords(s)))
	}
	return t.Flush()
}

func reasonInWords(s local.Step) string {
	if s.Until.IsZero() {
		return s.Reason
	}
	return s.Reason + ", until " + s.Until.Local().Format(time.DateTime)
}

func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(jsonWriter{a.stdio.Out})
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false) // people read it, too
	return enc.Encode(v)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return printable.Text(s)
}
