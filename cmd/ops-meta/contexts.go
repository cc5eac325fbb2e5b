package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ops-updater/ops-updater/internal/atomicfile"
	"github.com/ops-updater/ops-updater/internal/plainfile"
	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
)

// place is a server and who one is there: what the flags of the same names
// say otherwise.
type place struct {
	Server string `json:"server"`
	Token  string `json:"token,omitempty"`
	CA     string `json:"ca,omitempty"`
	Cert   string `json:"cert,omitempty"`
	Key    string `json:"key,omitempty"`
}

// contexts are the servers that login has met, by name.
type contexts struct {
	Current  string           `json:"current,omitempty"`
	Contexts map[string]place `json:"contexts"`
}

// maxContexts bounds what is read of the file.
const maxContexts = 1 << 20

// contextsPath is the file of the contexts: for its owner alone, since it
// holds tokens.
func contextsPath() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("cannot tell where contexts are kept: %w; set HOME or XDG_CONFIG_HOME", err)
	}
	return filepath.Join(dir, "ops-meta", "contexts.json"), nil
}

// loadContexts reads the file; none yet is no error.
func loadContexts() (contexts, error) {
	all := contexts{Contexts: map[string]place{}}
	path, err := contextsPath()
	if err != nil {
		return all, err
	}
	data, err := plainfile.ReadLinked(path, maxContexts)
	if errors.Is(err, fs.ErrNotExist) {
		return all, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &all)
	}
	if err != nil {
		return all, fmt.Errorf("cannot read the contexts in %s: %w; mend or remove it", path, err)
	}
	if all.Contexts == nil {
		all.Contexts = map[string]place{}
	}
	return all, nil
}

func (c contexts) save() error {
	path, err := contextsPath()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("cannot keep the contexts: %w", err)
	}
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.Write(path, append(data, '\n'), 0o600)
}

// find is the context of that name.
func (c contexts) find(name string) (place, error) {
	if p, ok := c.Contexts[name]; ok {
		return p, nil
	}
	e := api.Errorf(api.KindNotFound, "there is no context %q", name)
	e.Hint = "ops-meta context list shows them, ops-meta login URL makes one"
	if near := api.Nearest(name, slices.Collect(maps.Keys(c.Contexts))); near != "" {
		e.Hint = fmt.Sprintf("did you mean %q? ops-meta context list shows them", near)
	}
	return place{}, e
}

// chosenPlace is the server that is spoken to: flags win over the environment,
// that over the context. What a context knows, above all its token, is only
// for its own server.
func (a *app) chosenPlace() (place, error) {
	told := place{
		Server: cmp.Or(a.server, os.Getenv("OPS_META_SERVER")), Token: cmp.Or(a.token, os.Getenv("OPS_META_TOKEN")),
		CA: cmp.Or(a.ca, os.Getenv("OPS_META_CA")), Cert: cmp.Or(a.cert, os.Getenv("OPS_META_CERT")), Key: cmp.Or(a.key, os.Getenv("OPS_META_KEY")),
	}
	name := cmp.Or(a.context, os.Getenv("OPS_META_CONTEXT"))
	if a.server != "" || told.Server != "" && a.context == "" {
		return told, nil
	}
	all, err := loadContexts()
	if err != nil && name == "" {
		all = contexts{} // nobody asked for one
	} else if err != nil {
		return told, err
	}
	if name = cmp.Or(name, all.Current); name == "" {
		return told, nil
	}
	p, err := all.find(name)
	if err != nil {
		return told, err
	}
	if a.context != "" { // a flag: what the environment says is for another server
		told = place{Token: a.token, CA: a.ca, Cert: a.cert, Key: a.key}
	}
	return place{
		Server: p.Server, Token: cmp.Or(told.Token, p.Token), CA: cmp.Or(told.CA, p.CA),
		Cert: cmp.Or(told.Cert, p.Cert), Key: cmp.Or(told.Key, p.Key),
	}, nil
}

func (a *app) loginCommand() *cobra.Command {
	var l loginFlags
	c := &cobra.Command{
		Use: "login URL", Short: "Log in to a server, and speak to it from now on", Args: cobra.ExactArgs(1),
		Long: `Log in to a server as a context, and speak to it from now on: with a token, which is
--token, OPS_META_TOKEN, or asked for, or with --user as a person with a password, which is
asked for or read from --password-file, or with --sso at the provider that the server's
settings name: open the address that is printed in a browser on this machine. A token is kept once it was tried; of a person the
session is kept, which ends after 12 hours, with "ops-meta logout", and when the person's
role changes. Contexts are in contexts.json below $XDG_CONFIG_HOME/ops-meta (else
~/.config/ops-meta), readable by their owner alone.

--server, --token and OPS_META_SERVER, OPS_META_TOKEN win over a context; the token of
a context is never sent to another server.`,
		Example: "  ops-meta login https://meta.example --name prod\n  ops-meta login https://meta.example --user anna\n  ops-meta login https://meta.example --sso\n  ops-meta context use staging",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.logInAt(cmd, args[0], l)
		},
	}
	c.Flags().StringVar(&l.name, "name", "", "what to call it (default the host of URL)")
	c.Flags().StringVar(&l.user, "user", "", "log in as this person, with a password")
	c.Flags().BoolVar(&l.sso, "sso", false, "log in at the server's login provider, in a browser on this machine")
	c.Flags().IntVar(&l.port, "port", 0, "of this machine that the browser comes back to, such as one that ssh -L forwards; any unless told")
	c.MarkFlagsMutuallyExclusive("sso", "user")
	passwordFlag(c, &l.passwordFile)
	return c
}

// loginFlags say as whom one logs in, and what the server is called from then on.
type loginFlags struct {
	name, user, passwordFile string
	sso                      bool
	port                     int
}

// bringsSession reports whether a person logs in, and not a token.
func (l loginFlags) bringsSession() bool { return l.user != "" || l.sso }

func (a *app) logInAt(cmd *cobra.Command, address string, l loginFlags) error {
	name := l.name
	p := place{Server: address}
	if !l.bringsSession() {
		p.Token = cmp.Or(a.token, os.Getenv("OPS_META_TOKEN"))
	} else if a.token != "" {
		return &usage{command: cmd, err: errors.New("give only one of --token, --user, --sso")}
	}
	p.CA, p.Cert, p.Key = absolute(a.ca), absolute(a.cert), absolute(a.key)
	if name == "" {
		name = hostOf(address)
	}
	if !meta.ValidName(name) {
		return &usage{command: cmd, err: fmt.Errorf("cannot call a context %q", name), hint: "give it a name of letters, digits and . _ - with --name"}
	}
	if l.bringsSession() {
		session, err := a.openSession(cmd, p, l)
		if err != nil {
			return err
		}
		p.Token = session.Secret
	} else if p.Token == "" {
		var err error
		if p.Token, err = a.askToken(); err != nil {
			return err
		}
	}
	client, err := p.client()
	if err != nil {
		return err
	}
	who, err := client.WhoAmI(cmd.Context())
	if err != nil {
		return err
	}
	all, err := loadContexts()
	if err != nil {
		return err
	}
	p.Server = client.Server()
	all.Contexts[name], all.Current = p, name
	if err := all.save(); err != nil {
		return err
	}
	a.say("logged in to %s as %s (%s), context %s", p.Server, who.Name, who.Role.Within(who.Remits), name)
	return nil
}

// askToken reads a token from the terminal without showing it, or from a pipe.
func (a *app) askToken() (string, error) {
	token, err := a.askLine("token: ", "the token")
	return strings.TrimSpace(token), err
}

// openSession logs a person in.
func (a *app) openSession(cmd *cobra.Command, p place, l loginFlags) (api.Session, error) {
	client, err := p.client()
	if err != nil {
		return api.Session{}, err
	}
	if l.sso {
		return a.openProviderSession(cmd, p, l.port)
	}
	ask := func() (string, error) { return a.askLine("password of "+l.user+": ", "the password") }
	if l.passwordFile != "" && l.passwordFile != "-" {
		ask = func() (string, error) { return readSmall(l.passwordFile) }
	}
	password, err := ask()
	if err != nil {
		return api.Session{}, err
	}
	return client.Login(cmd.Context(), api.Login{Name: l.user, Password: password})
}

func absolute(path string) string {
	if path == "" {
		return ""
	}
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

func hostOf(address string) string {
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

func (a *app) contextCommand() *cobra.Command {
	c := &cobra.Command{Use: "context", Short: "The servers that login has met, and which one is spoken to"}
	c.AddCommand(a.contextListCommand(), a.contextUseCommand(), a.contextRemoveCommand())
	return c
}

// contextLine is a context without its token.
type contextLine struct {
	Name    string `json:"name"`
	Server  string `json:"server"`
	Current bool   `json:"current"`
}

func (a *app) contextListCommand() *cobra.Command {
	return &cobra.Command{Use: "list", Short: "All contexts", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		all, err := loadContexts()
		if err != nil {
			return err
		}
		var lines []contextLine
		for _, name := range slices.Sorted(maps.Keys(all.Contexts)) {
			lines = append(lines, contextLine{name, all.Contexts[name].Server, name == all.Current})
		}
		return printList(a, a.out, lines, func(w io.Writer) {
			t := table{head: []string{"", "CONTEXT", "SERVER"}}
			for _, l := range lines {
				mark := ""
				if l.Current {
					mark = "*"
				}
				t.add(plain(mark), cell{l.Name, bold}, plain(l.Server))
			}
			t.write(a, w)
		})
	}}
}

func (a *app) contextUseCommand() *cobra.Command {
	return &cobra.Command{
		Use: "use NAME", Short: "Speak to another server from now on", Args: cobra.ExactArgs(1), ValidArgsFunction: completeContexts,
		RunE: func(_ *cobra.Command, args []string) error {
			all, err := loadContexts()
			if err != nil {
				return err
			}
			p, err := all.find(args[0])
			if err != nil {
				return err
			}
			all.Current = args[0]
			if err := all.save(); err != nil {
				return err
			}
			a.say("speaking to %s", p.Server)
			return nil
		},
	}
}

func (a *app) contextRemoveCommand() *cobra.Command {
	return &cobra.Command{
		Use: "remove NAME", Short: "Forget a server and its token", Args: cobra.ExactArgs(1), ValidArgsFunction: completeContexts,
		RunE: func(_ *cobra.Command, args []string) error {
			all, err := loadContexts()
			if err != nil {
				return err
			}
			p, err := all.find(args[0])
			if err != nil {
				return err
			}
			delete(all.Contexts, args[0])
			if all.Current == args[0] {
				all.Current = ""
			}
			if err := all.save(); err != nil {
				return err
			}
			if api.IsSessionSecret(p.Token) {
				a.say("context %s removed; its session goes on until it ends by itself: ops-meta logout ends one at once", args[0])
				return nil
			}
			a.say("context %s removed; the token is still good until an admin removes it", args[0])
			return nil
		},
	}
}

func completeContexts(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	all, err := loadContexts()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return slices.Sorted(maps.Keys(all.Contexts)), cobra.ShellCompDirectiveNoFileComp
}
