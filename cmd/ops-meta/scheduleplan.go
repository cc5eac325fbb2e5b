package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ops-updater/ops-updater/internal/timespan"
	"github.com/ops-updater/ops-updater/meta/api"
)

// shownPlanned is how many hosts of a plan are shown unless told.
const shownPlanned = 1000

// planning is one question for a plan.
type planning struct {
	api.PlanQuery
	from  string
	hosts bool
	after string
	limit int
}

func (a *app) schedulePlanCommand() *cobra.Command {
	var p planning
	c := &cobra.Command{
		Use: "plan NAME", Short: "A dry run: when which host would change, and which would not and why", Args: cobra.ExactArgs(1),
		Long: `Say when what would change by a schedule if its channel pointed at a version, from now
on, and change nothing: when each wave begins and ends, for which windows it waits and how
many hosts it has; with --hosts each host. It is run ahead of time by the same rules that
the rollout then follows, and a percent of hosts is drawn as that will draw it. A plan
knows of no failures, and of nothing that somebody changes meanwhile.`,
		Example: "  ops-meta schedule plan production\n  ops-meta schedule plan production --agent node_exporter --version 1.9.1 --hosts\n  ops-meta schedule plan production --from \"2026-12-24 18:00\" -o json",
		RunE: func(cmd *cobra.Command, args []string) error {
			p.Schedule = args[0]
			if err := p.complete(cmd, time.Now()); err != nil {
				return err
			}
			return a.showView(cmd, func(ctx context.Context, c *api.Client, w io.Writer) error {
				if p.hosts {
					return a.viewPlannedHosts(ctx, c, w, p)
				}
				plans, err := c.SchedulePlan(ctx, p.PlanQuery)
				if err != nil {
					return err
				}
				return printList(a, w, plans.Items, func(w io.Writer) {
					for i, plan := range plans.Items {
						if i > 0 {
							writef(w, "\n")
						}
						a.printSchedulePlan(w, plan)
					}
					if len(plans.Items) == 0 {
						writef(w, "schedule %s is of no agent: none has its channel\n", p.Schedule)
					}
				})
			})
		},
	}
	f := c.Flags()
	f.StringVar(&p.Agent, "agent", "", "only this one of its agents")
	f.StringVar(&p.Version, "version", "", "as if the channel pointed at this one (default what it points at)")
	f.StringVar(&p.from, "from", "", "from when on: a time such as \"2026-12-24 18:00\", or in how long, such as 2d (default now)")
	secondsVar(f, &p.Takes, "takes", "how long each host is assumed to need until it has shown that the version works (default two heartbeats and the agent's probation)")
	f.BoolVar(&p.hosts, "hosts", false, "also each host; for one agent")
	f.IntVar(&p.limit, "limit", shownPlanned, "with --hosts: at most so many")
	f.StringVar(&p.after, "after", "", "with --hosts: only those whose names sort after it")
	return c
}

// complete turns the flags into what the server takes.
func (p *planning) complete(c *cobra.Command, now time.Time) (err error) {
	if p.limit <= 0 {
		return &usage{command: c, err: errors.New("--limit must be at least 1")}
	}
	if p.from != "" {
		if p.From, err = parseMoment(p.from, now); err != nil {
			return &usage{command: c, err: fmt.Errorf("--from: %w", err)}
		}
	}
	return nil
}

// parseMoment reads a time of the calendar, in this machine's zone unless it names
// one, or how long from now it is.
func parseMoment(text string, now time.Time) (time.Time, error) {
	if d, err := timespan.Parse(text); err == nil {
		return now.Add(d), nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is neither a time such as 2026-12-24 18:00 nor how long until then, such as 2d", text)
}

// plannedView is what --hosts prints as JSON.
type plannedView struct {
	api.SchedulePlan
	Items []api.PlanHost `json:"items"`
	Next  string         `json:"next,omitempty"` // there are more after it
	Total int            `json:"total"`
}

func (a *app) viewPlannedHosts(ctx context.Context, c *api.Client, w io.Writer, p planning) error {
	plans, err := c.SchedulePlan(ctx, p.PlanQuery)
	if err != nil {
		return err
	}
	if len(plans.Items) != 1 {
		return &api.Error{
			Kind: api.KindInvalid, Message: fmt.Sprintf("schedule %s is of %d agents, and --hosts is of one", p.Schedule, len(plans.Items)),
			Hint: "say which with --agent",
		}
	}
	v := plannedView{SchedulePlan: plans.Items[0], Next: p.after}
	p.Agent, p.From = v.Agent, v.From // all pages of this one plan
	for {
		page, err := c.SchedulePlanHosts(ctx, p.PlanQuery, api.Cursor{After: v.Next, Limit: min(p.limit-len(v.Items), api.MaxPage)})
		if err != nil {
			return err
		}
		v.Items, v.Next, v.Total = append(v.Items, page.Items...), page.Next, page.Total
		if v.Next == "" || len(v.Items) >= p.limit {
			break
		}
	}
	return a.print(w, v, func(w io.Writer) { a.printPlannedHosts(w, v) })
}

func (a *app) printSchedulePlan(w io.Writer, p api.SchedulePlan) {
	writef(w, "%s  channel %s at %s, %s has %s\n", a.paint(a.out, bold, p.Schedule+": "+p.Agent), p.Channel, cmp.Or(p.Version, "nothing"), p.Scope.InWords(), cmp.Or(p.Assigned, "nothing"))
	switch {
	case p.Begins == nil:
		writef(w, "%s: %s\n", a.paint(a.out, stateOfSchedule(p.Reason), cmp.Or(p.Reason, "nothing")), p.Message)
		return
	case p.Ends == nil:
		writef(w, "%s %s\n", a.paint(a.out, yellow, "does not come to its end by itself ("+p.Reason+"):"), p.Message)
	default:
		writef(w, "by strategy %s, from %s until %s\n", p.Strategy, planTime(p.Begins, false), planTime(p.Ends, false))
	}
	writef(w, "\n")
	t := table{head: []string{"WAVE", "HOSTS", "BEGINS", "LETS THEM HAVE IT", "IS OVER", "WAITS"}}
	for _, st := range p.Stages {
		t.add(cell{st.Name, bold}, plain(fmt.Sprint(st.Hosts)), plain(planTime(st.Begins, st.NotBefore)), plain(planSpan(st.First, st.Last)), plain(planTime(st.Ends, st.NotBefore)), plain(planWaits(st)))
	}
	t.write(a, w)
	writef(w, "\n%s\n", planCounts(p.Hosts))
	for _, n := range p.Notes {
		writef(w, "%s\n", a.paint(a.out, dim, "note: "+n))
	}
}

// planTime is a moment of a plan; earliest says that it may be later.
func planTime(t *time.Time, earliest bool) string {
	switch {
	case t == nil:
		return "-"
	case earliest:
		return "≥ " + t.Local().Format("Mon 2006-01-02 15:04")
	}
	return t.Local().Format("Mon 2006-01-02 15:04")
}

func planSpan(from, by *time.Time) string {
	switch {
	case from == nil:
		return "-"
	case by == nil:
		return "from " + planTime(from, false)
	case from.Equal(*by):
		return planTime(from, false)
	}
	return planTime(from, false) + " to " + planTime(by, false)
}

func planWaits(st api.PlanStage) string {
	var parts []string
	if st.Approval {
		parts = append(parts, "for approval")
	}
	const shown = 2
	for i, wait := range st.Waits {
		if i == shown {
			parts = append(parts, fmt.Sprintf("%d times more", len(st.Waits)-shown))
			break
		}
		parts = append(parts, "for its window until "+planTime(&wait.Until, false))
	}
	return strings.Join(parts, ", ")
}

// planWords are how many hosts of a state are spoken of.
var planWords = map[api.PlanHostState]string{
	api.PlanHostChanges: "change", api.PlanHostAlready: "have it already", api.PlanHostHeld: "are held", api.PlanHostSilent: "are silent",
	api.PlanHostNoArtifact: "have no artifact for their arch", api.PlanHostOverruled: "follow a narrower rule", api.PlanHostRefuses: "refuse it for want of a signature",
	api.PlanHostFailed: "have failed on it", api.PlanHostNotReached: "are not reached",
}

func planCounts(hosts map[api.PlanHostState]int) string {
	var parts []string
	for _, s := range api.PlanHostStates() {
		if n := hosts[s]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, planWords[s]))
		}
	}
	if len(parts) == 0 {
		return "no host is concerned"
	}
	return "hosts: " + strings.Join(parts, ", ")
}

func (a *app) printPlannedHosts(w io.Writer, v plannedView) {
	a.printSchedulePlan(w, v.SchedulePlan)
	writef(w, "\n")
	t := table{head: []string{"HOST", "", "WAVE", "MAY HAVE IT", "WHY"}}
	for _, h := range v.Items {
		why, look := h.Message, style("")
		if h.Chance != nil {
			why = strings.TrimPrefix(why+"; ", "; ") + "or in " + h.Chance.Stage + " from " + planTime(&h.Chance.From, false) + ", if it asks first"
		}
		if h.State != api.PlanHostChanges && h.State != api.PlanHostAlready {
			look = yellow
		}
		t.add(cell{h.Host, bold}, cell{string(h.State), look}, plain(cmp.Or(h.Stage, "-")), plain(planSpan(h.From, h.By)), plain(why))
	}
	t.write(a, w)
	if v.Next != "" {
		writef(w, "%d of %d hosts; the next: --after %s\n", len(v.Items), v.Total, v.Next)
	}
}
