package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/meta/api"
)

func (a *app) notifyCommand() *cobra.Command {
	c := &cobra.Command{Use: "notify", Short: "Notifications: who is told of what, and what could not be delivered"}
	c.AddCommand(a.notifyListCommand(), a.notifySetCommand(), a.notifyTestCommand(), a.notifyRemoveCommand(), a.deadCommand())
	return c
}

func (a *app) notifyListCommand() *cobra.Command {
	return &cobra.Command{Use: "list", Short: "All targets, without their secrets", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return a.showView(cmd, func(ctx context.Context, c *api.Client, w io.Writer) error {
			all, err := api.All(func(cursor string) (api.Page[api.NotifyTarget], error) {
				return c.NotifyTargets(ctx, api.ListOptions{Cursor: cursor})
			})
			if err != nil {
				return err
			}
			return printList(a, w, all, func(w io.Writer) {
				t := table{head: []string{"TARGET", "KIND", "TO", "EVENTS", "AGENTS", "SECRET", ""}}
				for _, n := range all {
					t.add(cell{n.Name, bold}, plain(n.Kind), plain(n.URL+strings.Join(n.Addresses, " ")), plain(orAll(n.Events)), plain(orAll(n.Agents)),
						plain(yesNo(n.HasSecret)), switchedOff(n.Disabled))
				}
				t.write(a, w)
			})
		})
	}}
}

func orAll(names []string) string {
	if len(names) == 0 {
		return "all"
	}
	return strings.Join(names, " ")
}

func yesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}

func switchedOff(off bool) cell {
	if off {
		return cell{"off", yellow}
	}
	return plain("")
}

func (a *app) notifySetCommand() *cobra.Command {
	var n api.NotifyTarget
	var on, off bool
	var chat string
	c := &cobra.Command{
		Use: "set NAME", Short: "Make a target, or change what is named of it", Args: cobra.ExactArgs(1),
		Long: "Make a target, or change it: what no flag names stays as it is. The secret signs webhooks\nand is never shown again; --secret - reads it from the standard input.",
		Example: "  ops-meta notify set ops --webhook https://hooks.example/x --event rollout. --event host.failed\n" +
			"  ops-meta notify set team --chat https://hooks.slack.example/services/T0/B0/x --event rollout.paused\n" +
			"  ops-meta notify set ops --off",
	}
	f := c.Flags()
	c.RunE = func(cmd *cobra.Command, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		n.Name, n.Disabled = args[0], off
		if n.Secret == "-" {
			if n.Secret, err = a.askToken(); err != nil {
				return err
			}
		}
		n.Kind = api.NotifyWebhook
		if chat != "" {
			n.Kind, n.URL = api.NotifyChat, chat
		}
		if len(n.Addresses) > 0 {
			n.Kind = api.NotifyMail
		}
		put, made, err := setNoun(setting[api.NotifyTarget]{
			change: func() (api.NotifyTarget, error) {
				p := patchOfFlags(f, map[string]flagField{
					"webhook": field("url", &n.URL), "chat": field("url", &n.URL), "mail": list("addresses", &n.Addresses), "event": list("events", &n.Events), "agent": list("agents", &n.Agents),
					"subject": field("subject", &n.Subject), "template": field("template", &n.Template), "secret": field("secret", &n.Secret),
				})
				if f.Changed("webhook") || f.Changed("chat") || f.Changed("mail") {
					p["kind"] = n.Kind
				}
				if on || off {
					p["disabled"] = off
				}
				return client.PatchNotifyTarget(cmd.Context(), n.Name, p, 0)
			},
			create: func() (api.NotifyTarget, error) {
				n.Revision = api.MustNotExist
				return client.PutNotifyTarget(cmd.Context(), n)
			},
		})
		if err != nil {
			return err
		}
		return a.print(a.out, put, func(w io.Writer) {
			writef(w, "notification target %s %s; ops-meta notify test %s tries it\n", put.Name, made, put.Name)
		})
	}
	f.StringVar(&n.URL, "webhook", "", "URL that is posted to")
	f.StringVar(&chat, "chat", "", "incoming webhook of a chat, as Slack, Mattermost, Rocket.Chat and Discord (…/slack) have them")
	f.StringArrayVar(&n.Addresses, "mail", nil, "address that is written to; may be repeated")
	f.StringArrayVar(&n.Events, "event", nil, "only of this, such as rollout.paused, or a beginning such as rollout.; may be repeated")
	f.StringArrayVar(&n.Agents, "agent", nil, "only about this agent; may be repeated")
	f.StringVar(&n.Subject, "subject", "", "text/template of a mail's subject")
	f.StringVar(&n.Template, "template", "", "text/template of the text")
	f.StringVar(&n.Secret, "secret", "", "signs webhooks; - reads it from the standard input")
	f.BoolVar(&off, "off", false, "tell it of nothing for now")
	f.BoolVar(&on, "on", false, "tell it again")
	c.MarkFlagsMutuallyExclusive("on", "off")
	c.MarkFlagsMutuallyExclusive("webhook", "chat", "mail")
	return c
}

func (a *app) notifyTestCommand() *cobra.Command {
	return &cobra.Command{Use: "test NAME", Short: "Send a target one notification now", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		if err := c.TestNotifyTarget(cmd.Context(), args[0]); err != nil {
			return err
		}
		a.say("a test is on its way to %s; if it does not arrive: ops-meta notify dead list", args[0])
		return nil
	}}
}

func (a *app) notifyRemoveCommand() *cobra.Command {
	return &cobra.Command{Use: "remove NAME", Short: "Remove a target", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		if err := c.DeleteNotifyTarget(cmd.Context(), args[0], 0); err != nil {
			return err
		}
		a.say("notification target %s removed", args[0])
		return nil
	}}
}

func (a *app) deadCommand() *cobra.Command {
	c := &cobra.Command{Use: "dead", Short: "Notifications that could not be delivered"}
	c.AddCommand(a.deadListCommand(),
		a.deadActCommand("retry", "Try to deliver again", "queued again", (*api.Client).RetryDeadLetter),
		a.deadActCommand("drop", "Give up for good", "dropped", (*api.Client).DropDeadLetter))
	return c
}

func deadLetters(ctx context.Context, c *api.Client) ([]api.Notification, error) {
	return api.All(func(cursor string) (api.Page[api.Notification], error) {
		return c.DeadLetters(ctx, api.ListOptions{Cursor: cursor})
	})
}

func (a *app) deadListCommand() *cobra.Command {
	return &cobra.Command{Use: "list", Short: "All of them, the newest first", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return a.showView(cmd, func(ctx context.Context, c *api.Client, w io.Writer) error {
			all, err := deadLetters(ctx, c)
			if err != nil {
				return err
			}
			return printList(a, w, all, func(w io.Writer) {
				t := table{head: []string{"ID", "TARGET", "EVENT", "MADE", "TRIES", "WHY", "MESSAGE"}}
				for _, n := range all {
					var notice api.Notice
					_ = json.Unmarshal(n.Payload, &notice)
					t.add(cell{strconv.FormatInt(n.ID, 10), bold}, plain(n.Target), plain(n.Kind), plain(ago(n.CreatedAt)),
						plain(strconv.Itoa(n.Attempts)), cell{n.Error, red}, plain(notice.Message))
				}
				t.write(a, w)
			})
		})
	}}
}

// deadActCommand does something to dead letters, or with --all to each.
func (a *app) deadActCommand(verb, short, done string, act func(*api.Client, context.Context, int64) error) *cobra.Command {
	var every bool
	c := &cobra.Command{Use: verb + " ID...", Short: short}
	c.Args = func(_ *cobra.Command, args []string) error {
		if every == (len(args) > 0) {
			return fmt.Errorf("want the numbers that ops-meta notify dead list shows, or --all")
		}
		return nil
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		ids, err := deadIDs(cmd, client, args)
		if err != nil {
			return err
		}
		for _, id := range ids {
			if err := act(client, cmd.Context(), id); err != nil {
				return err
			}
		}
		a.say("%s %s", printable.Count(len(ids), "notification", "notifications"), done)
		return nil
	}
	c.Flags().BoolVar(&every, "all", false, "all of them")
	return c
}

func deadIDs(cmd *cobra.Command, c *api.Client, args []string) (ids []int64, err error) {
	if len(args) == 0 {
		all, err := deadLetters(cmd.Context(), c)
		for _, n := range all {
			ids = append(ids, n.ID)
		}
		return ids, err
	}
	for _, arg := range args {
		id, err := strconv.ParseInt(arg, 10, 64)
		if err != nil {
			return nil, &usage{command: cmd, err: fmt.Errorf("%q is not the number of a notification", arg), hint: "ops-meta notify dead list shows them"}
		}
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}
