package main

import (
	"cmp"
	"context"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ops-updater/ops-updater/meta/api"
)

func (a *app) scheduleCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "schedule", Short: "Schedules: the releases of a channel go out by themselves",
		Long: `A schedule follows a channel: when that points at a version which the scope does not
run, a rollout by the schedule's strategy begins, whose stages say which groups follow
each other in which windows. A release that was taken back or aborted is not begun again
until the channel moves on, or somebody deploys it.`,
	}
	c.AddCommand(a.scheduleListCommand(), a.scheduleShowCommand(), a.schedulePlanCommand(), a.scheduleSetCommand(),
		a.schedulePauseCommand("pause", "Begin nothing more; rollouts under way go on", true),
		a.schedulePauseCommand("resume", "Go on after a pause", false), a.scheduleRemoveCommand())
	return c
}

func (a *app) scheduleListCommand() *cobra.Command {
	return &cobra.Command{Use: "list", Short: "All schedules", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return a.showView(cmd, func(ctx context.Context, c *api.Client, w io.Writer) error {
			all, err := api.All(func(cursor string) (api.Page[api.Schedule], error) {
				return c.Schedules(ctx, api.ListOptions{Cursor: cursor})
			})
			if err != nil {
				return err
			}
			return printList(a, w, all, func(w io.Writer) { a.printSchedules(w, all) })
		})
	}}
}

func (a *app) printSchedules(w io.Writer, all []api.Schedule) {
	t := table{head: []string{"SCHEDULE", "CHANNEL", "AGENTS", "SCOPE", "STRATEGY", "STATE", "DESCRIPTION"}}
	for _, s := range all {
		state := plain("follows")
		if s.Paused {
			state = cell{"paused", yellow}
		}
		t.add(cell{s.Name, bold}, plain(s.Channel), plain(cmp.Or(strings.Join(s.Agents, " "), "all that have it")), plain(s.Scope.String()),
			plain(cmp.Or(s.Strategy, "each agent's")), state, plain(s.Description))
	}
	t.write(a, w)
}

// scheduleView is what show prints as JSON.
type scheduleView struct {
	api.Schedule
	States []api.ScheduleState `json:"states"`
}

func (a *app) scheduleShowCommand() *cobra.Command {
	return &cobra.Command{Use: "show NAME", Short: "One schedule: what is next for each agent, and what that waits for", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		return a.showView(cmd, func(ctx context.Context, c *api.Client, w io.Writer) error {
			s, err := c.Schedule(ctx, args[0])
			if err != nil {
				return err
			}
			states, err := c.ScheduleStates(ctx, s.Name)
			if err != nil {
				return err
			}
			return a.print(w, scheduleView{s, states.Items}, func(w io.Writer) {
				a.printSchedules(w, []api.Schedule{s})
				writef(w, "\n")
				t := table{head: []string{"AGENT", "RUNS", "CHANNEL AT", "NEXT", "WHY"}}
				for _, st := range states.Items {
					t.add(cell{st.Agent, bold}, plain(cmp.Or(st.Assigned, "-")), plain(cmp.Or(st.Version, "-")), cell{st.Reason, stateOfSchedule(st.Reason)}, plain(st.Message))
				}
				t.write(a, w)
				if len(states.Items) == 0 {
					writef(w, "no agent has a channel %s: ops-meta channel set AGENT %s VERSION\n", s.Channel, s.Channel)
				}
			})
		})
	}}
}

func stateOfSchedule(reason string) style {
	switch reason {
	case "up-to-date":
		return green
	case "taken-back", "undeliverable", "no-artifact":
		return red
	case "halted", "paused", "standstill", "taken", "no-channel":
		return yellow
	}
	return ""
}

func (a *app) scheduleSetCommand() *cobra.Command {
	var s api.Schedule
	var to target
	var everyone bool
	c := &cobra.Command{
		Use: "set NAME", Short: "Make a schedule, or change what is named of it", Args: cobra.ExactArgs(1),
		Long: "Make a schedule, or change it: what no flag names stays as it is. Its waves are the stages of its\n" +
			"strategy (ops-meta strategy, or the fleet file): groups, windows, soak times, approvals.",
		Example: "  ops-meta schedule set production --channel stable --strategy waves\n  ops-meta schedule set trial --channel beta --group canary --agents node_exporter,falcon-agent",
	}
	f := c.Flags()
	c.RunE = func(cmd *cobra.Command, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		s.Name = args[0]
		put, made, err := setNoun(setting[api.Schedule]{
			change: func() (api.Schedule, error) {
				p := patchOfFlags(f, map[string]flagField{
					"description": field("description", &s.Description), "channel": field("channel", &s.Channel),
					"strategy": field("strategy", &s.Strategy), "agents": list("agents", &s.Agents),
				})
				if f.Changed("group") || f.Changed("host") || everyone {
					p["scope"] = patchOfScope(to.scope())
				}
				return client.PatchSchedule(cmd.Context(), s.Name, p, 0)
			},
			create: func() (api.Schedule, error) {
				s.Scope, s.Revision = to.scope(), api.MustNotExist
				return client.PutSchedule(cmd.Context(), s)
			},
		})
		if err != nil {
			return err
		}
		return a.print(a.out, put, func(w io.Writer) {
			writef(w, "schedule %s %s: channel %s to %s; what is next: ops-meta schedule show %s; when which host: ops-meta schedule plan %s\n", put.Name, made, put.Channel, put.Scope, put.Name, put.Name)
		})
	}
	to.addFlags(c)
	f.BoolVar(&everyone, "everyone", false, "for everyone again, after it was for a group or a host")
	c.MarkFlagsMutuallyExclusive("everyone", "group", "host")
	f.StringVar(&s.Description, "description", "", "what it is for")
	f.StringVar(&s.Channel, "channel", "", "the channel that it follows, such as stable")
	f.StringSliceVar(&s.Agents, "agents", nil, "only these agents' channels; empty: of all agents that have one")
	f.StringVar(&s.Strategy, "strategy", "", "how it goes out: its stages are the waves; empty: as each agent says")
	return c
}

// patchOfScope replaces a scope as a whole: everyone has no name, and the one of before
// would stay.
func patchOfScope(s api.Scope) api.Patch {
	p := api.Patch{"kind": s.Kind, "name": nil}
	if s.Name != "" {
		p["name"] = s.Name
	}
	return p
}

func (a *app) schedulePauseCommand(verb, short string, paused bool) *cobra.Command {
	return &cobra.Command{Use: verb + " NAME", Short: short, Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		s, err := c.PatchSchedule(cmd.Context(), args[0], api.Patch{"paused": paused}, 0)
		if err != nil {
			return err
		}
		return a.print(a.out, s, func(w io.Writer) {
			what := "follows channel " + s.Channel
			if s.Paused {
				what = "is paused and begins nothing; what is under way goes on"
			}
			writef(w, "schedule %s %s\n", s.Name, what)
		})
	}}
}

func (a *app) scheduleRemoveCommand() *cobra.Command {
	return &cobra.Command{Use: "remove NAME", Short: "Remove a schedule; rollouts that it began go on", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		if err := c.DeleteSchedule(cmd.Context(), args[0], 0); err != nil {
			return err
		}
		a.say("schedule %s removed", args[0])
		return nil
	}}
}
