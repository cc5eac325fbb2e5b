package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/meta/api"
)

func (a *app) groupCommand() *cobra.Command {
	c := &cobra.Command{Use: "group", Short: "Groups: hosts that a selector matches"}
	c.AddCommand(a.groupListCommand(), a.groupSetCommand(), a.groupHostsCommand(), a.groupRemoveCommand())
	return c
}

func (a *app) groupListCommand() *cobra.Command {
	return &cobra.Command{Use: "list", Short: "All groups, those that win first", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return a.showView(cmd, func(ctx context.Context, c *api.Client, w io.Writer) error {
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
		Use: "set NAME", Short: "Make a group, or change what is named of it", Args: cobra.ExactArgs(1),
		Long: "Make a group, or change it: what no flag names stays as it is. A host must satisfy every\n" +
			"kind of selector that is given; within a kind one match is enough. The hostname forms are\n" +
			"one kind. A flag gives all entries of its kind; with an empty value (--cidr '') it takes\n" +
			"the kind away.",
		Example: "  ops-meta group set canary --host web-1 --host web-2 --priority 100\n  ops-meta group set eu --label region=eu --cidr 10.8.0.0/13",
	}
	s, f := &g.Selector, c.Flags()
	c.RunE = func(cmd *cobra.Command, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		g.Name = args[0]
		put, _, err := setNoun(setting[api.Group]{
			change: func() (api.Group, error) {
				p := patchOfFlags(f, map[string]flagField{"description": field("description", &g.Description), "priority": field("priority", &g.Priority)})
				selector := patchOfFlags(f, map[string]flagField{
					"host": list("hosts", &s.Hosts), "prefix": list("prefixes", &s.Prefixes), "glob": list("globs", &s.Globs),
					"regexp": list("regexps", &s.Regexps), "cidr": list("cidrs", &s.CIDRs), "arch": list("arches", &s.Arches),
				})
				var revision int64
				if f.Changed("label") {
					now, err := client.Group(cmd.Context(), g.Name)
					if err != nil {
						return g, err
					}
					revision, selector["labels"] = now.Revision, insteadOf(now.Selector.Labels, s.Labels)
				}
				if len(selector) > 0 {
					p["selector"] = map[string]any(selector)
				}
				return client.PatchGroup(cmd.Context(), g.Name, p, revision)
			},
			create: func() (api.Group, error) {
				g.Revision = api.MustNotExist
				return client.PutGroup(cmd.Context(), g)
			},
		})
		if err != nil {
			return err
		}
		matched, err := client.MatchSelector(cmd.Context(), put.Selector, api.ListOptions{Limit: 1})
		if err != nil {
			return err
		}
		return a.print(a.out, put, func(w io.Writer) {
			writef(w, "group %s matches %s\n", put.Name, printable.Count(matched.Total, "known host", "known hosts"))
		})
	}
	f.StringVar(&g.Description, "description", "", "what it is for")
	f.IntVar(&g.Priority, "priority", 0, "of groups that match one host the higher wins")
	f.StringArrayVar(&s.Hosts, "host", nil, "exact host name; may be repeated")
	f.StringArrayVar(&s.Prefixes, "prefix", nil, "start of the host name; may be repeated")
	f.StringArrayVar(&s.Globs, "glob", nil, "pattern of the host name, such as web-*; may be repeated")
	f.StringArrayVar(&s.Regexps, "regexp", nil, "RE2 of the whole host name; may be repeated")
	f.StringArrayVar(&s.CIDRs, "cidr", nil, "address or network; may be repeated")
	f.StringArrayVar(&s.Arches, "arch", nil, "such as linux_arm64; may be repeated")
	f.Var(&labelsFlag{&s.Labels}, "label", "NAME=VALUE, all must be equal; may be repeated")
	return c
}

// insteadOf is the patch that puts labels in the place of those there are.
func insteadOf(now, labels map[string]string) any {
	if len(labels) == 0 {
		return nil
	}
	p := map[string]any{}
	for name := range now {
		p[name] = nil
	}
	for name, value := range labels {
		p[name] = value
	}
	return p
}

func (a *app) groupHostsCommand() *cobra.Command {
	return &cobra.Command{Use: "hosts NAME", Short: "Known hosts that the group matches", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		return a.showView(cmd, func(ctx context.Context, c *api.Client, w io.Writer) error {
			name, err := groupNamed(ctx, c, args[0])
			if err != nil {
				return err
			}
			page, err := hostPages(ctx, c, api.HostQuery{Group: name}, true)
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
