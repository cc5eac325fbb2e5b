package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ops-updater/ops-updater/meta/api"
)

func (a *app) explainCommand() *cobra.Command {
	return &cobra.Command{
		Use: "explain HOST", Short: "What a host shall run, and which rule says so", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.showView(cmd, func(ctx context.Context, c *api.Client, w io.Writer) error {
				name, err := hostNamed(ctx, c, args[0])
				if isNotFound(err) {
					name, err = args[0], nil // one that is to come
				}
				if err != nil {
					return err
				}
				e, err := c.Explain(ctx, name)
				if err != nil {
					return err
				}
				return a.print(w, e, func(w io.Writer) { a.printExplanation(w, e) })
			})
		},
	}
}

func (a *app) printExplanation(w io.Writer, e api.Explanation) {
	known := ""
	if !e.Known {
		known = " (never heard of: only its name was matched)"
	}
	writef(w, "%s%s: groups %s\n", a.paint(a.out, bold, e.Host), known, cmp.Or(strings.Join(e.Groups, ", "), "none"))
	if t := e.Trust; t != nil {
		writef(w, "verifies %s\n", t.InWords())
		if t.Refused != "" {
			writef(w, "%s\n", a.paint(a.out, red, "it does not believe this server: "+withCode(t.Refused, t.Reason)))
		}
	}
	for _, p := range e.Problems {
		writef(w, "%s\n", a.paint(a.out, red, "problem: "+p))
	}
	if len(e.Agents) == 0 {
		writef(w, "nothing matches it, so it is left alone\n")
	}
	for _, ag := range e.Agents {
		a.printAgentExplanation(w, ag)
	}
}

func (a *app) printAgentExplanation(w io.Writer, ag api.AgentExplanation) {
	writef(w, "\n%s %s %s: %s\n", a.paint(a.out, bold, ag.Agent), cmp.Or(ag.Version, "-"), cmp.Or(ag.Cmd, "only reports"), ag.Reason)
	if ag.Problem != "" {
		writef(w, "  %s\n", a.paint(a.out, red, ag.Problem))
	}
	if ag.SignedBy != "" {
		writef(w, "  signed by %s\n", ag.SignedBy)
	}
	if r := ag.Refusal; r != nil {
		kind := red
		if r.Warns {
			kind = yellow
		}
		writef(w, "  %s\n", a.paint(a.out, kind, withCode(r.Text, r.Code)))
		writef(w, "  hint: %s\n", r.Hint)
	}
	if ag.HostError != "" {
		writef(w, "  the host says: %s\n", a.paint(a.out, red, withCode(ag.HostError, ag.HostReason)))
	}
	for _, r := range ag.Rules {
		a.printRule(w, r)
	}
	if len(ag.Remits) > 0 {
		writef(w, "  within the remits %s\n", ag.Remits)
	}
}

func (a *app) printRule(w io.Writer, r api.Rule) {
	mark := painted("  ")
	if r.Wins {
		mark = a.paint(a.out, green, "→ ")
	}
	what := r.Scope.String()
	if r.Scope.Kind == api.ScopeGroup {
		what += fmt.Sprintf(" (priority %d)", r.Priority)
	}
	if r.Rollout != "" {
		what += " rollout " + r.Rollout + " " + r.State
	}
	writef(w, "  %s%s: %s, %s\n", mark, what, cmp.Or(r.Version, "no version"), r.Reason)
}
