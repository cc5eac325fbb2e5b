package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/ops-updater/ops-updater/meta/api"
)

func (a *app) auditCommand() *cobra.Command {
	var o api.ListOptions
	c := &cobra.Command{
		Use: "audit", Short: "Who did what, the newest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneOf("kind", o.Kind, api.AuditKinds); err != nil {
				return err
			}
			return a.showView(cmd, func(ctx context.Context, c *api.Client, w io.Writer) error {
				page, err := c.Audit(ctx, o)
				if err != nil {
					return err
				}
				return a.print(w, page, func(w io.Writer) { a.printAudit(w, page.Items) })
			})
		},
	}
	f := c.Flags()
	f.StringVar(&o.Actor, "actor", "", "only by this token")
	f.StringVar(&o.Kind, "kind", "", "only of this kind, such as agent or release")
	f.StringVar(&o.Action, "action", "", "only this, such as create or pause")
	f.StringVar(&o.Search, "name", "", "only of the thing with this name")
	f.IntVar(&o.Limit, "limit", 50, "at most so many")
	return c
}

func (a *app) printAudit(w io.Writer, entries []api.AuditEntry) {
	t := table{head: []string{"WHEN", "WHO", "FROM", "DID", "WHAT", "NAME", "WHY"}}
	for _, e := range entries {
		t.add(plain(e.Time.Local().Format("2006-01-02 15:04:05")), cell{e.Actor, bold}, plain(e.From), plain(e.Action), plain(e.Kind), plain(e.Name), plain(e.Reason))
	}
	t.write(a, w)
}
