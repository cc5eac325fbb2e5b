package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"gopkg.in/natefinch/lumberjack.v2"

	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/server"
)

func (a *app) serveCommand() *cobra.Command {
	var path string
	var flags server.Config
	var check bool
	c := &cobra.Command{
		Use: "serve --data DIR", Short: "Run the server", Args: cobra.NoArgs,
		Long: `Run the server. It needs nothing but a directory: SQLite and the artifacts are in
it. The first start prints an admin token and writes it to DIR/admin.token.

Settings come from the file (--config, YAML or JSON), the environment
(OPS_META_LISTEN for listen, OPS_META_PUBLIC_URL for publicUrl, …) and flags;
each wins over the one before.

Heartbeats need a host's credential unless --open-heartbeats, which is for
trusted networks and old clients; on a loopback address they are open unless
--heartbeats credential.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			load := func() (server.Config, error) { return joinSettings(cmd.Flags(), path, flags) }
			conf, err := load()
			if err != nil {
				return err
			}
			if err := conf.Validate(); err != nil || check {
				return err
			}
			return a.serve(cmd.Context(), conf, load)
		},
	}
	serveFlags(c.Flags(), &flags)
	c.Flags().StringVar(&path, "config", os.Getenv("OPS_META_CONFIG"), "YAML or JSON file of settings [$OPS_META_CONFIG]")
	c.Flags().BoolVar(&check, "check", false, "only check the settings")
	return c
}

// serveFlags are the settings worth a flag; the file has all of them.
func serveFlags(f *pflag.FlagSet, c *server.Config) {
	f.StringVar(&c.Listen, "listen", "", "host:port to listen on (default "+server.DefaultListen+")")
	f.StringVar(&c.Data, "data", "", "directory of everything that is kept")
	f.StringVar(&c.DB, "db", "", "postgres://… instead of SQLite in --data")
	f.StringVar(&c.Artifacts, "artifacts", "", "s3://KEY:SECRET@HOST/BUCKET/PREFIX instead of a directory in --data")
	f.StringVar(&c.PublicURL, "public-url", "", "this server as hosts reach it (default from --listen)")
	f.StringVar(&c.TLSCert, "tls-cert", "", "PEM file; with --tls-key turns TLS on")
	f.StringVar(&c.TLSKey, "tls-key", "", "PEM file")
	f.StringVar(&c.ClientCA, "client-ca", "", "PEM file; a client certificate from it is its host's credential")
	f.StringVar(&c.Heartbeats, "heartbeats", "", "open or credential")
	f.Bool("open-heartbeats", false, "the same as --heartbeats open")
	f.Var(&c.Interval, "interval", "between heartbeats, such as 5m; a plain number is seconds (default each host's own)")
	f.StringVar(&c.LogLevel, "log-level", "", "debug, info, warn or error (default info)")
	f.StringVar(&c.LogFormat, "log-format", "", "json or pretty (default pretty on a terminal)")
	f.StringVar(&c.LogFile, "log-file", "", "rotated file to log to (default the standard error)")
	f.StringVar(&c.OIDC.Issuer, "oidc-issuer", "", "URL of the OpenID Connect provider whose people may log in")
	f.StringVar(&c.OIDC.ClientID, "oidc-client-id", "", "what the provider knows this server as")
	f.StringVar(&c.OIDC.ClientSecretFile, "oidc-client-secret-file", "", "file with the secret that the provider gave it")
	f.StringArrayVar(&c.OIDC.Roles, "oidc-role", nil, "GROUP=ROLE of the provider's people, such as ops=admin or 'team-a=operator:falcon-*@canary'; may be repeated")
	f.BoolVar(&c.Pprof, "pprof", false, "serve /debug/pprof to admins")
}

// joinSettings joins file, environment and flags.
func joinSettings(f *pflag.FlagSet, path string, flags server.Config) (server.Config, error) {
	var conf server.Config
	if path != "" {
		if err := server.LoadConfig(path, &conf); err != nil {
			return conf, err
		}
	}
	if err := server.ReadEnv(os.LookupEnv, &conf); err != nil {
		return conf, &api.Error{Kind: api.KindInvalid, Message: err.Error()}
	}
	take := func(name string, set func()) {
		if f.Changed(name) {
			set()
		}
	}
	take("listen", func() { conf.Listen = flags.Listen })
	take("data", func() { conf.Data = flags.Data })
	take("db", func() { conf.DB = flags.DB })
	take("artifacts", func() { conf.Artifacts = flags.Artifacts })
	take("public-url", func() { conf.PublicURL = flags.PublicURL })
	take("tls-cert", func() { conf.TLSCert = flags.TLSCert })
	take("tls-key", func() { conf.TLSKey = flags.TLSKey })
	take("client-ca", func() { conf.ClientCA = flags.ClientCA })
	take("heartbeats", func() { conf.Heartbeats = flags.Heartbeats })
	take("open-heartbeats", func() {
		conf.Heartbeats = server.HeartbeatsCredential
		if open, _ := f.GetBool("open-heartbeats"); open {
			conf.Heartbeats = server.HeartbeatsOpen
		}
	})
	take("interval", func() { conf.Interval = flags.Interval })
	take("log-level", func() { conf.LogLevel = flags.LogLevel })
	take("log-format", func() { conf.LogFormat = flags.LogFormat })
	take("log-file", func() { conf.LogFile = flags.LogFile })
	take("oidc-issuer", func() { conf.OIDC.Issuer = flags.OIDC.Issuer })
	take("oidc-client-id", func() { conf.OIDC.ClientID = flags.OIDC.ClientID })
	take("oidc-client-secret-file", func() { conf.OIDC.ClientSecretFile = flags.OIDC.ClientSecretFile })
	take("oidc-role", func() { conf.OIDC.Roles = flags.OIDC.Roles })
	take("pprof", func() { conf.Pprof = flags.Pprof })
	return conf, nil
}

func (a *app) serve(ctx context.Context, conf server.Config, load func() (server.Config, error)) error {
	log, done, err := newLog(a.err, conf, onTerminal(a.err))
	if err != nil {
		return err
	}
	defer done()
	s, err := server.Open(ctx, conf, log)
	if err != nil {
		return err
	}
	n := s.Notice()
	if n.AdminToken != "" {
		_, _ = fmt.Fprintf(a.out, "admin token: %s\n  (this once; it is also in %s)\n", n.AdminToken, n.TokenFile)
	}
	_, _ = fmt.Fprintf(a.out, "ops-meta listens on %s\n", n.URL)
	ctx, cancel := context.WithCancel(ctx)
	reloading := reloadOnHangup(ctx, s, load, log)
	err = s.Run(ctx)
	cancel()
	<-reloading
	return err
}

// reloadOnHangup takes the settings again at each SIGHUP, until ctx ends.
func reloadOnHangup(ctx context.Context, s *server.Server, load func() (server.Config, error), log zerolog.Logger) <-chan struct{} {
	hangup, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(hangup, syscall.SIGHUP)
	go func() {
		defer close(done)
		defer signal.Stop(hangup)
		for {
			select {
			case <-ctx.Done():
				return
			case <-hangup:
			}
			conf, err := load()
			if err == nil {
				err = setLevel(conf)
			}
			if err == nil {
				_, err = s.Reload(ctx, conf)
			}
			if err != nil {
				log.Error().Err(err).Msg("settings not reloaded: the old ones still count")
			}
		}
	}()
	return done
}

func setLevel(conf server.Config) error {
	level := zerolog.InfoLevel
	if conf.LogLevel != "" {
		var err error
		if level, err = zerolog.ParseLevel(strings.ToLower(conf.LogLevel)); err != nil {
			return &api.Error{Kind: api.KindInvalid, Message: fmt.Sprintf("log level %q is not known", conf.LogLevel), Hint: "want debug, info, warn or error"}
		}
	}
	zerolog.SetGlobalLevel(level)
	return nil
}

// newLog is JSON for machines and a line per event for people; done closes
// its file.
func newLog(w io.Writer, conf server.Config, terminal bool) (log zerolog.Logger, done func(), err error) {
	if err := setLevel(conf); err != nil {
		return log, nil, err
	}
	done = func() {}
	if conf.LogFile != "" {
		if err := tryLogFile(conf.LogFile); err != nil {
			return log, nil, err
		}
		file := &lumberjack.Logger{Filename: conf.LogFile, MaxSize: 50, MaxBackups: 5} // MiB, files
		w, terminal, done = file, false, func() { _ = file.Close() }
	}
	switch {
	case conf.LogFormat == "pretty", conf.LogFormat == "" && terminal:
		w = zerolog.ConsoleWriter{Out: w, TimeFormat: "15:04:05", NoColor: !terminal, FormatPrepare: printable.Event}
	case conf.LogFormat == "", conf.LogFormat == "json":
	default:
		return log, nil, &api.Error{Kind: api.KindInvalid, Message: fmt.Sprintf("log format %q is not known", conf.LogFormat), Hint: "want json or pretty"}
	}
	return zerolog.New(w).With().Timestamp().Logger(), done, nil
}

// tryLogFile refuses what would keep the server waiting for its log.
func tryLogFile(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return &api.Error{Kind: api.KindInvalid, Message: fmt.Sprintf("cannot write the log: %v", err), Hint: "move it away, or give another --log-file"}
	}
	return f.Close()
}
