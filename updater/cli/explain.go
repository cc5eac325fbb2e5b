package cli

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/local"
)

func (a *app) explainCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "explain [AGENT]",
		Short: "say what is wanted of AGENT, what is there, and what this host refuses, and why; do nothing",
		Long: `Say of one agent, or of all, what the server wants, what is there and who vouched for
it, what is next, and what of the wish this host refuses or puts off: because a
release is not signed as trust in cfg.json requires, because policy in cfg.json does
not allow it, because it failed before, because somebody holds it. Each with what
a person can do about it. A signature is looked for when a release is downloaded:
of one that was not tried yet nothing is known.`,
		Example: "  ops-updater explain falcon-agent",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usageError{fmt.Errorf("want the name of one agent, or none for all, got %d arguments", len(args))}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			plan, err := a.currentPlan(cmd.Context())
			if err != nil {
				return err
			}
			if len(args) > 0 {
				if plan, err = planOfOne(plan, args[0]); err != nil {
					return err
				}
			}
			if asJSON {
				return a.printJSON(plan)
			}
			return a.showExplanation(cmd, plan)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// planOfOne is the part of plan that is about one agent.
func planOfOne(plan local.Plan, agent string) (local.Plan, error) {
	i := slices.IndexFunc(plan.Steps, func(s local.Step) bool { return s.Agent == agent })
	if i < 0 {
		return plan, hinted{fmt.Errorf("no agent %s is wanted or known on this host", agent), "ops-updater explain, without a name, explains all there are"}
	}
	return local.Plan{Steps: plan.Steps[i : i+1]}, nil
}

func (a *app) showExplanation(cmd *cobra.Command, plan local.Plan) error {
	trust, err := a.currentTrust(cmd)
	if err != nil {
		return err
	}
	w := a.stdio.Out
	if trust != nil {
		_, _ = fmt.Fprintln(w, printable.Text(trustInWords(*trust, time.Now())))
	}
	if len(plan.Steps) == 0 {
		_, err := fmt.Fprintln(w, "no agent is wanted or known on this host")
		return err
	}
	for i, s := range plan.Steps {
		if i > 0 || trust != nil {
			_, _ = fmt.Fprintln(w)
		}
		if err := writeExplanation(w, s, trust); err != nil {
			return err
		}
	}
	return nil
}

func writeExplanation(w io.Writer, s local.Step, trust *local.Trust) error {
	lines := []string{s.Agent + ": " + nextInWords(s)}
	if s.Wanted != nil || s.There != nil { // else nothing is known, or an older sidecar runs, which does not say it
		lines = append(lines, "  wanted: "+wantedInWords(s.Wanted), "  there: "+thereInWords(s.There, trust))
	}
	for _, r := range s.Refusals {
		why := "  refused: " + r.Why
		if r.Code != "" {
			why += " [" + r.Code + "]"
		}
		lines = append(lines, why)
		if r.Next != "" {
			lines = append(lines, "    next: "+r.Next)
		}
	}
	for _, line := range lines {
		if _, err := fmt.Fprintln(w, printable.Text(line)); err != nil {
			return err
		}
	}
	return nil
}

// nextInWords is what is done next, and why, unless a refusal says that below.
func nextInWords(s local.Step) string {
	said := slices.ContainsFunc(s.Refusals, func(r local.Refusal) bool { return strings.Contains(s.Reason, r.Why) })
	switch {
	case !said:
		return s.Act + ", " + reasonInWords(s)
	case s.Until.IsZero():
		return s.Act + ", for what is refused below"
	}
	return s.Act + " until " + s.Until.Local().Format(time.DateTime) + ", for what is refused below"
}

func wantedInWords(s *local.Stand) string {
	if s == nil {
		return "nothing: the server does not list it"
	}
	says := fmt.Sprintf("%s, %s", cmp.Or(s.Version, "no version"), cmp.Or(s.State, "only to be reported"))
	if s.From != "" && s.State == meta.CmdStart {
		says += " from " + s.From
	}
	return says + placeInWords(*s)
}

func thereInWords(s *local.Stand, trust *local.Trust) string {
	if s == nil {
		return "nothing"
	}
	word, _, _ := strings.Cut(s.State, ":")
	says := fmt.Sprintf("%s, %s", s.Version, cmp.Or(word, "unknown")) + placeInWords(*s)
	if vouched := vouchedInWords(s.Key, trust); vouched != "" {
		says += "; " + vouched
	}
	return says
}

func placeInWords(s local.Stand) string {
	if s.WorkDir == "" {
		return ""
	}
	return fmt.Sprintf(" in %s as %s", s.WorkDir, s.RunUser)
}
