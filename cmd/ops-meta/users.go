package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/ops-updater/ops-updater/meta/api"
)

func (a *app) userCommand() *cobra.Command {
	c := &cobra.Command{Use: "user", Short: "People who log in with a name and a password"}
	c.AddCommand(a.userListCommand(), a.userShowCommand(), a.userCreateCommand(), a.userSetCommand(), a.userRoleCommand(), a.userPasswordCommand(), a.userRemoveCommand())
	return c
}

func (a *app) userListCommand() *cobra.Command {
	return &cobra.Command{Use: "list", Short: "All users", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return a.showView(cmd, func(ctx context.Context, c *api.Client, w io.Writer) error {
			all, err := api.All(func(cursor string) (api.Page[api.User], error) {
				return c.Users(ctx, api.ListOptions{Cursor: cursor})
			})
			if err != nil {
				return err
			}
			return printList(a, w, all, func(w io.Writer) {
				t := table{head: []string{"NAME", "ROLE", "PASSWORD", "BY", "MADE"}}
				for _, u := range all {
					t.add(cell{u.Name, bold}, plain(u.Role.Within(u.Remits)), plain(lastUsedText(u.PasswordSet)), plain(u.CreatedBy), plain(ago(u.CreatedAt)))
				}
				t.write(a, w)
			})
		})
	}}
}

func (a *app) userCreateCommand() *cobra.Command {
	var role, file string
	var remits []string
	c := &cobra.Command{Use: "create NAME", Short: "Let somebody log in with a name and a password", Args: cobra.ExactArgs(1)}
	c.Long = `Let somebody log in with a name and a password, on the page and with "ops-meta login
URL --user NAME". The password is asked for without being shown, or read from a file or a
pipe; it is never an argument, which others could see. It has 10 characters or more.

An operator with --remit AGENTS@GROUP changes nothing beyond: AGENTS is an agent's name, with
* for any letters, GROUP one group of hosts or * for every host. 'falcon-*@canary' lets
them deploy the agents called falcon-… to the group canary and to its hosts.`
	c.Example = "  ops-meta user create anna --role operator --remit 'falcon-*@canary' --remit 'demo@*'"
	c.RunE = func(cmd *cobra.Command, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		password, err := a.newUserPassword(file)
		if err != nil {
			return err
		}
		u, err := client.PutUser(cmd.Context(), api.User{Name: args[0], Role: api.Role(role), Remits: api.RemitsOf(remits), Password: password, Revision: api.MustNotExist})
		if err != nil {
			return err
		}
		return a.print(a.out, u, func(w io.Writer) { writef(w, "user %s created: %s\n", u.Name, u.Role.Within(u.Remits)) })
	}
	c.Flags().StringVar(&role, "role", "viewer", "viewer, operator or admin")
	remitFlag(c, &remits)
	passwordFlag(c, &file)
	return c
}

// remitFlag is the parts of the fleet that an operator is limited to.
func remitFlag(c *cobra.Command, remits *[]string) {
	c.Flags().StringArrayVar(remits, "remit", nil, "AGENTS@GROUP that an operator may change, and nothing beyond, such as 'falcon-*@canary'; may be repeated")
}

func (a *app) userShowCommand() *cobra.Command {
	return &cobra.Command{Use: "show NAME", Short: "One user, and what they may do", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		return a.showView(cmd, func(ctx context.Context, c *api.Client, w io.Writer) error {
			u, err := c.User(ctx, args[0])
			if err != nil {
				return err
			}
			return a.print(w, u, func(w io.Writer) {
				writef(w, "%s: %s\nmade %s by %s, password set %s\n", a.paint(a.out, bold, u.Name), u.Role.Within(u.Remits), ago(u.CreatedAt), u.CreatedBy, lastUsedText(u.PasswordSet))
			})
		})
	}}
}

func (a *app) userSetCommand() *cobra.Command {
	var remits []string
	var none bool
	c := &cobra.Command{Use: "set NAME", Short: "Say what an operator may change at most, and end their sessions", Args: cobra.ExactArgs(1)}
	c.Long = `Say what an operator may change at most, and end their sessions. The remits that are
given take the place of those that there were; see "ops-meta user create --help".`
	c.Example = "  ops-meta user set anna --remit 'falcon-*@canary' --remit 'demo@*'\n  ops-meta user set anna --no-remits"
	c.RunE = func(cmd *cobra.Command, args []string) error {
		given := append(api.Remits{}, api.RemitsOf(remits)...)
		return a.changeUser(cmd, args[0], func(u *api.User) { u.Remits = given }, "user %s is %s now and has to log in again")
	}
	remitFlag(c, &remits)
	c.Flags().BoolVar(&none, "no-remits", false, "let them change all that their role may")
	c.MarkFlagsMutuallyExclusive("remit", "no-remits")
	c.MarkFlagsOneRequired("remit", "no-remits")
	return c
}

func (a *app) userRoleCommand() *cobra.Command {
	return &cobra.Command{Use: "role NAME ROLE", Short: "Give a user another role, and end their sessions", Args: cobra.ExactArgs(2), RunE: func(cmd *cobra.Command, args []string) error {
		return a.changeUser(cmd, args[0], func(u *api.User) {
			if u.Role = api.Role(args[1]); u.Role != api.RoleOperator {
				u.Remits = api.Remits{} // other roles have none
			}
		}, "user %s is %s now and has to log in again")
	}}
}

func (a *app) userPasswordCommand() *cobra.Command {
	var file string
	c := &cobra.Command{Use: "password NAME", Short: "Give a user another password, and end their sessions", Args: cobra.ExactArgs(1)}
	c.Long = `Give a user another password, as an admin, and end their sessions. Who is logged in
changes their own with "ops-meta session password".`
	c.RunE = func(cmd *cobra.Command, args []string) error {
		password, err := a.newUserPassword(file)
		if err != nil {
			return err
		}
		return a.changeUser(cmd, args[0], func(u *api.User) { u.Password = password }, "user %s (%s) has another password and has to log in again")
	}
	passwordFlag(c, &file)
	return c
}

// changeUser writes what change makes of a user, who must still be as they are.
func (a *app) changeUser(cmd *cobra.Command, name string, change func(*api.User), says string) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	u, err := client.User(cmd.Context(), name)
	if err != nil {
		return err
	}
	change(&u)
	if u, err = client.PutUser(cmd.Context(), u); err != nil {
		return err
	}
	a.say(says, u.Name, u.Role.Within(u.Remits))
	return nil
}

func (a *app) userRemoveCommand() *cobra.Command {
	return &cobra.Command{Use: "remove NAME", Short: "Remove a user, and end their sessions", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		if err := c.DeleteUser(cmd.Context(), args[0], 0); err != nil {
			return err
		}
		a.say("user %s removed", args[0])
		return nil
	}}
}

func (a *app) sessionCommand() *cobra.Command {
	c := &cobra.Command{Use: "session", Short: "Who is logged in"}
	c.AddCommand(a.sessionListCommand(), a.sessionEndCommand(), a.sessionPasswordCommand())
	return c
}

func (a *app) sessionListCommand() *cobra.Command {
	return &cobra.Command{Use: "list", Short: "Who is logged in: for admins everyone, for others themselves", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return a.showView(cmd, func(ctx context.Context, c *api.Client, w io.Writer) error {
			all, err := api.All(func(cursor string) (api.Page[api.Session], error) {
				return c.Sessions(ctx, api.ListOptions{Cursor: cursor})
			})
			if err != nil {
				return err
			}
			return printList(a, w, all, func(w io.Writer) {
				t := table{head: []string{"ID", "NAME", "ROLE", "FROM", "ENDS", "USED", "BEGAN"}}
				for _, s := range all {
					t.add(plain(s.ID), cell{s.Name, bold}, plain(s.Role.Within(s.Remits)), plain(s.From), expiryCell(&s.ExpiresAt), plain(lastUsedText(s.LastUsed)), plain(ago(s.CreatedAt)))
				}
				t.write(a, w)
			})
		})
	}}
}

func (a *app) sessionEndCommand() *cobra.Command {
	return &cobra.Command{Use: "end ID", Short: "End a session at once", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		if err := c.EndSession(cmd.Context(), args[0]); err != nil {
			return err
		}
		a.say("session %s ended", args[0])
		return nil
	}}
}

func (a *app) sessionPasswordCommand() *cobra.Command {
	return &cobra.Command{
		Use: "password", Short: "Change your own password, and end your other sessions", Args: cobra.NoArgs,
		Long: `Change your own password, and end your other sessions. Both passwords are asked for
without being shown, or read from a pipe, the current one in the first line.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			if !a.asksTerminal() { // keeps the second line of a pipe
				a.in = bufio.NewReader(io.LimitReader(a.in, maxSecret))
			}
			current, err := a.askLine("current password: ", "the password")
			if err != nil {
				return err
			}
			next, err := a.newUserPassword("")
			if err != nil {
				return err
			}
			if err := client.ChangePassword(cmd.Context(), api.NewPassword{Current: current, Password: next}); err != nil {
				return err
			}
			a.say("the password is changed")
			return nil
		},
	}
}

func (a *app) logoutCommand() *cobra.Command {
	return &cobra.Command{
		Use: "logout", Short: "End the session of the context, and forget it", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := loadContexts()
			if err != nil {
				return err
			}
			name := cmp.Or(a.context, os.Getenv("OPS_META_CONTEXT"), all.Current)
			p, err := all.find(name)
			if err != nil {
				return err
			}
			if !api.IsSessionSecret(p.Token) {
				return &api.Error{Kind: api.KindConflict, Message: fmt.Sprintf("context %s has no session of a person", name), Hint: "a token is forgotten with: ops-meta context remove " + name}
			}
			client, err := p.client()
			if err != nil {
				return err
			}
			var denied *api.Problem
			if err := client.EndSession(cmd.Context(), api.Self); err != nil && (!errors.As(err, &denied) || denied.Status != 401) {
				return err // it still counts
			}
			p.Token = ""
			all.Contexts[name] = p
			if err := all.save(); err != nil {
				return err
			}
			a.say("logged out of %s", p.Server)
			return nil
		},
	}
}

func passwordFlag(c *cobra.Command, file *string) {
	c.Flags().StringVar(file, "password-file", "", "file that holds the password, - for the standard input; asked for unless told")
}

// maxSecret bounds the line that a secret is.
const maxSecret = 4 << 10

// newUserPassword is a password that somebody chooses: on a terminal it is asked
// for twice.
func (a *app) newUserPassword(file string) (string, error) {
	if file != "" && file != "-" {
		return readSmall(file)
	}
	first, err := a.askLine("new password: ", "the password")
	if err != nil || !a.asksTerminal() {
		return first, err
	}
	again, err := a.askLine("once more: ", "the password")
	if err == nil && again != first {
		err = &api.Error{Kind: api.KindInvalid, Message: "the two passwords are not the same", Hint: "try again; nothing was changed"}
	}
	return first, err
}

// asksTerminal reports whether a person is asked.
func (a *app) asksTerminal() bool {
	f, ok := a.in.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// askLine reads a secret from the terminal without showing it, or a line
// from a pipe.
func (a *app) askLine(prompt, what string) (string, error) {
	if f, ok := a.in.(*os.File); ok && a.asksTerminal() {
		_, _ = fmt.Fprint(a.err, prompt)
		secret, err := term.ReadPassword(int(f.Fd()))
		_, _ = fmt.Fprintln(a.err)
		return string(secret), err
	}
	lines, ok := a.in.(*bufio.Reader)
	if !ok {
		lines = bufio.NewReader(io.LimitReader(a.in, maxSecret))
	}
	line, err := lines.ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("cannot read %s: %w", what, err)
	}
	return strings.TrimRight(line, "\r\n"), nil
}
