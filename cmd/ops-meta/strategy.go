package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ops-updater/ops-updater/internal/timespan"
	"github.com/ops-updater/ops-updater/meta/api"
)

func (a *app) strategyCommand() *cobra.Command {
	c := &cobra.Command{Use: "strategy", Short: "Strategies: named ways of rolling out"}
	c.AddCommand(a.strategyListCommand(), a.strategyShowCommand(), a.strategySetCommand(), a.strategyRemoveCommand())
	return c
}

func (a *app) strategyListCommand() *cobra.Command {
	return &cobra.Command{Use: "list", Short: "All strategies", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return a.showView(cmd, func(ctx context.Context, c *api.Client, w io.Writer) error {
			all, err := api.All(func(cursor string) (api.Page[api.Strategy], error) {
				return c.Strategies(ctx, api.ListOptions{Cursor: cursor})
			})
			if err != nil {
				return err
			}
			return printList(a, w, all, func(w io.Writer) { a.printStrategies(w, all) })
		})
	}}
}

func (a *app) strategyShowCommand() *cobra.Command {
	return &cobra.Command{Use: "show NAME", Short: "One strategy", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		return a.showView(cmd, func(ctx context.Context, c *api.Client, w io.Writer) error {
			s, err := c.Strategy(ctx, args[0])
			if err != nil {
				return err
			}
			return a.print(w, s, func(w io.Writer) { a.printStrategies(w, []api.Strategy{s}) })
		})
	}}
}

func (a *app) printStrategies(w io.Writer, all []api.Strategy) {
	t := table{head: []string{"STRATEGY", "STAGES", "ON FAILURE", "MAY FAIL", "DEADLINE", "IN FLIGHT", "WINDOW", "RATE"}}
	for _, s := range all {
		may := strconv.Itoa(s.MaxFailed)
		if s.MaxFailedPct > 0 {
			may = fmt.Sprintf("%g %%", s.MaxFailedPct)
		}
		t.add(cell{s.Name, bold}, plain(stagesText(s)), plain(cmp.Or(s.OnFailure, api.OnFailurePause)), plain(may),
			plain(timespan.Say(s.GrantDeadline())), plain(orNoLimit(s.MaxInFlight)), plain(windowText(s.Window)), plain(rateText(s.Rate)))
	}
	t.write(a, w)
}

func orNoLimit(n int) string {
	if n == 0 {
		return "no limit"
	}
	return strconv.Itoa(n)
}

func windowText(w *api.Window) string {
	if w == nil {
		return "always"
	}
	return strings.TrimSpace(strings.Join(w.Days, ",") + " " + w.From + "-" + w.To + " " + cmp.Or(w.Zone, "UTC"))
}

func rateText(r *api.RateLimit) string {
	if r == nil {
		return "no limit"
	}
	return fmt.Sprintf("%d/%ds", r.Hosts, r.Period)
}

// strategyFlags are what strategy set can name.
type strategyFlags struct {
	api.Strategy
	stages, window, rate string
	soak                 int
	approval             []int
}

func (s *strategyFlags) addFlags(f *pflag.FlagSet) {
	f.StringVar(&s.stages, "stages", "", "numbers of hosts and percents, such as 1,10%,100%")
	secondsVar(f, &s.soak, "soak", "how long each stage must be healthy before the next, such as 10m; a plain number is seconds")
	f.IntSliceVar(&s.approval, "approval", nil, "numbers of the stages that wait for approval before they begin, such as 2,3; 0: none")
	f.StringVar(&s.OnFailure, "on-failure", "", "pause (default), abort or rollback")
	f.IntVar(&s.MaxFailed, "max-failed", 0, "failed hosts that are borne")
	f.Float64Var(&s.MaxFailedPct, "max-failed-pct", 0, "percent of granted hosts that may fail; 0: the number counts")
	f.IntVar(&s.MinSample, "min-sample", 0, "hosts that must be judged before the percent counts")
	secondsVar(f, &s.Deadline, "deadline", "how long a granted host has, such as 15m; a plain number is seconds")
	f.IntVar(&s.MaxInFlight, "max-in-flight", 0, "hosts that may be under way at once; 0: no limit")
	f.StringVar(&s.window, "window", "", "when hosts are granted: [DAYS ]FROM-TO[ ZONE], such as 'mon,tue 22:00-06:00 Europe/Berlin'; empty: always")
	f.StringVar(&s.rate, "rate", "", "hosts in a time, such as 50/10m; empty: no limit")
	f.BoolVar(&s.Parallel, "parallel", false, "also on hosts in the middle of another agent's rollout")
}

func (a *app) strategySetCommand() *cobra.Command {
	var s strategyFlags
	c := &cobra.Command{
		Use: "set NAME", Short: "Make a strategy, or change what is named of it", Args: cobra.ExactArgs(1),
		Long: "Make a strategy, or change it: what no flag names stays as it is. Rollouts under way keep\ntheirs. Stages are cumulative, and the last must be 100%.",
		Example: "  ops-meta strategy set careful --stages 1,5%,25%,100% --soak 30m --approval 2\n" +
			"  ops-meta strategy set careful --window 'mon,tue,wed,thu 09:00-16:00 Europe/Berlin' --rate 50/10m",
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		put, made, err := s.putStrategy(cmd.Context(), client, cmd.Flags(), args[0])
		if err != nil {
			return err
		}
		return a.print(a.out, put, func(w io.Writer) { writef(w, "strategy %s %s: %s\n", put.Name, made, stagesText(put)) })
	}
	s.addFlags(c.Flags())
	return c
}

// putStrategy changes what the flags name of a strategy, or makes it.
func (s *strategyFlags) putStrategy(ctx context.Context, c *api.Client, f *pflag.FlagSet, name string) (api.Strategy, string, error) {
	var err error
	s.Name = name
	if s.Window, err = parseWindow(s.window); err != nil {
		return s.Strategy, "", err
	}
	if s.Rate, err = parseRate(s.rate); err != nil {
		return s.Strategy, "", err
	}
	now, err := c.Strategy(ctx, name)
	if isNotFound(err) {
		now, err = api.Strategy{Revision: api.MustNotExist}, nil
	}
	if err == nil {
		s.Stages, err = s.stagesOf(f, now.Stages)
	}
	if err != nil {
		return s.Strategy, "", err
	}
	if now.Revision == api.MustNotExist {
		s.Revision = now.Revision
		put, err := c.PutStrategy(ctx, s.Strategy)
		return put, "made", err
	}
	p := patchOfFlags(f, map[string]flagField{
		"on-failure": field("onFailure", &s.OnFailure), "max-failed": field("maxFailed", &s.MaxFailed), "max-failed-pct": field("maxFailedPct", &s.MaxFailedPct),
		"min-sample": field("minSample", &s.MinSample), "deadline": field("deadline", &s.Deadline), "max-in-flight": field("maxInFlight", &s.MaxInFlight),
		"window": orNull("window", &s.Window), "rate": orNull("rate", &s.Rate), "parallel": field("parallel", &s.Parallel),
	})
	if f.Changed("stages") || f.Changed("soak") || f.Changed("approval") {
		p["stages"] = s.Stages
	}
	put, err := c.PatchStrategy(ctx, name, p, now.Revision)
	return put, "set", err
}

// orNull is a field that a flag sets to an object, or takes away.
func orNull[T any](name string, p **T) flagField {
	return flagField{name, func() any {
		if *p == nil {
			return nil
		}
		return *p
	}}
}

// stagesOf are the stages that the flags make of those there are.
func (s *strategyFlags) stagesOf(f *pflag.FlagSet, stages []api.Stage) ([]api.Stage, error) {
	if s.stages != "" {
		var err error
		if stages, err = parseStages(s.stages); err != nil {
			return nil, err
		}
	}
	if f.Changed("approval") {
		for i := range stages {
			stages[i].Approval = false
		}
	}
	for _, n := range s.approval {
		if n < 0 || n > len(stages) {
			return nil, &api.Error{Kind: api.KindInvalid, Field: "approval", Message: fmt.Sprintf("there is no stage %d of %d", n, len(stages))}
		}
		if n > 0 {
			stages[n-1].Approval = true
		}
	}
	for i := range stages {
		if f.Changed("soak") {
			stages[i].Soak = s.soak
		}
	}
	return stages, nil
}

func parseStages(text string) (stages []api.Stage, err error) {
	for one := range strings.SplitSeq(text, ",") {
		st, err := parseStage(strings.TrimSpace(one))
		if err != nil {
			return nil, err
		}
		stages = append(stages, st)
	}
	return stages, nil
}

func parseWindow(text string) (*api.Window, error) {
	var w api.Window
	bad := &api.Error{
		Kind: api.KindInvalid, Field: "window", Message: fmt.Sprintf("window %q is not [DAYS ]FROM-TO[ ZONE]", text),
		Hint: "such as 'mon,tue 22:00-06:00 Europe/Berlin'",
	}
	if text == "" {
		return nil, nil
	}
	for i, part := range strings.Fields(text) {
		from, to, span := strings.Cut(part, "-")
		switch {
		case span && strings.Contains(from, ":") && w.From == "":
			w.From, w.To = from, to
		case i == 0:
			w.Days = strings.Split(strings.ToLower(part), ",")
		case w.From != "" && w.Zone == "":
			w.Zone = part
		default:
			return nil, bad
		}
	}
	if w.From == "" {
		return nil, bad
	}
	return &w, w.Validate()
}

func parseRate(text string) (*api.RateLimit, error) {
	if text == "" {
		return nil, nil
	}
	hosts, period, _ := strings.Cut(text, "/")
	var r api.RateLimit
	var err error
	if r.Hosts, err = strconv.Atoi(hosts); err == nil {
		err = (&length{&r.Period, time.Second}).Set(period)
	}
	if err != nil {
		return nil, &api.Error{Kind: api.KindInvalid, Field: "rate", Message: fmt.Sprintf("rate %q is not HOSTS/TIME", text), Hint: "such as 50/10m"}
	}
	return &r, r.Validate()
}

func (a *app) strategyRemoveCommand() *cobra.Command {
	return &cobra.Command{Use: "remove NAME", Short: "Remove a strategy that no agent names", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		if err := c.DeleteStrategy(cmd.Context(), args[0], 0); err != nil {
			return err
		}
		a.say("strategy %s removed", args[0])
		return nil
	}}
}
