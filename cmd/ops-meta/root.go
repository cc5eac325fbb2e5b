package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"github.com/ops-updater/ops-updater/internal/buildinfo"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/server"
)

// Exit codes, also in the manual.
const (
	exitOK       = 0
	exitFailed   = 1
	exitUsage    = 2 // wrong flags, arguments or input
	exitNotFound = 3
	exitConflict = 4 // somebody else changed it, it exists already, or it is in use
	exitDenied   = 5 // no token, an unknown or expired one, or one without the role
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
	server string
	token  string
	ca     string
	cert   string
	key    string
	output string
	plain  bool // no colour
	watch  bool
}

// run is ops-meta as a function of its arguments.
func run(ctx context.Context, args []string, s streams) int {
	a := &app{streams: s}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	err := root.ExecuteContext(ctx)
	if err == nil || errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return exitOK
	}
	a.complain(err)
	return exitCode(err)
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "ops-meta",
		Short:         "Say what the hosts of a fleet shall run, roll it out, and see what every host does",
		Version:       buildinfo.Version(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Long: `ops-meta serve runs the server; everything else speaks to one.

The server is --server or OPS_META_SERVER (` + "http://" + server.DefaultListen + ` unless told), the token
--token or OPS_META_TOKEN. The first start of a server prints an admin token
and writes it to admin.token in its data directory.

Exit codes: 0 done, 1 failed, 2 wrong usage or input, 3 not found,
4 conflict (changed meanwhile, exists already, in use), 5 denied.`,
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return &usage{c, err} })
	f := root.PersistentFlags()
	f.StringVar(&a.server, "server", envOr("OPS_META_SERVER", "http://"+server.DefaultListen), "address of the server [$OPS_META_SERVER]")
	f.StringVar(&a.token, "token", "", "token to speak with [$OPS_META_TOKEN]")
	f.StringVar(&a.ca, "ca", os.Getenv("OPS_META_CA"), "PEM file of the server's certificate authority [$OPS_META_CA]")
	f.StringVar(&a.cert, "cert", os.Getenv("OPS_META_CERT"), "PEM file of a client certificate [$OPS_META_CERT]")
	f.StringVar(&a.key, "key", os.Getenv("OPS_META_KEY"), "PEM file of its key [$OPS_META_KEY]")
	f.StringVarP(&a.output, "output", "o", "table", "table, json or yaml")
	f.BoolVar(&a.plain, "no-color", os.Getenv("NO_COLOR") != "", "no colours, also on a terminal")
	f.BoolVar(&a.watch, "watch", false, "show again whenever something changes, until interrupted")
	root.AddGroup(
		&cobra.Group{ID: "see", Title: "See:"}, &cobra.Group{ID: "say", Title: "Say what is wanted:"},
		&cobra.Group{ID: "file", Title: "The fleet as a file:"}, &cobra.Group{ID: "care", Title: "Run a server:"},
	)
	a.add(root, "see", a.statusCommand(), a.hostsCommand(), a.hostCommand(), a.explainCommand(), a.agentsCommand(), a.releasesCommand(), a.auditCommand())
	a.add(root, "say", a.publishCommand(), a.deployCommand(), a.rolloutCommand(), a.assignCommand(), a.groupCommand(), a.holdCommand())
	a.add(root, "file", a.exportCommand(), a.diffCommand(), a.applyCommand(), a.importCommand())
	a.add(root, "care", a.serveCommand(), a.tokenCommand(), a.backupCommand(), a.restoreCommand(), a.doctorCommand(), manCommand())
	root.PersistentPreRunE = func(c *cobra.Command, _ []string) error {
		switch a.output {
		case "table", "json", "yaml":
			return nil
		}
		return &usage{c, fmt.Errorf("--output %q is not known: want table, json or yaml", a.output)}
	}
	return root
}

func (a *app) add(root *cobra.Command, group string, commands ...*cobra.Command) {
	for _, c := range commands {
		c.GroupID = group
		checkArgs(c)
		root.AddCommand(c)
	}
}

// checkArgs makes errors about arguments usage errors, of c and all below.
func checkArgs(c *cobra.Command) {
	if rule := c.Args; rule != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			if err := rule(c, args); err != nil {
				return &usage{c, err}
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		checkArgs(sub)
	}
}

// usage is a command line that makes no sense.
type usage struct {
	command *cobra.Command
	err     error
}

func (u *usage) Error() string { return u.err.Error() }
func (u *usage) Unwrap() error { return u.err }

// client speaks to the server that the flags and the environment name.
func (a *app) client() (*api.Client, error) {
	token := a.token
	if token == "" {
		token = os.Getenv("OPS_META_TOKEN")
	}
	conf, err := a.tls()
	if err != nil {
		return nil, err
	}
	return api.NewClient(api.ClientConfig{
		Server: a.server, Token: strings.TrimSpace(token), TLS: conf, UserAgent: "ops-meta/" + buildinfo.Version(),
	})
}

func (a *app) tls() (*tls.Config, error) {
	if a.ca == "" && a.cert == "" {
		return nil, nil
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if a.ca != "" {
		pem, err := os.ReadFile(a.ca)
		if err != nil {
			return nil, fmt.Errorf("cannot read --ca: %w", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("cannot use --ca %s: there is no PEM certificate in it", a.ca)
		}
	}
	if a.cert != "" {
		pair, err := tls.LoadX509KeyPair(a.cert, a.key)
		if err != nil {
			return nil, fmt.Errorf("cannot use --cert and --key: %w", err)
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	return conf, nil
}

// complain prints what went wrong and what to do about it.
func (a *app) complain(err error) {
	_, _ = fmt.Fprintf(a.err, "%s %s\n", a.errStyle(red, "ops-meta: error:"), err)
	var p *api.Problem
	if errors.As(err, &p) {
		for _, fp := range p.Problems {
			_, _ = fmt.Fprintf(a.err, "  line %d, column %d: %s%s\n", fp.Line, fp.Column, fp.Message, inBrackets(fp.Hint))
		}
	}
	if hint := hintOf(err); hint != "" {
		_, _ = fmt.Fprintf(a.err, "%s %s\n", a.errStyle(bold, "ops-meta: hint:"), hint)
	}
}

func inBrackets(s string) string {
	if s == "" {
		return ""
	}
	return " (" + s + ")"
}

func hintOf(err error) string {
	var (
		p *api.Problem
		e *api.Error
		u *usage
		n *api.Unreachable
	)
	switch {
	case errors.As(err, &p):
		return p.Hint
	case errors.As(err, &e):
		return e.Hint
	case errors.As(err, &u):
		return "see " + u.command.CommandPath() + " --help"
	case errors.As(err, &n):
		return unreachableHint(n)
	case usageByText(err):
		return "see ops-meta --help"
	}
	return ""
}

// usageByText knows the usage errors that cobra has no hook for.
func usageByText(err error) bool {
	for _, start := range []string{"unknown command", "required flag(s)", "if any flags in the group", "at least one of the flags in the group"} {
		if strings.HasPrefix(err.Error(), start) {
			return true
		}
	}
	return false
}

func exitCode(err error) int {
	var p *api.Problem
	var e *api.Error
	var u *usage
	switch {
	case errors.As(err, &p):
		return exitCodeOfStatus(p.Status)
	case errors.As(err, &e):
		return exitCodeOfKind(e.Kind)
	case errors.As(err, &u), usageByText(err):
		return exitUsage
	}
	return exitFailed
}

func exitCodeOfKind(kind api.ErrorKind) int {
	switch kind {
	case api.KindInvalid, api.KindTooLarge:
		return exitUsage
	case api.KindNotFound:
		return exitNotFound
	case api.KindExists, api.KindConflict, api.KindImmutable:
		return exitConflict
	case api.KindUnavailable, api.KindInternal:
	}
	return exitFailed
}

func exitCodeOfStatus(status int) int {
	switch status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return exitUsage
	case http.StatusNotFound:
		return exitNotFound
	case http.StatusConflict, http.StatusPreconditionFailed:
		return exitConflict
	case http.StatusUnauthorized, http.StatusForbidden:
		return exitDenied
	}
	return exitFailed
}

func envOr(name, fallback string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return fallback
}

// onTerminal reports whether w is one.
func onTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && (isatty.IsTerminal(f.Fd()) || isatty.IsCygwinTerminal(f.Fd()))
}

// unreachableHint says what to look at when no answer came.
func unreachableHint(n *api.Unreachable) string {
	var cert *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	switch {
	case errors.As(n.Err, &cert):
		return "give the authority that vouches for the server with --ca (or OPS_META_CA)"
	case errors.As(n.Err, &record), strings.Contains(n.Err.Error(), "HTTP response to HTTPS client"):
		return "the server speaks no TLS there: is it http:// in --server (or OPS_META_SERVER)?"
	}
	return "is it running, and is --server (or OPS_META_SERVER) right?"
}
