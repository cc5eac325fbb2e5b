package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
)

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "The fleet at a glance", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.showView(cmd, func(ctx context.Context, c *api.Client, w io.Writer) error {
				o, err := c.Overview(ctx)
				if err != nil {
					return err
				}
				return a.print(w, o, func(w io.Writer) { a.printOverview(w, o) })
			})
		},
	}
}

func (a *app) printOverview(w io.Writer, o api.Overview) {
	part := func(n int, what string, s style) painted {
		if n == 0 {
			s = ""
		}
		return a.paint(a.out, s, fmt.Sprintf("%d %s", n, what))
	}
	if o.Standstill != nil {
		writef(w, "%s\n", a.paint(a.out, red, "the fleet stands still: hosts keep what they report; ops-meta standstill shows what would move"))
	}
	writef(w, "%s: %s, %s, %s, %s\n\n", printable.Count(o.Hosts, "host", "hosts"), part(o.Failing, "failing", red),
		part(o.Drifted, "not yet as wanted", yellow), part(o.Silent, "silent", yellow), part(o.Problems, "with problems", red))
	if o.Trust["warn"]+o.Trust["require"] > 0 {
		writef(w, "%s, %s, %s\n\n", printable.Count(o.Trust["require"], "host requires signatures", "hosts require signatures"), part(o.Trust["warn"], "warn", yellow), part(o.Refusing, "do not believe this server", red))
	}
	t := table{head: []string{"AGENT", "HOSTS", "FAILING", "NOT AS WANTED", "STATUS", "VERSIONS"}}
	for _, ag := range o.Agents {
		t.add(cell{ag.Name, bold}, plain(fmt.Sprint(ag.Hosts)), alarmCell(ag.Failing, red), alarmCell(ag.Drifted, yellow),
			plain(countsText(ag.Statuses)), plain(countsText(ag.Versions)))
	}
	t.write(a, w)
}

func alarmCell(n int, s style) cell {
	if n == 0 {
		return plain("0")
	}
	return cell{fmt.Sprint(n), s}
}

// countsText lists what there is most of first.
func countsText(m map[string]int) string {
	keys := slices.SortedFunc(maps.Keys(m), func(x, y string) int { return cmp.Or(m[y]-m[x], strings.Compare(x, y)) })
	var parts []string
	for _, k := range keys {
		parts = append(parts, fmt.Sprintf("%s: %d", cmp.Or(k, "none"), m[k]))
	}
	return strings.Join(parts, ", ")
}

func (a *app) hostsCommand() *cobra.Command {
	var q api.HostQuery
	var all bool
	var sort string
	c := &cobra.Command{
		Use: "hosts [SEARCH]", Short: "Hosts with their agents", Args: cobra.MaximumNArgs(1),
		Long: "Hosts by name, each with the agents it reports. SEARCH is part of a name, an\naddress or a label's value; every flag narrows the list further.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				q.Search = args[0]
			}
			if err := a.checkOnce(cmd, func(ctx context.Context, c *api.Client) error { return knownFilters(ctx, c, q) }); err != nil {
				return err
			}
			return a.showView(cmd, func(ctx context.Context, c *api.Client, w io.Writer) error {
				page, err := hostPages(ctx, c, q, all || sort != "")
				if err != nil {
					return err
				}
				if err := sortHosts(&page, sort, q.Limit, all); err != nil {
					return err
				}
				return a.print(w, page, func(w io.Writer) { a.printHosts(w, page) })
			})
		},
	}
	f := c.Flags()
	f.StringVar(&q.Group, "group", "", "that this group matches")
	f.StringVar(&q.Agent, "agent", "", "that report this agent")
	f.StringVar(&q.Version, "version", "", "with this version of the agent, or of any")
	f.StringVar(&q.Status, "status", "", "with the agent, or any, in this status")
	f.StringVar(&q.Phase, "phase", "", "with the agent, or any, in this phase")
	f.StringVar(&q.Arch, "arch", "", "of this arch, such as linux_amd64")
	f.StringVar(&q.Trust, "trust", "", "how strictly they verify: off, warn, require; or refusing: that do not believe this server")
	f.BoolVar(&q.Failing, "failing", false, "where an agent failed, was rolled back or has an error")
	f.BoolVar(&q.InOrder, "in-order", false, "neither silent, nor failing, nor on another version than wanted")
	f.BoolVar(&q.Drifted, "drifted", false, "where a version is not the wanted one")
	f.BoolVar(&q.Silent, "silent", false, "not seen for three intervals")
	f.BoolVar(&q.Problem, "problem", false, "with two machines under one name, or a wrong clock")
	f.IntVar(&q.Limit, "limit", 0, "at most so many (default 100)")
	f.BoolVar(&all, "all", false, "all of them, however many")
	f.Var(&labelsFlag{&q.Labels}, "label", "NAME=VALUE that they have; may be repeated")
	f.StringVar(&sort, "sort", "", hostOrder.sortHelp())
	return c
}

// checkOnce runs a check once, before a command shows something again and again.
func (a *app) checkOnce(cmd *cobra.Command, check func(context.Context, *api.Client) error) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	return check(cmd.Context(), c)
}

var hostOrder = order[api.Host]{
	"name": byKey(func(h api.Host) string { return h.Name }), "ip": byKey(func(h api.Host) string { return h.IP }),
	"arch": byKey(func(h api.Host) string { return h.Arch }), "seen": func(x, y api.Host) int { return y.LastSeen.Compare(x.LastSeen) },
	"first": func(x, y api.Host) int { return y.FirstSeen.Compare(x.FirstSeen) },
}

// sortHosts orders all hosts and leaves the first of them.
func sortHosts(page *api.Page[api.Host], by string, limit int, all bool) error {
	if by == "" {
		return nil
	}
	if limit <= 0 {
		limit = api.DefaultPage
	}
	err := hostOrder.sortItems(page.Items, by)
	if !all && len(page.Items) > limit {
		page.Items, page.Next = page.Items[:limit], page.Items[limit-1].Name
	}
	return err
}

// hostPages is one page, or all of them in one.
func hostPages(ctx context.Context, c *api.Client, q api.HostQuery, all bool) (api.Page[api.Host], error) {
	if !all {
		return c.Hosts(ctx, q)
	}
	q.Limit = api.MaxPage
	hosts, err := api.All(func(cursor string) (api.Page[api.Host], error) {
		q.After = cursor
		return c.Hosts(ctx, q)
	})
	return api.Page[api.Host]{Items: hosts, Total: len(hosts)}, err
}

func (a *app) printHosts(w io.Writer, page api.Page[api.Host]) {
	// A fleet in which nothing is verified has no column for it.
	verify := slices.ContainsFunc(page.Items, func(h api.Host) bool { return h.Trust != nil })
	head := []string{"HOST", "IP", "ARCH", "SEEN"}
	if verify {
		head = append(head, "TRUST")
	}
	t := table{head: append(head, "AGENT", "VERSION", "WANTED", "STATUS", "PHASE", "ERROR")}
	for _, h := range page.Items {
		start := []cell{{h.Name, bold}, plain(h.IP), plain(h.Arch), seenCell(h)}
		if verify {
			start = append(start, trustCell(h.Trust))
		}
		if len(h.Agents) == 0 {
			t.add(append(start, plain("-"))...)
		}
		for _, ag := range h.Agents {
			t.add(append(start, agentCells(ag)...)...)
			start = make([]cell, len(head)) // named once
		}
	}
	t.write(a, w)
	if page.Next != "" {
		writef(w, "… %s shown; --limit or --all shows more, SEARCH and flags narrow\n", printable.Count(len(page.Items), "host", "hosts"))
	}
}

// trustCell says how strictly a host verifies, or why it does not believe this server.
func trustCell(t *meta.TrustReport) cell {
	switch {
	case t == nil:
		return plain("-")
	case t.Reason != "":
		return cell{"refuses: " + t.Reason, red}
	case t.Epoch > 0:
		return plain(fmt.Sprintf("%s, epoch %d", t.Strictest(), t.Epoch))
	}
	return plain(string(t.Strictest()))
}

func seenCell(h api.Host) cell {
	if h.Silent {
		return cell{ago(h.LastSeen), red}
	}
	return plain(ago(h.LastSeen))
}

func agentCells(ag api.HostAgent) []cell {
	version, status := plain(cmp.Or(ag.Version, "-")), plain(ag.Status)
	if ag.Wanted != "" && ag.Wanted != ag.Version {
		version.style = yellow
	}
	switch {
	case ag.Status == meta.StatusStarted:
		status.style = green
	case strings.HasPrefix(ag.Status, meta.StatusUnknown):
		status.style = red
	}
	phase := ag.Phase
	if ag.Held {
		phase = meta.PhaseHeld
	}
	return []cell{plain(ag.Name), version, plain(cmp.Or(ag.Wanted, "-")), status, plain(cmp.Or(string(phase), "-")), {withCode(ag.Error, ag.Reason), red}}
}

func (a *app) hostCommand() *cobra.Command {
	var forget bool
	var events int
	c := &cobra.Command{
		Use: "host NAME", Short: "One host: what it runs, and what happened to it", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if forget {
				return a.forgetHost(cmd, args[0])
			}
			return a.showView(cmd, func(ctx context.Context, c *api.Client, w io.Writer) error {
				name, err := hostNamed(ctx, c, args[0])
				if err != nil {
					return err
				}
				return a.showHost(ctx, c, w, name, events)
			})
		},
	}
	c.Flags().BoolVar(&forget, "forget", false, "forget the host until its next heartbeat, and void its credential")
	c.Flags().IntVar(&events, "events", 20, "so many lines of its timeline")
	return c
}

func (a *app) forgetHost(cmd *cobra.Command, name string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	if err := c.DeleteHost(cmd.Context(), name); err != nil {
		return err
	}
	a.say("host %s forgotten", name)
	return nil
}

func (a *app) showHost(ctx context.Context, c *api.Client, w io.Writer, name string, limit int) error {
	h, err := c.Host(ctx, name)
	if err != nil {
		return err
	}
	events, err := c.HostEvents(ctx, name, api.ListOptions{Limit: limit})
	if err != nil {
		return err
	}
	both := struct {
		api.Host
		Events []api.Event `json:"events"`
	}{h, events.Items}
	return a.print(w, both, func(w io.Writer) {
		a.printHost(w, h)
		a.printEvents(w, events.Items)
	})
}

func (a *app) printHost(w io.Writer, h api.Host) {
	writef(w, "%s  %s  %s  ops-updater %s as %s\n", a.paint(a.out, bold, h.Name), h.IP, h.Arch,
		cmp.Or(h.UpdaterVersion, "?"), cmp.Or(h.RunUser, "?"))
	writef(w, "seen %s, first %s, dialect %s\n", ago(h.LastSeen), ago(h.FirstSeen), h.Dialect)
	for _, k := range slices.Sorted(maps.Keys(h.Labels)) {
		writef(w, "label %s=%s\n", k, h.Labels[k])
	}
	if h.Trust != nil {
		writef(w, "verifies %s\n", h.Trust.InWords())
	}
	for _, name := range h.Missing {
		_, _ = fmt.Fprintf(w, "%s shall run here and is not reported: see ops-meta explain %s\n", name, h.Name)
	}
	for _, p := range h.Problems {
		writef(w, "%s\n", a.paint(a.out, red, "problem: "+p))
	}
	writef(w, "\n")
	t := table{head: []string{"AGENT", "VERSION", "WANTED", "STATUS", "PHASE", "ERROR"}}
	for _, ag := range h.Agents {
		t.add(agentCells(ag)...)
	}
	t.write(a, w)
}

func (a *app) printEvents(w io.Writer, events []api.Event) {
	if len(events) == 0 {
		return
	}
	writef(w, "\n")
	t := table{head: []string{"WHEN", "WHAT", "AGENT", "FROM", "TO", "MESSAGE"}}
	for _, e := range events {
		t.add(plain(ago(e.Time)), plain(e.Kind), plain(e.Agent), plain(e.From), plain(e.To), plain(withCode(e.Message, e.Reason)))
	}
	t.write(a, w)
}
