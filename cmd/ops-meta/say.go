package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
)

// target is the scope that --group or --host names; everyone without them.
type target struct{ group, host string }

func (t *target) flags(c *cobra.Command) {
	c.Flags().StringVar(&t.group, "group", "", "only hosts that this group matches")
	c.Flags().StringVar(&t.host, "host", "", "only this host")
	c.MarkFlagsMutuallyExclusive("group", "host")
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
			return d.run(cmd.Context())
		},
	}
	d.rollout.flags(c)
	c.Flags().StringVar(&d.cmd, "cmd", "", "start or stop, at once")
	c.Flags().BoolVar(&d.now, "now", false, "all hosts at once, without a rollout")
	c.Flags().BoolVar(&d.dryRun, "dry-run", false, "say what would change on how many hosts, and change nothing")
	c.MarkFlagsMutuallyExclusive("now", "draft")
	return c
}

// deployment is one deploy.
type deployment struct {
	*app
	rollout             newRollout
	agent, version, cmd string
	now, dryRun         bool
}

func (d *deployment) run(ctx context.Context) error {
	if !d.now && d.cmd == "" && !d.dryRun {
		if err := d.rollout.complete(d.agent, d.version); err != nil {
			return err
		}
		return d.startRollout(ctx, d.rollout.NewRollout)
	}
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
	if err := d.refuseNobody(impact); err != nil {
		return err
	}
	if !d.dryRun {
		if as, err = c.PutAssignment(ctx, as); err != nil {
			return err
		}
	}
	return d.print(d.out, as, func(w io.Writer) { d.report(w, as, impact) })
}

// assignment is what the scope was told before, with the new version.
func (d *deployment) assignment(ctx context.Context, c *api.Client) (api.Assignment, error) {
	as, err := c.Assignment(ctx, d.agent, d.rollout.scope())
	var p *api.Problem
	if errors.As(err, &p) && p.Status == 404 {
		as, err = api.Assignment{Agent: d.agent, Scope: d.rollout.scope(), Revision: api.MustNotExist}, nil
	}
	as.Version, as.Cmd = d.version, cmp.Or(d.cmd, meta.CmdStart)
	return as, err
}

func (d *deployment) report(w io.Writer, as api.Assignment, i api.Impact) {
	verb := "deployed"
	if d.dryRun {
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

// refuseNobody keeps an assignment from being made that no host can follow.
func (d *deployment) refuseNobody(i api.Impact) error {
	without := 0
	for _, n := range i.NoArtifact {
		without += n
	}
	if without == 0 || without < i.Hosts-i.Overruled || d.rollout.Force {
		return nil
	}
	return &api.Error{Kind: api.KindInvalid, Field: "version", Message: i.Warning, Hint: "publish an artifact for them, or deploy all the same with --force"}
}

// impactText says how many hosts there are, and what of them changes.
func impactText(i api.Impact) string {
	text := fmt.Sprintf("%s, %d to be changed%s", count(i.Hosts, "host", "hosts"), i.Changed, fromText(i.From))
	if len(i.NoArtifact) > 0 {
		text += fmt.Sprintf(", no artifact for %s", counts(i.NoArtifact))
	}
	if i.Overruled > 0 {
		text += fmt.Sprintf(", %d left as a narrower rule says", i.Overruled)
	}
	return text
}

func fromText(from map[string]int) string {
	if len(from) == 0 {
		return ""
	}
	return " (from " + counts(from) + ")"
}

func (a *app) assignCommand() *cobra.Command {
	c := &cobra.Command{Use: "assign", Short: "Assignments: who runs which version, with what overrides"}
	c.AddCommand(a.assignListCommand(), a.assignSetCommand(), a.assignRemoveCommand())
	return c
}

func (a *app) assignListCommand() *cobra.Command {
	var o api.ListOptions
	c := &cobra.Command{Use: "list", Short: "All assignments", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return a.show(cmd, func(ctx context.Context, c *api.Client, w io.Writer) error {
			all, err := api.All(func(cursor string) (api.Page[api.Assignment], error) {
				o.Cursor = cursor
				return c.Assignments(ctx, o)
			})
			if err != nil {
				return err
			}
			return printList(a, w, all, func(w io.Writer) {
				t := table{head: []string{"AGENT", "SCOPE", "VERSION", "CMD", "USER", "DIRECTORY", "CONFIG"}}
				for _, as := range all {
					t.add(cell{as.Agent, bold}, plain(as.Scope.String()), plain(as.Version), plain(cmp.Or(as.Cmd, meta.CmdStart)),
						plain(as.RunUser), plain(as.WorkDir), plain(as.ConfigRemoteURL))
				}
				t.write(a, w)
			})
		})
	}}
	c.Flags().StringVar(&o.Agent, "agent", "", "only of this agent")
	c.Flags().StringVar(&o.Scope, "scope", "", "only of this scope: everyone, group:NAME or host:NAME")
	return c
}

func (a *app) assignSetCommand() *cobra.Command {
	var t target
	var as api.Assignment
	c := &cobra.Command{Use: "set AGENT VERSION", Short: "Make or replace an assignment, at once", Args: cobra.ExactArgs(2)}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		as.Agent, as.Version, as.Scope = args[0], args[1], t.scope()
		put, err := client.PutAssignment(cmd.Context(), as)
		if err != nil {
			return err
		}
		return a.print(a.out, put, func(w io.Writer) { writef(w, "%s %s assigned to %s\n", put.Agent, put.Version, put.Scope) })
	}
	t.flags(c)
	f := c.Flags()
	f.StringVar(&as.Cmd, "cmd", "", "start or stop (default start)")
	f.StringVar(&as.RunUser, "run-user", "", "user it runs as; empty: the agent's")
	f.StringVar(&as.WorkDir, "work-dir", "", "directory its own is made in; empty: the agent's")
	f.StringVar(&as.ConfigFileName, "config-file", "", "name of its configuration file")
	f.StringVar(&as.ConfigRemoteURL, "config-url", "", "where that file comes from")
	f.IntVar(&as.Probation, "probation", 0, "seconds of probation")
	f.IntVar(&as.Keep, "keep", 0, "versions kept on the host")
	return c
}

func (a *app) assignRemoveCommand() *cobra.Command {
	var t target
	c := &cobra.Command{Use: "remove AGENT", Short: "Remove an assignment; hosts keep what they have", Args: cobra.ExactArgs(1)}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		if err := client.DeleteAssignment(cmd.Context(), args[0], t.scope(), 0); err != nil {
			return err
		}
		a.say("nothing is assigned any more to %s for %s", t.scope(), args[0])
		return nil
	}
	t.flags(c)
	return c
}

func (a *app) holdCommand() *cobra.Command {
	c := &cobra.Command{Use: "hold", Short: "Holds: keep hosts at what they have"}
	c.AddCommand(a.holdListCommand(), a.holdAddCommand(), a.holdRemoveCommand())
	return c
}

func (a *app) holdListCommand() *cobra.Command {
	return &cobra.Command{Use: "list", Short: "What is held", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return a.show(cmd, func(ctx context.Context, c *api.Client, w io.Writer) error {
			all, err := api.All(func(cursor string) (api.Page[api.Hold], error) {
				return c.Holds(ctx, api.ListOptions{Cursor: cursor})
			})
			if err != nil {
				return err
			}
			return printList(a, w, all, func(w io.Writer) {
				t := table{head: []string{"ID", "SCOPE", "UNTIL", "BY", "SINCE", "REASON"}}
				for _, h := range all {
					until := "released"
					if h.Until != nil {
						until = h.Until.Local().Format("2006-01-02 15:04")
					}
					t.add(cell{h.ID, bold}, plain(h.Scope.String()), plain(until), plain(h.CreatedBy), plain(ago(h.CreatedAt)), plain(h.Reason))
				}
				t.write(a, w)
			})
		})
	}}
}

func (a *app) holdAddCommand() *cobra.Command {
	var t target
	var agent, reason string
	var length lifetime
	c := &cobra.Command{Use: "add", Short: "Hold a host, a group or an agent", Args: cobra.NoArgs}
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		h := api.Hold{Scope: t.scope(), Reason: reason, Until: length.end()}
		if agent != "" {
			h.Scope = api.Scope{Kind: api.ScopeAgent, Name: agent}
		}
		made, err := client.CreateHold(cmd.Context(), h)
		if err != nil {
			return err
		}
		return a.print(a.out, made, func(w io.Writer) { writef(w, "%s held, hold %s\n", made.Scope, made.ID) })
	}
	t.flags(c)
	c.Flags().StringVar(&agent, "agent", "", "this agent everywhere")
	c.Flags().StringVar(&reason, "reason", "", "why; whoever finds the hold will want to know")
	c.Flags().Var(&length, "for", "how long, such as 8h or 14d; until released unless told")
	c.MarkFlagsOneRequired("group", "host", "agent")
	c.MarkFlagsMutuallyExclusive("group", "host", "agent")
	return c
}

func (a *app) holdRemoveCommand() *cobra.Command {
	return &cobra.Command{Use: "remove ID", Short: "Release a hold", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		if err := c.DeleteHold(cmd.Context(), args[0]); err != nil {
			return err
		}
		a.say("hold %s released", args[0])
		return nil
	}}
}

func (a *app) groupCommand() *cobra.Command {
	c := &cobra.Command{Use: "group", Short: "Groups: hosts that a selector matches"}
	c.AddCommand(a.groupListCommand(), a.groupSetCommand(), a.groupHostsCommand(), a.groupRemoveCommand())
	return c
}

func (a *app) groupListCommand() *cobra.Command {
	return &cobra.Command{Use: "list", Short: "All groups, those that win first", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return a.show(cmd, func(ctx context.Context, c *api.Client, w io.Writer) error {
			all, err := api.All(func(cursor string) (api.Page[api.Group], error) {
				return c.Groups(ctx, api.ListOptions{Cursor: cursor})
			})
			if err != nil {
				return err
			}
			slices.SortStableFunc(all, func(x, y api.Group) int { return y.Priority - x.Priority })
			return printList(a, w, all, func(w io.Writer) {
				t := table{head: []string{"GROUP", "PRIORITY", "SELECTOR", "DESCRIPTION"}}
				for _, g := range all {
					t.add(cell{g.Name, bold}, plain(fmt.Sprint(g.Priority)), plain(selectorText(g.Selector)), plain(g.Description))
				}
				t.write(a, w)
			})
		})
	}}
}

func selectorText(s api.Selector) string {
	var parts []string
	list := func(name string, values []string) {
		if len(values) > 3 {
			values = append(slices.Clone(values[:3]), "…")
		}
		if len(values) > 0 {
			parts = append(parts, name+" "+strings.Join(values, " "))
		}
	}
	list("hosts", s.Hosts)
	list("prefixes", s.Prefixes)
	list("globs", s.Globs)
	list("regexps", s.Regexps)
	list("cidrs", s.CIDRs)
	list("arches", s.Arches)
	var labels []string
	for k, v := range s.Labels {
		labels = append(labels, k+"="+v)
	}
	slices.Sort(labels)
	list("labels", labels)
	return strings.Join(parts, "; ")
}

func (a *app) groupSetCommand() *cobra.Command {
	var g api.Group
	c := &cobra.Command{
		Use: "set NAME", Short: "Make or replace a group", Args: cobra.ExactArgs(1),
		Long:    "Make or replace a group. A host must satisfy every kind of selector that is given;\nwithin a kind one match is enough. The hostname forms are one kind.",
		Example: "  ops-meta group set canary --host web-1 --host web-2 --priority 100\n  ops-meta group set eu --label region=eu --cidr 10.8.0.0/13",
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		g.Name = args[0]
		put, err := client.PutGroup(cmd.Context(), g)
		if err != nil {
			return err
		}
		matched, err := client.MatchSelector(cmd.Context(), put.Selector, api.ListOptions{Limit: 1})
		if err != nil {
			return err
		}
		return a.print(a.out, put, func(w io.Writer) {
			writef(w, "group %s matches %s\n", put.Name, count(matched.Total, "known host", "known hosts"))
		})
	}
	f := c.Flags()
	f.StringVar(&g.Description, "description", "", "what it is for")
	f.IntVar(&g.Priority, "priority", 0, "of groups that match one host the higher wins")
	f.StringArrayVar(&g.Selector.Hosts, "host", nil, "exact host name; may be repeated")
	f.StringArrayVar(&g.Selector.Prefixes, "prefix", nil, "start of the host name; may be repeated")
	f.StringArrayVar(&g.Selector.Globs, "glob", nil, "pattern of the host name, such as web-*; may be repeated")
	f.StringArrayVar(&g.Selector.Regexps, "regexp", nil, "RE2 of the whole host name; may be repeated")
	f.StringArrayVar(&g.Selector.CIDRs, "cidr", nil, "address or network; may be repeated")
	f.StringArrayVar(&g.Selector.Arches, "arch", nil, "such as linux_arm64; may be repeated")
	f.StringToStringVar(&g.Selector.Labels, "label", nil, "NAME=VALUE; all must be equal")
	return c
}

func (a *app) groupHostsCommand() *cobra.Command {
	return &cobra.Command{Use: "hosts NAME", Short: "Known hosts that the group matches", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		return a.show(cmd, func(ctx context.Context, c *api.Client, w io.Writer) error {
			page, err := hostPages(ctx, c, api.HostQuery{Group: args[0]}, true)
			if err != nil {
				return err
			}
			return a.print(w, page, func(w io.Writer) { a.printHosts(w, page) })
		})
	}}
}

func (a *app) groupRemoveCommand() *cobra.Command {
	return &cobra.Command{Use: "remove NAME", Short: "Remove a group that nothing names", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		if err := c.DeleteGroup(cmd.Context(), args[0], 0); err != nil {
			return err
		}
		a.say("group %s removed", args[0])
		return nil
	}}
}
