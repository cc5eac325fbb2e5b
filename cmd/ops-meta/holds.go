package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/ops-updater/ops-updater/meta/api"
)

func (a *app) holdCommand() *cobra.Command {
	c := &cobra.Command{Use: "hold", Short: "Holds: keep hosts at what they have"}
	c.AddCommand(a.holdListCommand(), a.holdAddCommand(), a.holdRemoveCommand())
	return c
}

func (a *app) holdListCommand() *cobra.Command {
	return &cobra.Command{Use: "list", Short: "What is held", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return a.showView(cmd, func(ctx context.Context, c *api.Client, w io.Writer) error {
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
		h := api.Hold{Scope: t.scope(), Reason: reason, Until: length.expiresAt()}
		if agent != "" {
			h.Scope = api.Scope{Kind: api.ScopeAgent, Name: agent}
		}
		made, err := client.CreateHold(cmd.Context(), h)
		if err != nil {
			return err
		}
		return a.print(a.out, made, func(w io.Writer) {
			writef(w, "%s held, hold %s\n", made.Scope, made.ID)
			a.warnOfUnknownHost(cmd.Context(), client, w, made.Scope)
		})
	}
	t.addFlags(c)
	c.Flags().StringVar(&agent, "agent", "", "this agent everywhere")
	c.Flags().StringVar(&reason, "reason", "", "why; anyone who finds the hold will want to know")
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
