package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ops-updater/ops-updater/meta/api"
)

func (a *app) rolloutCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "rollout", Short: "Rollouts: a version goes out in stages",
		Long: `A rollout gives a version to the hosts of a scope stage by stage: a few first,
more when those are healthy, then all. When too many fail it pauses by itself, and
hosts on which the version failed go back to what they had.`,
	}
	c.AddCommand(a.rolloutCreateCommand(), a.rolloutListCommand(), a.rolloutShowCommand(),
		a.rolloutActCommand(api.ActionApprove, "Begin a draft, or the stage that waits for approval"),
		a.rolloutActCommand(api.ActionPause, "Grant no more hosts; those granted go on"),
		a.rolloutActCommand(api.ActionResume, "Go on after a pause; failures so far are forgiven"),
		a.rolloutHostsCommand(),
		a.rolloutActCommand(api.ActionRetry, "Let the hosts that failed try again, and no others; they are no longer counted as failed"),
		a.rolloutActCommand(api.ActionSkip, "Skip to the last stage: what is left is granted without waiting for the stages between"),
		a.rolloutActCommand(api.ActionAbort, "End it; hosts keep what they were granted"),
		a.rolloutActCommand(api.ActionRollback, "Take every host it reached back to the release before"))
	return c
}

// newRollout is what create and deploy ask for.
type newRollout struct {
	target
	api.NewRollout
	stages    string
	soak      int
	deadline  int
	maxFailed int
	onFailure string
	dryRun    bool
}

func (n *newRollout) addFlags(c *cobra.Command) {
	n.target.addFlags(c)
	f := c.Flags()
	f.StringVar(&n.Strategy, "strategy", "", "name of a strategy (default the agent's, else canary, 25 %, all, each soaking)")
	f.StringVar(&n.stages, "stages", "", "stages instead of a strategy: numbers of hosts and percents, such as 1,10%,100%")
	secondsVar(f, &n.soak, "soak", "with --stages: health before the next stage, such as 5m; a plain number is seconds")
	secondsVar(f, &n.deadline, "deadline", "with --stages: how long a granted host has (default 15m)")
	f.IntVar(&n.maxFailed, "max-failed", 0, "with --stages: failed hosts that are borne")
	f.StringVar(&n.onFailure, "on-failure", "", "with --stages: pause (default), abort or rollback")
	f.StringVar(&n.Reason, "reason", "", "why, for anyone who reads it later")
	f.BoolVar(&n.Force, "force", false, "also when no host can have the release, for want of an artifact for its arch or of a signature that it requires, or no host is known by that name or in that group")
	f.BoolVar(&n.dryRun, "dry-run", false, "say what would change on how many hosts, and change nothing")
	f.BoolVar(&n.Draft, "draft", false, "make it and wait for approval")
	c.MarkFlagsMutuallyExclusive("strategy", "stages")
}

// complete turns the flags into what the server takes.
func (n *newRollout) complete(c *cobra.Command, agent, version string) error {
	n.Agent, n.Version, n.Scope = agent, version, n.scope()
	if n.stages == "" {
		return refuseWithoutStages(c)
	}
	s := api.Strategy{Name: "inline", OnFailure: n.onFailure, MaxFailed: n.maxFailed, Deadline: n.deadline}
	var err error
	if s.Stages, err = parseStages(n.stages); err != nil {
		return err
	}
	for i := range s.Stages {
		s.Stages[i].Soak = n.soak
	}
	n.Inline = &s
	return s.Validate()
}

// refuseWithoutStages refuses flags that say something about stages where a
// strategy has the word.
func refuseWithoutStages(c *cobra.Command) error {
	for _, name := range []string{"soak", "deadline", "max-failed", "on-failure"} {
		if c.Flags().Changed(name) {
			return &usage{
				command: c, err: fmt.Errorf("--%s counts only with --stages", name),
				hint: fmt.Sprintf("such as --stages 1,25%%,100%% --%s …; or ops-meta strategy set NAME --%s …, then --strategy NAME", name, name),
			}
		}
	}
	return nil
}

func parseStage(text string) (api.Stage, error) {
	bad := &api.Error{
		Kind: api.KindInvalid, Field: "stages", Message: fmt.Sprintf("stage %q is neither a number of hosts nor a percent", text),
		Hint: "such as --stages 1,10%,100%",
	}
	if number, percent := strings.CutSuffix(text, "%"); percent {
		p, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || math.IsNaN(p) || math.IsInf(p, 0) { // which JSON cannot say
			return api.Stage{}, bad
		}
		return api.Stage{Percent: p}, nil
	}
	count, err := strconv.Atoi(text)
	if err != nil {
		return api.Stage{}, bad
	}
	return api.Stage{Count: count}, nil
}

func (a *app) rolloutCreateCommand() *cobra.Command {
	var n newRollout
	c := &cobra.Command{
		Use: "create AGENT VERSION", Short: "Roll a release out", Args: cobra.ExactArgs(2),
		Long: "Roll a release out to everyone, a group's hosts or one host. With --watch, follow it\nuntil it ends or waits for somebody; the exit code says whether it completed.",
		Example: "  ops-meta rollout create node_exporter 1.9.1 --watch\n" +
			"  ops-meta rollout create node_exporter 1.9.1 --group canary --stages 1,50%,100% --soak 300",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := n.complete(cmd, args[0], args[1]); err != nil {
				return err
			}
			return a.startRollout(cmd.Context(), n)
		},
	}
	n.addFlags(c)
	return c
}

// startRollout makes a rollout and says what it is about to do.
func (a *app) startRollout(ctx context.Context, n newRollout) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	impact, err := c.RolloutImpact(ctx, n.NewRollout)
	if err != nil {
		return err
	}
	if err := n.refuseUnknown(ctx, c, impact); err != nil {
		return err
	}
	create, name, verb := c.CreateRollout, "", "is"
	if n.dryRun {
		create, verb = c.TryRollout, "would be"
	}
	r, err := create(ctx, n.NewRollout)
	if err != nil {
		return err
	}
	if !n.dryRun {
		name = r.ID + " "
	}
	if a.watch && !n.dryRun {
		a.warnOfImpact(a.err, impact)
		return a.watchRollout(ctx, c, r.ID)
	}
	return a.print(a.out, r, func(w io.Writer) {
		writef(w, "rollout %sof %s %s to %s %s %s: %s\n", name, r.Agent, r.Version, r.Scope, verb, r.State, impactText(impact))
		a.warnOfImpact(w, impact)
		writef(w, "stages: %s\n", stagesText(r.Strategy))
		if !n.dryRun {
			a.printNextStep(w, r)
		}
	})
}

func (a *app) rolloutListCommand() *cobra.Command {
	var o api.ListOptions
	var active bool
	var sort string
	c := &cobra.Command{Use: "list [AGENT]", Short: "Rollouts, the newest first", Args: cobra.MaximumNArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		if active {
			o.State = "active"
		}
		if len(args) > 0 {
			if o.Agent != "" && o.Agent != args[0] {
				return &usage{command: cmd, err: fmt.Errorf("%s and --agent %s are two agents: say one", args[0], o.Agent)}
			}
			o.Agent = args[0]
		}
		err := a.checkOnce(cmd, func(ctx context.Context, c *api.Client) error {
			return cmp.Or(oneOf("state", o.State, api.RolloutStates()), knownAgent(ctx, c, o.Agent))
		})
		if err != nil {
			return err
		}
		return a.showView(cmd, func(ctx context.Context, c *api.Client, w io.Writer) error {
			page, err := c.Rollouts(ctx, o)
			if err == nil {
				err = rolloutOrder.sortItems(page.Items, sort)
			}
			if err != nil {
				return err
			}
			return a.print(w, page, func(w io.Writer) { a.printRollouts(w, page.Items) })
		})
	}}
	c.Flags().StringVar(&sort, "sort", "", rolloutOrder.sortHelp())
	c.Flags().StringVar(&o.Agent, "agent", "", "only of this agent")
	c.Flags().StringVar(&o.State, "state", "", "only in this state, such as paused")
	c.Flags().BoolVar(&active, "active", false, "only those that have not ended")
	c.Flags().IntVar(&o.Limit, "limit", 0, "how many (default 100)")
	return c
}

var rolloutOrder = order[api.Rollout]{
	"agent": byKey(func(r api.Rollout) string { return r.Agent }), "state": byKey(func(r api.Rollout) string { return string(r.State) }),
	"created": func(x, y api.Rollout) int { return x.CreatedAt.Compare(y.CreatedAt) },
	"failed":  byKey(func(r api.Rollout) int { return sumUp(r).Failed }),
}

func (a *app) printRollouts(w io.Writer, all []api.Rollout) {
	t := table{head: []string{"ROLLOUT", "AGENT", "VERSION", "SCOPE", "STATE", "STAGE", "HEALTHY", "FAILED", "WHY", "BY", "WHEN"}}
	for _, r := range all {
		s := sumUp(r)
		t.add(cell{r.ID, bold}, plain(r.Agent), plain(versionsText(r)), plain(r.Scope.String()),
			cell{string(r.State), stateStyle(r.State)}, plain(fmt.Sprintf("%d/%d", min(r.Stage+1, len(r.Strategy.Stages)), len(r.Strategy.Stages))),
			plain(strconv.Itoa(s.Succeeded+s.Already)), alarmCell(s.Failed, red), plain(r.Reason), plain(r.CreatedBy), plain(ago(r.CreatedAt)))
	}
	t.write(a, w)
}

func (a *app) rolloutShowCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show ROLLOUT|AGENT", Short: "One rollout: its stages, failures and history", Args: cobra.ExactArgs(1),
		Long: "One rollout, by its id, the beginning of one, or its agent: then the one under way, else\nthe latest. With --watch, follow it until it ends or waits for somebody.",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			r, err := rolloutNamed(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			if a.watch {
				return a.watchRollout(cmd.Context(), c, r.ID)
			}
			_, err = a.viewRollout(cmd.Context(), c, a.out, r.ID)
			return err
		},
	}
}

func (a *app) rolloutHostsCommand() *cobra.Command {
	var state string
	c := &cobra.Command{
		Use: "hosts ROLLOUT|AGENT", Short: "The hosts of a rollout: who waits and why, who is in flight, failed, held, silent", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := oneOf("state", state, hostStates()); err != nil {
				return err
			}
			return a.showView(cmd, func(ctx context.Context, c *api.Client, w io.Writer) error {
				r, err := rolloutNamed(ctx, c, args[0])
				if err != nil {
					return err
				}
				all, err := api.All(func(cursor string) (api.Page[api.RolloutHost], error) {
					return c.RolloutHosts(ctx, r.ID, api.ListOptions{State: state, Cursor: cursor, Limit: api.MaxPage})
				})
				if err != nil {
					return err
				}
				return printList(a, w, all, func(w io.Writer) { a.printRolloutHosts(w, r, all) })
			})
		},
	}
	c.Flags().StringVar(&state, "state", "", "only "+strings.Join(hostStates(), ", "))
	_ = c.RegisterFlagCompletionFunc("state", cobra.FixedCompletions(hostStates(), cobra.ShellCompDirectiveNoFileComp))
	return c
}

func hostStates() []string {
	return api.NamesOf(api.RolloutHostStates(), func(s api.RolloutHostState) string { return string(s) })
}

func (a *app) printRolloutHosts(w io.Writer, r api.Rollout, all []api.RolloutHost) {
	styles := map[api.RolloutHostState]style{
		api.RolloutHostFailed: red, api.RolloutHostHeld: yellow, api.RolloutHostSilent: yellow, api.RolloutHostSucceeded: green, api.RolloutHostAlready: green,
	}
	t := table{head: []string{"HOST", "STATE", "STAGE", "VERSION", "STATUS", "PHASE", "SEEN", "WHY"}}
	for _, h := range all {
		stage := strconv.Itoa(h.Stage + 1)
		if h.Stage < len(r.Strategy.Stages) {
			stage = cmp.Or(r.Strategy.Stages[h.Stage].Name, stage)
		}
		seen := "never"
		if h.LastSeen != nil {
			seen = ago(*h.LastSeen)
		}
		t.add(cell{h.Host, bold}, cell{string(h.State), styles[h.State]}, plain(stage), plain(cmp.Or(h.Version, "-")), plain(h.Status),
			plain(cmp.Or(h.Phase, "-")), plain(seen), plain(strings.TrimPrefix(withCode(h.Reason, h.HostReason)+": "+h.Message, ": ")))
	}
	t.write(a, w)
}

func (a *app) rolloutActCommand(action, short string) *cobra.Command {
	var why api.RolloutAction
	c := &cobra.Command{Use: action + " ROLLOUT|AGENT", Short: short, Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		before, err := rolloutNamed(cmd.Context(), c, args[0])
		if err != nil {
			return err
		}
		r, err := c.ActOnRollout(cmd.Context(), before.ID, action, why)
		if err != nil {
			return err
		}
		if a.watch {
			return a.watchRollout(cmd.Context(), c, r.ID)
		}
		return a.print(a.out, r, func(w io.Writer) {
			what := "rollout " + r.ID
			if r.ID != before.ID {
				what = "rollout " + before.ID + " is taken back by " + r.ID + ", which"
			}
			writef(w, "%s is %s (%s)\n", what, a.paint(a.out, stateStyle(r.State), string(r.State)), r.Reason)
			if n := inFlight(before); action == api.ActionRetry && n > 0 {
				writef(w, "%d hosts were in flight already: one that fails from now on counts, and may pause it again\n", n)
			}
			a.printNextStep(w, r)
		})
	}}
	c.Flags().StringVar(&why.Reason, "reason", "", "why, for anyone who reads it later")
	return c
}
