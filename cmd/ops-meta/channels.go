package main

import (
	"cmp"
	"context"
	"encoding/json"
	"io"

	"github.com/spf13/cobra"

	"github.com/ops-updater/ops-updater/meta/api"
)

func (a *app) channelCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "channel", Short: "Channels: named pointers to a version of an agent, such as stable",
		Long: "A channel is a named pointer to a version of an agent, such as stable or beta. By itself it\n" +
			"changes nothing on hosts: schedules follow it (ops-meta schedule).",
	}
	c.AddCommand(a.channelListCommand(), a.channelShowCommand(), a.channelSetCommand(), a.channelRemoveCommand())
	return c
}

func (a *app) channelListCommand() *cobra.Command {
	return &cobra.Command{Use: "list [AGENT]", Short: "All channels, and which version each points at", Args: cobra.MaximumNArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		return a.showView(cmd, func(ctx context.Context, c *api.Client, w io.Writer) error {
			agent := ""
			if len(args) > 0 {
				agent = args[0]
			}
			all, err := api.All(func(cursor string) (api.Page[api.Channel], error) {
				return c.Channels(ctx, api.ListOptions{Agent: agent, Cursor: cursor})
			})
			if err != nil {
				return err
			}
			return printList(a, w, all, func(w io.Writer) { a.printChannels(w, all) })
		})
	}}
}

func (a *app) printChannels(w io.Writer, all []api.Channel) {
	t := table{head: []string{"AGENT", "CHANNEL", "VERSION", "BEFORE", "MOVED", "BY"}}
	for _, ch := range all {
		t.add(cell{ch.Agent, bold}, plain(ch.Name), plain(cmp.Or(ch.Version, "-")), plain(cmp.Or(ch.Previous, "-")), plain(ago(ch.MovedAt)), plain(ch.MovedBy))
	}
	t.write(a, w)
}

// channelView is what show prints as JSON.
type channelView struct {
	api.Channel
	History []api.AuditEntry `json:"history"`
}

func (a *app) channelShowCommand() *cobra.Command {
	return &cobra.Command{Use: "show AGENT CHANNEL", Short: "One channel, and who moved it when", Args: cobra.ExactArgs(2), RunE: func(cmd *cobra.Command, args []string) error {
		return a.showView(cmd, func(ctx context.Context, c *api.Client, w io.Writer) error {
			ch, err := c.Channel(ctx, args[0], args[1])
			if err != nil {
				return err
			}
			moves, err := c.Audit(ctx, api.ListOptions{Kind: "channel", Search: ch.Agent + "/" + ch.Name, Limit: shownHistory})
			if err != nil {
				return err
			}
			return a.print(w, channelView{ch, moves.Items}, func(w io.Writer) {
				a.printChannels(w, []api.Channel{ch})
				writef(w, "\n")
				for _, e := range moves.Items {
					writef(w, "%s  %s  %s: %s → %s\n", a.paint(a.out, dim, e.Time.Local().Format("01-02 15:04:05")), e.Actor, e.Action, channelVersion(e.Before), channelVersion(e.After))
				}
			})
		})
	}}
}

// channelVersion is the version of a channel as the audit log has it.
func channelVersion(doc json.RawMessage) string {
	var ch api.Channel
	if len(doc) == 0 || json.Unmarshal(doc, &ch) != nil {
		return "-"
	}
	return cmp.Or(ch.Version, "-")
}

func (a *app) channelSetCommand() *cobra.Command {
	var downgrade bool
	c := &cobra.Command{
		Use: "set AGENT CHANNEL VERSION", Short: "Move a channel to a version, or make it", Args: cobra.ExactArgs(3),
		Long: "Move a channel to a version that is published; schedules that follow it take the version up by\n" +
			"themselves. An older version than the one it points at needs --downgrade.",
		Example: "  ops-meta channel set node_exporter stable 1.9.1",
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			ch, err := client.PutChannel(cmd.Context(), api.Channel{Agent: args[0], Name: args[1], Version: args[2]}, downgrade)
			if err != nil {
				return err
			}
			return a.print(a.out, ch, func(w io.Writer) { writef(w, "channel %s of %s points at %s\n", ch.Name, ch.Agent, ch.Version) })
		},
	}
	c.Flags().BoolVar(&downgrade, "downgrade", false, "also to an older version; hosts of schedules that follow it go back to that")
	return c
}

func (a *app) channelRemoveCommand() *cobra.Command {
	return &cobra.Command{Use: "remove AGENT CHANNEL", Short: "Remove a channel; hosts keep what they have", Args: cobra.ExactArgs(2), RunE: func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		if err := c.DeleteChannel(cmd.Context(), args[0], args[1], 0); err != nil {
			return err
		}
		a.say("channel %s of %s removed", args[1], args[0])
		return nil
	}}
}
