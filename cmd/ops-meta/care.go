package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/ops-updater/ops-updater/internal/buildinfo"
	"github.com/ops-updater/ops-updater/internal/timespan"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/server"
)

// lifetime is a duration that also knows days: 90d.
type lifetime time.Duration

// String is the flag's text.
func (l *lifetime) String() string {
	if *l == 0 {
		return ""
	}
	return time.Duration(*l).String()
}

// Set reads 90d, 12h or 30m.
func (l *lifetime) Set(s string) error {
	d, err := timespan.Parse(s)
	if err != nil {
		return err
	}
	*l = lifetime(d)
	return nil
}

// Type names the value in the help text.
func (l *lifetime) Type() string { return "time" }

// expiresAt is the moment it is over, nil when it never is.
func (l *lifetime) expiresAt() *time.Time {
	if *l == 0 {
		return nil
	}
	t := time.Now().Add(time.Duration(*l)).UTC()
	return &t
}

func (a *app) tokenCommand() *cobra.Command {
	c := &cobra.Command{Use: "token", Short: "Tokens: who may do what"}
	c.AddCommand(a.tokenListCommand(), a.tokenCreateCommand(), a.tokenRemoveCommand(), a.whoAmICommand(), a.enrollCommand())
	return c
}

func (a *app) tokenListCommand() *cobra.Command {
	var ofHosts bool
	c := &cobra.Command{Use: "list", Short: "All tokens, without their secrets", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return a.showView(cmd, func(ctx context.Context, c *api.Client, w io.Writer) error {
			list := c.Tokens
			if ofHosts {
				list = c.Credentials
			}
			all, err := api.All(func(cursor string) (api.Page[api.Token], error) {
				return list(ctx, api.ListOptions{Cursor: cursor})
			})
			if err != nil {
				return err
			}
			return printList(a, w, all, func(w io.Writer) {
				t := table{head: []string{"ID", "NAME", "ROLE", "EXPIRES", "USED", "BY", "MADE"}}
				for _, tok := range all {
					t.add(plain(tok.ID), cell{tok.Name, bold}, plain(tok.Role.Within(tok.Remits)), expiryCell(tok.ExpiresAt), plain(lastUsedText(tok.LastUsed)), plain(tok.CreatedBy), plain(ago(tok.CreatedAt)))
				}
				t.write(a, w)
			})
		})
	}}
	c.Flags().BoolVar(&ofHosts, "hosts", false, "the credentials of hosts instead, also of those that never reported")
	return c
}

func expiryCell(t *time.Time) cell {
	switch {
	case t == nil:
		return plain("never")
	case time.Now().After(*t):
		return cell{"expired " + ago(*t), red}
	}
	return plain("in " + timespan.Say(time.Until(*t)))
}

func lastUsedText(t *time.Time) string {
	if t == nil {
		return "never"
	}
	return ago(*t)
}

func (a *app) tokenCreateCommand() *cobra.Command {
	var role, path string
	var remits []string
	var ttl lifetime
	var flags server.Config
	c := &cobra.Command{Use: "create NAME", Short: "Make a token; its secret is shown this once", Args: cobra.ExactArgs(1)}
	c.Long = `Make a token. viewer sees everything, operator also says what is wanted, admin
also makes tokens and cares for the server; enroll can only be exchanged for a
host's own credential, once per host.

An operator's token with --remit AGENTS@GROUP changes nothing beyond: see "ops-meta user
create --help".

With --data DIR it works on the directory of a server that is down, with --db on
its PostgreSQL, also while it runs: for when no admin's token is left.`
	c.RunE = func(cmd *cobra.Command, args []string) error {
		create := a.createToken
		if wantsOffline(cmd) {
			create = func(ctx context.Context, n api.NewToken) (api.Token, error) {
				conf, err := joinSettings(cmd.Flags(), path, flags)
				if err != nil {
					return api.Token{}, err
				}
				return server.CreateTokenOffline(ctx, conf, api.Token{Name: n.Name, Role: n.Role, Remits: n.Remits, ExpiresAt: ttl.expiresAt()})
			}
		}
		tok, err := create(cmd.Context(), api.NewToken{Name: args[0], Role: api.Role(role), Remits: api.RemitsOf(remits), TTL: int64(time.Duration(ttl).Seconds())})
		if err != nil {
			return err
		}
		return a.print(a.out, tok, func(w io.Writer) { writef(w, "%s\n", tok.Secret) })
	}
	c.Flags().StringVar(&role, "role", "viewer", "viewer, operator, admin or enroll")
	remitFlag(c, &remits)
	c.Flags().Var(&ttl, "expires", "how long it is good, such as 90d or 12h; for ever unless told")
	offlineFlags(c, &path, &flags)
	return c
}

// createToken has the server make a token.
func (a *app) createToken(ctx context.Context, n api.NewToken) (api.Token, error) {
	client, err := a.client()
	if err != nil {
		return api.Token{}, err
	}
	return client.CreateToken(ctx, n)
}

func (a *app) tokenRemoveCommand() *cobra.Command {
	return &cobra.Command{Use: "remove ID|NAME", Short: "Make a token void at once", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		if err := c.DeleteToken(cmd.Context(), args[0]); err != nil {
			return err
		}
		a.say("token %s removed", args[0])
		return nil
	}}
}

func (a *app) whoAmICommand() *cobra.Command {
	return &cobra.Command{Use: "whoami", Short: "Who the server takes you for", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return a.showView(cmd, func(ctx context.Context, c *api.Client, w io.Writer) error {
			id, err := c.WhoAmI(ctx)
			if err != nil {
				return err
			}
			return a.print(w, id, func(w io.Writer) {
				through := ""
				if id.Provider != "" {
					through = ", through " + id.Provider
				}
				writef(w, "%s, %s%s, from %s, expires %s\n", id.Name, id.Role.Within(id.Remits), through, id.From, expiryCell(id.ExpiresAt).text)
			})
		})
	}}
}

func (a *app) enrollCommand() *cobra.Command {
	return &cobra.Command{Use: "enroll HOST", Short: "Exchange an enrolment token (--token) for a host's credential", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		cred, err := c.Enroll(cmd.Context(), api.Enrolment{Hostname: args[0]})
		if err != nil {
			return err
		}
		return a.print(a.out, cred, func(w io.Writer) { writef(w, "%s\n", cred.Secret) })
	}}
}

func manCommand() *cobra.Command {
	var dir string
	c := &cobra.Command{Use: "man", Short: "Print the manual page, or write all of them", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		header := &doc.GenManHeader{Title: "OPS-META", Section: "1", Source: "ops-meta " + buildinfo.Version(), Manual: "ops-meta"}
		root := cmd.Root()
		root.DisableAutoGenTag = true
		if dir == "" {
			return doc.GenMan(root, header, cmd.OutOrStdout())
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		return doc.GenManTree(root, header, filepath.Clean(dir))
	}}
	c.Flags().StringVar(&dir, "dir", "", "write a page for each command here")
	return c
}

func (a *app) doctorCommand() *cobra.Command {
	var path string
	var flags server.Config
	c := &cobra.Command{
		Use: "doctor", Short: "Examine a server, and say what to mend", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			checks, err := a.examineServer(cmd, path, flags)
			if err != nil {
				return err
			}
			if err := printList(a, a.out, checks, func(w io.Writer) { a.printChecks(w, checks) }); err != nil {
				return err
			}
			for _, ch := range checks {
				if ch.Level == api.CheckError {
					return fmt.Errorf("%s: %s", ch.Name, ch.Detail)
				}
			}
			return nil
		},
	}
	offlineFlags(c, &path, &flags)
	return c
}

// examineServer asks a running server, or looks with --data at one that is down.
func (a *app) examineServer(cmd *cobra.Command, path string, flags server.Config) ([]api.Check, error) {
	if wantsOffline(cmd) {
		o, err := openOffline(cmd, path, flags)
		if err != nil {
			return nil, err
		}
		defer o.Close() //nolint:errcheck // only read
		return o.Doctor(cmd.Context()), nil
	}
	c, err := a.client()
	if err != nil {
		return nil, err
	}
	return c.Doctor(cmd.Context())
}

func (a *app) printChecks(w io.Writer, checks []api.Check) {
	styles := map[string]style{api.CheckOK: green, api.CheckWarning: yellow, api.CheckError: red}
	t := table{head: []string{"CHECK", "", "FOUND"}}
	for _, ch := range checks {
		t.add(plain(ch.Name), cell{ch.Level, styles[ch.Level]}, plain(cmp.Or(ch.Detail, "-")))
		if ch.Hint != "" {
			t.add(plain(""), plain(""), cell{"→ " + ch.Hint, dim})
		}
	}
	t.write(a, w)
}
