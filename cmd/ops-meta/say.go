package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
)

// target is the scope that --group or --host names; everyone without them.
type target struct{ group, host string }

func (t *target) addFlags(c *cobra.Command) {
	c.Flags().StringVar(&t.group, "group", "", "only hosts that this group matches")
	c.Flags().StringVar(&t.host, "host", "", "only this host")
	c.MarkFlagsMutuallyExclusive("group", "host")
	for _, name := range []string{"group", "host"} {
		_ = c.Flags().SetAnnotation(name, ofScope, nil) // it is there
	}
}

func (t target) scope() api.Scope {
	switch {
	case t.host != "":
		return api.Scope{Kind: api.ScopeHost, Name: t.host}
	case t.group != "":
		return api.Scope{Kind: api.ScopeGroup, Name: t.group}
	}
	return api.Scope{Kind: api.ScopeEveryone}
}

func (a *app) deployCommand() *cobra.Command {
	d := deployment{app: a}
	c := &cobra.Command{
		Use: "deploy AGENT VERSION", Short: "Let hosts run a version", Args: cobra.ExactArgs(2),
		Long: `Let everyone, a group's hosts or one host run a version of an agent. It goes out as
a rollout with the agent's strategy, unless --now gives it to all hosts at once. What
was said of the scope before (run user, directory, config file) stays as it is.

--cmd, which says whether the agent shall run at all, takes effect at once.`,
		Example: "  ops-meta deploy node_exporter 1.9.1 --group canary --watch\n" +
			"  ops-meta deploy node_exporter 1.9.1 --now\n" +
			"  ops-meta deploy node_exporter 1.9.1 --host db-7 --cmd stop",
		RunE: func(cmd *cobra.Command, args []string) error {
			d.agent, d.version = args[0], args[1]
			return d.run(cmd)
		},
	}
	d.rollout.addFlags(c)
	c.Flags().StringVar(&d.cmd, "cmd", "", "start or stop, at once")
	c.Flags().BoolVar(&d.now, "now", false, "all hosts at once, without a rollout")
	return c
}

// deployment is one deploy.
type deployment struct {
	*app
	rollout             newRollout
	agent, version, cmd string
	now                 bool
}

// refuseIdle refuses flags about a rollout where there will be none: with them
// somebody means to go slowly.
func (d *deployment) refuseIdle(c *cobra.Command) error {
	atOnce := "now"
	if !d.now {
		atOnce = "cmd"
	}
	for _, name := range []string{"draft", "strategy", "stages", "soak", "deadline", "max-failed", "on-failure", "reason"} {
		if c.Flags().Changed(name) {
			return &usage{
				command: c, err: fmt.Errorf("give only one of --%s, --%s", name, atOnce),
				hint: fmt.Sprintf("--%s is of a rollout; with --%s all hosts are told at once, and there is none", name, atOnce),
			}
		}
	}
	return nil
}

func (d *deployment) run(cmd *cobra.Command) error {
	if d.now || d.cmd != "" {
		if err := d.refuseIdle(cmd); err != nil {
			return err
		}
		return d.atOnce(cmd.Context())
	}
	if err := d.rollout.complete(cmd, d.agent, d.version); err != nil {
		return err
	}
	return d.startRollout(cmd.Context(), d.rollout)
}

// atOnce tells all hosts of the scope.
func (d *deployment) atOnce(ctx context.Context) error {
	c, err := d.client()
	if err != nil {
		return err
	}
	as, err := d.assignment(ctx, c)
	if err != nil {
		return err
	}
	impact, err := c.AssignmentImpact(ctx, as)
	if err != nil {
		return err
	}
	if d.rollout.group == "" {
		if err := d.rollout.refuseUnknown(ctx, c, impact); err != nil {
			return err
		}
	}
	if as, err = c.Assign(ctx, as, api.AssignOptions{DryRun: d.rollout.dryRun, Force: d.rollout.Force}); err != nil {
		return err
	}
	return d.print(d.out, as, func(w io.Writer) { d.reportDeployment(w, as, impact) })
}

// assignment is what the scope was told before, with the new version.
func (d *deployment) assignment(ctx context.Context, c *api.Client) (api.Assignment, error) {
	as, err := c.Assignment(ctx, d.agent, d.rollout.scope())
	var p *api.Problem
	if errors.As(err, &p) && p.Status == 404 {
		as, err = api.Assignment{Agent: d.agent, Scope: d.rollout.scope(), Revision: api.MustNotExist}, nil
	}
	as.Version, as.Cmd = d.version, cmp.Or(d.cmd, as.Cmd, meta.CmdStart)
	return as, err
}

func (d *deployment) reportDeployment(w io.Writer, as api.Assignment, i api.Impact) {
	verb := "deployed"
	if d.rollout.dryRun {
		verb = "would be deployed"
	}
	what := as.Agent + " " + as.Version
	if as.Cmd == meta.CmdStop {
		what += " (stopped)"
	}
	writef(w, "%s %s to %s: %s\n", what, verb, as.Scope, impactText(i))
	d.warnOfImpact(w, i)
}

// warnOfImpact says what stands in the way, before anything begins.
func (a *app) warnOfImpact(w io.Writer, i api.Impact) {
	if i.Warning != "" {
		writef(w, "%s\n", a.paint(a.out, yellow, "warning: "+i.Warning))
	}
}

// warnOfUnknownHost says so where something was said of a host that nobody
// knows: it may be yet to come, or misspelt.
func (a *app) warnOfUnknownHost(ctx context.Context, c *api.Client, w io.Writer, scope api.Scope) {
	if scope.Kind != api.ScopeHost {
		return
	}
	if _, err := c.Host(ctx, scope.Name); isNotFound(err) {
		writef(w, "%s\n", a.paint(a.out, yellow, "warning: "+err.Error()+" yet; "+hintOf(err)))
	}
}

// refuseUnknown keeps a version from going out to a host that nobody knows, or
// by a rollout to a group that no host is in: it would be complete at once.
func (n newRollout) refuseUnknown(ctx context.Context, c *api.Client, i api.Impact) error {
	switch {
	case i.Hosts > 0 || n.Force:
	case n.host != "":
		_, err := c.Host(ctx, n.host)
		return err
	case n.group != "":
		return &api.Error{
			Kind: api.KindNotFound, Field: "group", Message: "group " + n.group + " matches no known host",
			Hint: "ops-meta group set changes whom it matches; for hosts that are yet to come: --now, or --force",
		}
	}
	return nil
}

// impactText says how many hosts there are, and what of them changes.
func impactText(i api.Impact) string {
	text := fmt.Sprintf("%s, %d to be changed%s", printable.Count(i.Hosts, "host", "hosts"), i.Changed, fromText(i.From))
	if len(i.NoArtifact) > 0 {
		text += fmt.Sprintf(", no artifact for %s", countsText(i.NoArtifact))
	}
	if i.Overruled > 0 {
		text += fmt.Sprintf(", %d left as a narrower rule says", i.Overruled)
	}
	if i.Held > 0 {
		text += fmt.Sprintf(", %d held", i.Held)
	}
	return text
}

func fromText(from map[string]int) string {
	if len(from) == 0 {
		return ""
	}
	return " (from " + countsText(from) + ")"
}
