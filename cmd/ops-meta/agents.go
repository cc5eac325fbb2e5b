package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
)

func (a *app) agentsCommand() *cobra.Command {
	c := &cobra.Command{Use: "agents", Short: "Agents and their defaults", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return a.showView(cmd, a.listAgents)
	}}
	c.AddCommand(a.agentListCommand(), a.agentShowCommand(), a.agentSetCommand(), a.agentRemoveCommand())
	return c
}

func (a *app) agentListCommand() *cobra.Command {
	return &cobra.Command{Use: "list", Short: "All agents, as \"ops-meta agents\" does", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return a.showView(cmd, a.listAgents)
	}}
}

func (a *app) agentShowCommand() *cobra.Command {
	return &cobra.Command{Use: "show NAME", Short: "One agent and its defaults", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		return a.showView(cmd, func(ctx context.Context, c *api.Client, w io.Writer) error {
			name, err := agentNamed(ctx, c, args[0])
			if err != nil {
				return err
			}
			ag, err := c.Agent(ctx, name)
			if err != nil {
				return err
			}
			return a.print(w, ag, func(w io.Writer) { a.printAgents(w, []api.Agent{ag}) })
		})
	}}
}

func (a *app) listAgents(ctx context.Context, c *api.Client, w io.Writer) error {
	all, err := api.All(func(cursor string) (api.Page[api.Agent], error) {
		return c.Agents(ctx, api.ListOptions{Cursor: cursor})
	})
	if err != nil {
		return err
	}
	return printList(a, w, all, func(w io.Writer) { a.printAgents(w, all) })
}

func (a *app) printAgents(w io.Writer, all []api.Agent) {
	t := table{head: []string{"AGENT", "USER", "DIRECTORY", "CONFIG", "PROBATION", "KEEP", "STRATEGY", "DESCRIPTION"}}
	for _, ag := range all {
		t.add(cell{ag.Name, bold}, plain(ag.RunUser), plain(ag.WorkDir), plain(ag.ConfigFileName), plain(orDefault(ag.Probation, "s")),
			plain(orDefault(ag.Keep, "")), plain(ag.Strategy), plain(ag.Description))
	}
	t.write(a, w)
}

func orDefault(n int, unit string) string {
	if n == 0 {
		return "default"
	}
	return fmt.Sprint(n) + unit
}

func (a *app) agentSetCommand() *cobra.Command {
	var ag api.Agent
	c := &cobra.Command{
		Use: "set NAME", Short: "Make an agent, or change what is named of its defaults", Args: cobra.ExactArgs(1),
		Long: "Make an agent, or change its defaults: what no flag names stays as it is. A flag with an\n" +
			"empty value (--run-user '') takes what was said away.",
		Example: "  ops-meta agents set node_exporter --probation 90s\n  ops-meta agents set node_exporter --run-user exporter --work-dir /srv/agents",
	}
	f := c.Flags()
	c.RunE = func(cmd *cobra.Command, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		ag.Name = args[0]
		put, made, err := setNoun(setting[api.Agent]{
			change: func() (api.Agent, error) {
				return client.PatchAgent(cmd.Context(), ag.Name, patchOfFlags(f, map[string]flagField{
					"description": field("description", &ag.Description), "run-user": field("runUser", &ag.RunUser), "work-dir": field("workDir", &ag.WorkDir),
					"config-file": field("configFileName", &ag.ConfigFileName), "config-url": field("configRemoteUrl", &ag.ConfigRemoteURL),
					"probation": field("probation", &ag.Probation), "keep": field("keep", &ag.Keep), "strategy": field("strategy", &ag.Strategy),
					"mirror": list("mirrors", &ag.Mirrors),
				}), 0)
			},
			create: func() (api.Agent, error) {
				ag.Revision = api.MustNotExist
				return client.PutAgent(cmd.Context(), ag)
			},
		})
		if err != nil {
			return err
		}
		return a.print(a.out, put, func(w io.Writer) { writef(w, "agent %s %s\n", put.Name, made) })
	}
	f.StringVar(&ag.Description, "description", "", "what it is")
	f.StringVar(&ag.RunUser, "run-user", "", "user it runs as; empty: the sidecar's own")
	f.StringVar(&ag.WorkDir, "work-dir", "", "directory its own is made in; empty: the sidecar's default")
	f.StringVar(&ag.ConfigFileName, "config-file", "", "name of its configuration file")
	f.StringVar(&ag.ConfigRemoteURL, "config-url", "", "where that file comes from")
	secondsVar(f, &ag.Probation, "probation", "how long a new version is on probation, such as 90s; a plain number is seconds, 0 the host's default")
	f.IntVar(&ag.Keep, "keep", 0, "versions kept on the host; 0: the host's default")
	f.StringVar(&ag.Strategy, "strategy", "", "how a deploy rolls out")
	f.StringArrayVar(&ag.Mirrors, "mirror", nil, "base URL of a place that has its tarballs too, {mirror}/{arch}/{agent}-{version}.tar.gz; as often as there are")
	return c
}

// setting is how a noun is changed, and made when there is none.
type setting[T any] struct{ change, create func() (T, error) }

// setNoun changes what is named of a noun, or makes it, and says which.
func setNoun[T any](s setting[T]) (put T, made string, err error) {
	put, err = s.change()
	if !isNotFound(err) {
		return put, "set", err
	}
	put, err = s.create()
	return put, "made", err
}

func isNotFound(err error) bool {
	var p *api.Problem
	return errors.As(err, &p) && p.Status == http.StatusNotFound || err != nil && api.KindOf(err) == api.KindNotFound
}

func (a *app) agentRemoveCommand() *cobra.Command {
	return &cobra.Command{Use: "remove NAME", Short: "Remove an agent that nothing uses", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		if err := c.DeleteAgent(cmd.Context(), args[0], 0); err != nil {
			return err
		}
		a.say("agent %s removed", args[0])
		return nil
	}}
}

func (a *app) releasesCommand() *cobra.Command {
	var sort string
	c := &cobra.Command{Use: "releases [AGENT]", Short: "Releases and their artifacts, the newest first", Args: cobra.MaximumNArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		return a.showView(cmd, func(ctx context.Context, c *api.Client, w io.Writer) error {
			return a.listReleases(ctx, c, w, strings.Join(args, ""), sort)
		})
	}}
	c.Flags().StringVar(&sort, "sort", "", releaseOrder.sortHelp())
	c.AddCommand(a.releaseListCommand(), a.releaseSignCommand(), a.releaseRemoveCommand(), a.releasePruneCommand())
	return c
}

func (a *app) releaseListCommand() *cobra.Command {
	var sort string
	c := &cobra.Command{Use: "list [AGENT]", Short: "All releases, as \"ops-meta releases\" does", Args: cobra.MaximumNArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		return a.showView(cmd, func(ctx context.Context, c *api.Client, w io.Writer) error {
			return a.listReleases(ctx, c, w, strings.Join(args, ""), sort)
		})
	}}
	c.Flags().StringVar(&sort, "sort", "", releaseOrder.sortHelp())
	return c
}

var releaseOrder = order[api.Release]{
	"agent": byKey(func(r api.Release) string { return r.Agent }), "version": byVersion,
	"created": func(x, y api.Release) int { return x.CreatedAt.Compare(y.CreatedAt) }, "by": byKey(func(r api.Release) string { return r.CreatedBy }),
}

func byVersion(x, y api.Release) int {
	switch meta.CompareVersions(x.Version, y.Version) {
	case meta.Older:
		return -1
	case meta.Newer:
		return 1
	case meta.Equal, meta.Different:
	}
	return 0
}

func (a *app) listReleases(ctx context.Context, c *api.Client, w io.Writer, agent, sort string) error {
	if agent != "" {
		if err := knownAgent(ctx, c, agent); err != nil {
			return err
		}
	}
	all, err := api.All(func(cursor string) (api.Page[api.Release], error) {
		return c.Releases(ctx, api.ListOptions{Agent: agent, Cursor: cursor})
	})
	if err == nil {
		err = releaseOrder.sortItems(all, sort)
	}
	if err != nil {
		return err
	}
	return printList(a, w, all, func(w io.Writer) {
		t := table{head: []string{"AGENT", "VERSION", "ARCH", "SIZE", "SHA256", "SIGNED BY", "BY", "WHEN", "NOTES"}}
		for _, r := range all {
			if len(r.Artifacts) == 0 {
				t.add(cell{r.Agent, bold}, plain(r.Version), plain("-"), plain("-"), plain("-"), plain("-"), plain(r.CreatedBy), plain(ago(r.CreatedAt)), plain(r.Notes))
			}
			for _, art := range r.Artifacts {
				t.add(cell{r.Agent, bold}, plain(r.Version), plain(art.Arch), plain(printable.Bytes(art.Size)), plain(art.SHA256[:min(12, len(art.SHA256))]),
					signerCell(art), plain(art.CreatedBy), plain(ago(art.CreatedAt)), plain(cmp.Or(strings.Join(art.Warnings, "; "), r.Notes)))
			}
		}
		t.write(a, w)
	})
}

// signerCell is the key that an artifact is signed with: green when the server knows the
// signature to be good.
func signerCell(art api.Artifact) cell {
	if art.Verified {
		return cell{art.SignedBy + " verified", green}
	}
	return plain(cmp.Or(art.SignedBy, "-"))
}

func (a *app) releaseRemoveCommand() *cobra.Command {
	return &cobra.Command{Use: "remove AGENT VERSION", Short: "Remove a release that nothing wants", Args: cobra.ExactArgs(2), RunE: func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		if err := c.DeleteRelease(cmd.Context(), args[0], args[1]); err != nil {
			return err
		}
		a.say("release %s %s removed", args[0], args[1])
		return nil
	}}
}

func (a *app) releasePruneCommand() *cobra.Command {
	days := 30
	var dry bool
	c := &cobra.Command{Use: "prune", Short: "Remove artifacts that nothing uses", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		p, err := c.PruneArtifacts(cmd.Context(), days, dry)
		if err != nil {
			return err
		}
		return a.print(a.out, p, func(w io.Writer) { a.printPruned(w, p) })
	}}
	c.Flags().Var(&length{&days, 24 * time.Hour}, "older-than", "how long ago it was published, such as 90d; a plain number is days (default 30d)")
	c.Flags().BoolVar(&dry, "dry-run", false, "only say which")
	return c
}

func (a *app) printPruned(w io.Writer, p api.Pruned) {
	for _, art := range p.Artifacts {
		writef(w, "%s %s %s  %s\n", art.Agent, art.Version, art.Arch, printable.Bytes(art.Size))
	}
	verb := "removed"
	if p.DryRun {
		verb = "would be removed"
	}
	writef(w, "%s %s, %s\n", printable.Count(len(p.Artifacts), "artifact", "artifacts"), verb, printable.Bytes(p.Bytes))
}
