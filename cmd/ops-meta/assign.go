package main

import (
	"cmp"
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
)

func (a *app) assignCommand() *cobra.Command {
	c := &cobra.Command{Use: "assign", Short: "Assignments: who runs which version, with what overrides"}
	c.AddCommand(a.assignListCommand(), a.assignSetCommand(), a.assignRemoveCommand())
	return c
}

func (a *app) assignListCommand() *cobra.Command {
	var o api.ListOptions
	c := &cobra.Command{Use: "list", Short: "All assignments", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		if err := a.checkOnce(cmd, func(ctx context.Context, c *api.Client) error {
			return cmp.Or(knownAgent(ctx, c, o.Agent), knownGroupOf(ctx, c, o.Scope))
		}); err != nil {
			return err
		}
		return a.showView(cmd, func(ctx context.Context, c *api.Client, w io.Writer) error {
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
	c := &cobra.Command{
		Use: "set AGENT VERSION", Short: "Make an assignment, or change what is named of it, at once", Args: cobra.ExactArgs(2),
		Long: "Make an assignment, or change its version and what else a flag names, at once on all its\n" +
			"hosts: what no flag names stays as it is. A flag with an empty value takes what was said away.",
	}
	f := c.Flags()
	c.RunE = func(cmd *cobra.Command, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		as.Agent, as.Version, as.Scope = args[0], args[1], t.scope()
		put, made, err := setNoun(setting[api.Assignment]{
			change: func() (api.Assignment, error) {
				p := patchOfFlags(f, map[string]flagField{
					"cmd": field("cmd", &as.Cmd), "run-user": field("runUser", &as.RunUser), "work-dir": field("workDir", &as.WorkDir),
					"config-file": field("configFileName", &as.ConfigFileName), "config-url": field("configRemoteUrl", &as.ConfigRemoteURL),
					"probation": field("probation", &as.Probation), "keep": field("keep", &as.Keep), "mirror": list("mirrors", &as.Mirrors),
				})
				p["version"] = as.Version
				return client.PatchAssignment(cmd.Context(), as.Agent, as.Scope, p, 0)
			},
			create: func() (api.Assignment, error) {
				as.Revision = api.MustNotExist
				return client.PutAssignment(cmd.Context(), as)
			},
		})
		if err != nil {
			return err
		}
		verb := map[string]string{"set": "is now assigned", "made": "assigned"}[made]
		return a.print(a.out, put, func(w io.Writer) {
			writef(w, "%s %s %s to %s\n", put.Agent, put.Version, verb, put.Scope)
			a.warnOfUnknownHost(cmd.Context(), client, w, put.Scope)
		})
	}
	t.addFlags(c)
	f.StringVar(&as.Cmd, "cmd", "", "start or stop (default start)")
	f.StringVar(&as.RunUser, "run-user", "", "user it runs as; empty: the agent's")
	f.StringVar(&as.WorkDir, "work-dir", "", "directory its own is made in; empty: the agent's")
	f.StringVar(&as.ConfigFileName, "config-file", "", "name of its configuration file")
	f.StringVar(&as.ConfigRemoteURL, "config-url", "", "where that file comes from")
	secondsVar(f, &as.Probation, "probation", "how long a new version is on probation, such as 90s; a plain number is seconds")
	f.IntVar(&as.Keep, "keep", 0, "versions kept on the host")
	f.StringArrayVar(&as.Mirrors, "mirror", nil, "base URL of a place that has the tarball too, instead of the agent's mirrors; as often as there are")
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
	t.addFlags(c)
	return c
}
