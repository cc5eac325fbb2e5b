package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"github.com/ops-updater/ops-updater/internal/buildinfo"
	"github.com/ops-updater/ops-updater/meta/server"
)

// streams are what a command talks through.
type streams struct {
	in  io.Reader
	out io.Writer
	err io.Writer
}

// app is what every command shares.
type app struct {
	streams
	server  string // of the flag, as the four below; [app.chosenPlace] says who is spoken to
	token   string
	ca      string
	cert    string
	key     string
	context string // by name
	output  string
	plain   bool // no colour
	watch   bool
}

// run is ops-meta as a function of its arguments.
func run(ctx context.Context, args []string, s streams) int {
	a := &app{streams: s}
	root := a.rootCommand()
	root.SetArgs(args)
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	err := root.ExecuteContext(ctx)
	if err == nil || errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return exitOK
	}
	if wantsJSON(args) {
		a.output = "json"
	}
	a.complain(err)
	return exitCode(err)
}

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "ops-meta",
		Short:         "Say what the hosts of a fleet shall run, roll it out, and see what every host does",
		Version:       buildinfo.Version(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Long: `ops-meta serve runs the server; everything else speaks to one.

The server is --server or OPS_META_SERVER, else that of the context that "ops-meta
login" made, else ` + "http://" + server.DefaultListen + `; the token is --token or OPS_META_TOKEN,
else the context's. The first start of a server prints an admin token and writes it to
admin.token in its data directory.

With -o json or yaml every list is {"items": […]}, and an error is one JSON object,
{"error": {"message", "hint", "code", "exitCode"}}, on the standard error.

Exit codes: 0 done, 1 failed, 2 wrong usage or input, 3 not found,
4 conflict (changed meanwhile, exists already, in use), 5 denied.

When something is wrong: docs/TROUBLESHOOTING.md has it by symptom and by error; a
package puts it, and the other guides, into /usr/share/doc/ops-meta.`,
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetFlagErrorFunc(wrongFlag)
	f := root.PersistentFlags()
	f.StringVar(&a.server, "server", "", "address of the server [$OPS_META_SERVER] (default that of the context, or http://"+server.DefaultListen+")")
	f.StringVar(&a.context, "context", "", "name of the context to speak to [$OPS_META_CONTEXT]; see ops-meta login")
	f.StringVar(&a.token, "token", "", "token to speak with [$OPS_META_TOKEN]")
	f.StringVar(&a.ca, "ca", "", "PEM file of the server's certificate authority [$OPS_META_CA]")
	f.StringVar(&a.cert, "cert", "", "PEM file of a client certificate [$OPS_META_CERT]")
	f.StringVar(&a.key, "key", "", "PEM file of its key [$OPS_META_KEY]")
	f.StringVarP(&a.output, "output", "o", "table", "table, json or yaml")
	f.BoolVar(&a.plain, "no-color", os.Getenv("NO_COLOR") != "", "no colours, also on a terminal")
	f.BoolVar(&a.watch, "watch", false, "show again whenever something changes, until interrupted")
	root.AddGroup(
		&cobra.Group{ID: "see", Title: "See:"}, &cobra.Group{ID: "say", Title: "Say what is wanted:"},
		&cobra.Group{ID: "file", Title: "The fleet as a file:"}, &cobra.Group{ID: "care", Title: "Run a server:"},
	)
	a.addCommands(root, "see", a.statusCommand(), a.hostsCommand(), a.hostCommand(), a.explainCommand(), a.agentsCommand(), a.releasesCommand(), a.auditCommand())
	a.addCommands(root, "say", a.publishCommand(), a.signCommand(), a.deployCommand(), a.rolloutCommand(), a.assignCommand(), a.groupCommand(), a.holdCommand(), a.strategyCommand(), a.channelCommand(), a.scheduleCommand())
	a.addCommands(root, "file", a.exportCommand(), a.diffCommand(), a.applyCommand(), a.importCommand())
	a.addCommands(root, "care", a.serveCommand(), a.loginCommand(), a.logoutCommand(), a.contextCommand(), a.whoAmICommand(), a.sessionCommand(), a.userCommand(), a.notifyCommand(), a.tokenCommand(), a.keyCommand(), a.backupCommand(), a.restoreCommand(), a.standstillCommand(), a.doctorCommand(), manCommand())
	root.PersistentPreRunE = func(c *cobra.Command, args []string) error {
		switch a.output {
		case "table", "json", "yaml":
			return refuseEmpty(c, args)
		}
		return &usage{command: c, err: fmt.Errorf("--output %q is not known: want table, json or yaml", a.output)}
	}
	root.InitDefaultCompletionCmd()
	root.SetHelpCommand(helpCommand())
	root.InitDefaultHelpCmd()
	refuseUnknownVerbs(root)
	a.addCompletions(root)
	return root
}

func (a *app) addCommands(root *cobra.Command, group string, commands ...*cobra.Command) {
	for _, c := range commands {
		c.GroupID = group
		root.AddCommand(c)
	}
}

// onTerminal reports whether w is one.
func onTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && (isatty.IsTerminal(f.Fd()) || isatty.IsCygwinTerminal(f.Fd()))
}
