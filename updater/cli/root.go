// Package cli is the command line of the sidecar: without a verb it is the
// daemon, and its verbs are the operator's side on the host. Most verbs talk
// to the running daemon over its unix socket.
//
// Exit codes: 0 done, 1 failed, 2 not understood (flags, arguments, cfg.json
// missing), 3 no sidecar is running, 4 another one is.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ops-updater/ops-updater/internal/buildinfo"
	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/updater"
	"github.com/ops-updater/ops-updater/updater/child"
	"github.com/ops-updater/ops-updater/updater/config"
	"github.com/ops-updater/ops-updater/updater/local"
)

// Exit codes.
const (
	exitOK         = 0
	exitFailure    = 1
	exitUsage      = 2
	exitNotRunning = 3
	exitRunning    = 4
)

// Stdio is what the commands read and write.
type Stdio struct {
	In       io.Reader
	Out, Err io.Writer
}

// Main runs the command that args, without the program's name, ask for, and
// returns the exit code.
func Main(ctx context.Context, args []string, stdio Stdio) int {
	updater.Settle()
	launchCurrent(args, stdio)
	root := newRoot(stdio)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	_, _ = fmt.Fprintf(stdio.Err, "ops-updater: %s\n", printable.Lines(err.Error()))
	if hint := hintFor(err); hint != "" {
		_, _ = fmt.Fprintf(stdio.Err, "hint: %s\n", printable.Text(hint))
	}
	return codeFor(err)
}

// usageError is a mistake in how the program was called.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

// hinted adds the next step to an error.
type hinted struct {
	err  error
	hint string
}

func (e hinted) Error() string { return e.err.Error() }
func (e hinted) Unwrap() error { return e.err }

func hintFor(err error) string {
	if h, ok := errors.AsType[hinted](err); ok {
		return h.hint
	}
	switch {
	case errors.Is(err, local.ErrNotRunning):
		return "start it with ./control start, or name its configuration with -c"
	case errors.Is(err, updater.ErrRunning):
		return "stop it with ./control stop, or talk to it: ops-updater status"
	case errors.Is(err, fs.ErrPermission):
		return "run this as the user that the sidecar runs as, or as root"
	}
	if _, ok := errors.AsType[usageError](err); ok {
		return "ops-updater --help lists verbs and flags"
	}
	return ""
}

func codeFor(err error) int {
	_, usage := errors.AsType[usageError](err)
	switch {
	case usage:
		return exitUsage
	case errors.Is(err, local.ErrNotRunning):
		return exitNotRunning
	case errors.Is(err, updater.ErrRunning):
		return exitRunning
	}
	return exitFailure
}

const defaultConfig = "cfg.json"

// app is what every command shares.
type app struct {
	stdio  Stdio
	config string // path of cfg.json
}

func newRoot(stdio Stdio) *cobra.Command {
	a := &app{stdio: stdio}
	root := &cobra.Command{
		Use:   "ops-updater [-c cfg.json]",
		Short: "keeps this host's agents at the version that ops-meta wants",
		Long: `ops-updater keeps this host's agents at the version that ops-meta wants.

Without a verb it runs the sidecar in the foreground; ./control start runs it
in the background. The verbs are for people on the host.

Exit codes: 0 done, 1 failed, 2 not understood, 3 no sidecar is running,
4 another sidecar is running.

When something is wrong: docs/TROUBLESHOOTING.md has it by symptom and by error; a
package puts it, and the other guides, into /usr/share/doc/ops-updater.`,
		Version:       buildinfo.Version(),
		Args:          noArgs,
		SilenceUsage:  true,
		SilenceErrors: true,

		SuggestionsMinimumDistance: 2,
		RunE:                       a.runDaemon,
	}
	root.SetIn(stdio.In)
	root.SetOut(stdio.Out) // before the completion verb, which remembers it
	root.SetErr(stdio.Err)
	root.SetVersionTemplate("{{.Version}}\n")
	root.PersistentFlags().StringVarP(&a.config, "config", "c", defaultConfig, "the configuration `file`")
	root.Flags().BoolP("version", "v", false, "print the version")
	root.AddCommand(a.checkCommand(), a.planCommand(), a.explainCommand(), a.onceCommand(), a.beatCommand(), a.statusCommand(), a.logsCommand(), a.reloadCommand(), a.newAgentCommand(), a.trustCommand(), a.enrollCommand(), a.uninstallCommand(), childCommand(stdio), watchCommand(), manCommand())
	root.AddCommand(a.holdCommand(), a.orderCommand(local.VerbUnhold, "follow the server's wishes for AGENT again"),
		a.orderCommand(local.VerbRollback, "go back to the version of AGENT that ran before, and stay there"),
		a.orderCommand(local.VerbClear, "forget AGENT's failures: try a quarantined release again at once"))
	withOtherWords(root)
	return root
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		if !cmd.HasParent() {
			return unknownVerb(cmd, args[0])
		}
		return usageError{fmt.Errorf("%s takes no arguments, got %q", cmd.Name(), strings.Join(args, " "))}
	}
	return nil
}

func oneAgent(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usageError{fmt.Errorf("want the name of one agent, got %d arguments", len(args))}
	}
	return nil
}

// loadConfig reads the configuration.
func (a *app) loadConfig() (config.Config, error) {
	c, err := config.Load(a.config)
	if _, gone := os.Stat(a.config); err != nil && errors.Is(gone, fs.ErrNotExist) {
		return c, hinted{usageError{err}, "copy cfg.example.json to " + a.config + " and set server, or name another file with -c"}
	}
	if err != nil {
		hint := "docs/CONFIG.md explains every key"
		if errors.Is(err, fs.ErrPermission) {
			hint = "run this as the user that the sidecar runs as, or as root"
		}
		return c, hinted{err, hint}
	}
	return c, nil
}

// runningSidecar is a client of the running sidecar. When the configuration was broken
// since it started, it is found where it is by default.
func (a *app) runningSidecar(ctx context.Context) (*local.Client, config.Config, error) {
	c, err := a.loadConfig()
	if err == nil {
		return local.NewClient(c.VarDir), c, nil
	}
	if usage, _ := errors.AsType[usageError](err); usage.err != nil { // there is no such file
		return nil, c, err
	}
	if c.VarDir == "" {
		c.VarDir = filepath.Join(filepath.Dir(a.config), "var")
	}
	client := local.NewClient(c.VarDir)
	if _, away := client.Status(ctx); away != nil {
		return nil, c, err
	}
	_, _ = fmt.Fprintf(a.stdio.Err, "warning: %s; the sidecar runs on with what it read before\n", printable.Text(err.Error()))
	return client, c, nil
}

func (a *app) runDaemon(cmd *cobra.Command, _ []string) error {
	c, err := a.loadConfig()
	if err != nil {
		return err
	}
	return updater.Run(cmd.Context(), c)
}

// childCommand is what the sidecar starts as another user; people don't.
func childCommand(stdio Stdio) *cobra.Command {
	return &cobra.Command{
		Use: "child", Hidden: true, Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return child.Serve(cmd.Context(), stdio.In, stdio.Out)
		},
	}
}

// currentUserName names the person behind an order, through sudo.
func currentUserName() string {
	if name := os.Getenv("SUDO_USER"); name != "" {
		return name
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return ""
}
