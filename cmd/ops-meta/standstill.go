package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/meta/api"
)

func (a *app) standstillCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "standstill", Short: "Whether the fleet stands still after a restore, and what would move if it ended", Args: cobra.NoArgs,
		Long: `After a restore, and whenever the server finds that its database went back to an
earlier moment, the fleet stands still: every host keeps what it reports, and
rollouts are paused. This shows what hosts would be told otherwise. Mend what is
wanted (deploy, rollout abort, apply) until that is what you mean, then say:
ops-meta standstill end`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.showView(cmd, func(ctx context.Context, c *api.Client, w io.Writer) error {
				r, err := c.Standstill(ctx)
				if err != nil {
					return err
				}
				return a.print(w, r, func(w io.Writer) { a.printStandstill(w, r) })
			})
		},
	}
	c.AddCommand(a.endStandstillCommand())
	return c
}

func (a *app) endStandstillCommand() *cobra.Command {
	var reason, seen string
	var yes bool
	c := &cobra.Command{
		Use: "end", Short: "Go: hosts are told what is wanted again", Args: cobra.NoArgs,
		Long: `Let hosts be told what is wanted again. Without a flag it shows what would move
and a code that stands for it; with --seen CODE it goes ahead if that is still
what would happen, with --yes whatever it is. Paused rollouts stay paused.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			r, err := c.Standstill(cmd.Context())
			if err != nil {
				return err
			}
			if r.Active && seen == "" && !yes {
				a.printStandstill(a.out, r)
				return &api.Error{
					Kind: api.KindConflict, Message: "the fleet still stands still: nothing was changed",
					Hint: "when that is what you mean: ops-meta standstill end --seen " + r.Seen,
				}
			}
			if yes {
				seen = r.Seen
			}
			if _, err := c.EndStandstill(cmd.Context(), api.EndStandstill{Seen: seen, Reason: reason}); err != nil {
				return err
			}
			a.say("the fleet no longer stands still; rollouts that were paused stay paused: ops-meta rollout list")
			return nil
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "for the record")
	c.Flags().StringVar(&seen, "seen", "", "the code of the difference that was looked at")
	c.Flags().BoolVar(&yes, "yes", false, "whatever the difference is by now")
	return c
}

// whyCell says which rule moves hosts, and what is known against that.
func whyCell(m api.Move) cell {
	if m.Bad != "" {
		return cell{m.Why + "; " + m.Bad, red}
	}
	return plain(m.Why)
}

func (a *app) printStandstill(w io.Writer, r api.StandstillReport) {
	if !r.Active {
		_, _ = fmt.Fprintln(w, "the fleet does not stand still: hosts are told what is wanted")
		return
	}
	_, _ = fmt.Fprintf(w, "the fleet stands still since %s: %s\n", ago(r.Standstill.Since), r.Standstill.Reason)
	_, _ = fmt.Fprintf(w, "%s, %d would go on as they are\n", printable.Count(r.Hosts, "host", "hosts"), r.Unchanged)
	if r.Unheard > 0 {
		_, _ = fmt.Fprintf(w, "%d have not reported since: what they run now is not known, and this list may grow\n", r.Unheard)
	}
	if len(r.Moves) == 0 {
		return
	}
	t := table{head: []string{"AGENT", "FROM", "TO", "HOSTS", "SUCH AS", "WHY"}}
	for _, m := range r.Moves {
		to := plain(m.To)
		if m.Cmd == "stop" {
			to = cell{"stop", yellow}
		}
		t.add(cell{m.Agent, bold}, plain(cmp.Or(m.From, "-")), to, plain(fmt.Sprint(m.Hosts)), plain(strings.Join(m.Sample[:min(3, len(m.Sample))], " ")), whyCell(m))
	}
	t.write(a, w)
}
