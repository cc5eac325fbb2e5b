package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/updater"
	"github.com/ops-updater/ops-updater/updater/config"
	"github.com/ops-updater/ops-updater/updater/local"
)

// enrolment is what somebody asks of enroll.
type enrolment struct {
	tokenFile string
	again     bool
	keys      map[string]string // of cfg.json, as flags say them
}

func (a *app) enrollCommand() *cobra.Command {
	var e enrolment
	var server, caFile, hostname string
	cmd := &cobra.Command{
		Use:   "enroll",
		Short: "get this host's own credential from the server, in exchange for an enrolment token",
		Long: `Get this host's own credential from the server, in exchange for an enrolment token
(ops-meta token create NAME --role enroll). It is kept in var_dir/credential, for nobody
else to read: say this as the user that the sidecar runs as. What flags say is written
into cfg.json, which is made if there is none.

A host that has a credential which the server takes is left as it is: this may be said
again at any time. The same without this verb: enroll_token_file in cfg.json.`,
		Example: `  ops-updater enroll --server https://ops-meta.example.com --token-file /root/enrolment
  printf %s "$TOKEN" | ops-updater -c /etc/ops-updater/cfg.json enroll --token-file -`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if caFile != "" { // in cfg.json it would be relative to that
				var err error
				if caFile, err = filepath.Abs(caFile); err != nil {
					return err
				}
			}
			e.keys = map[string]string{"server": server, "ca_file": caFile, "hostname": hostname}
			return a.enroll(cmd.Context(), e)
		},
	}
	cmd.Flags().StringVar(&server, "server", "", "`address` of ops-meta, such as https://ops-meta.example.com")
	cmd.Flags().StringVar(&e.tokenFile, "token-file", "", "`file` with the enrolment token, - for the standard input")
	cmd.Flags().StringVar(&caFile, "ca-file", "", "PEM `file` of the authority that vouches for the server")
	cmd.Flags().StringVar(&hostname, "hostname", "", "`name` of this host, where it is not the system's")
	cmd.Flags().BoolVar(&e.again, "again", false, "also where the server no longer takes the credential that is there")
	return cmd
}

func (a *app) enroll(ctx context.Context, e enrolment) error {
	if err := config.SetKeys(a.config, e.keys); err != nil {
		return err
	}
	c, err := a.loadConfig()
	if err != nil {
		return err
	}
	if c.Token != "" {
		server, err := updater.TakenBy(ctx, c)
		if err == nil {
			_, err = fmt.Fprintf(a.stdio.Out, "%s is enrolled already: %s takes its credential\n", printable.Text(c.Hostname), printable.Text(server))
			return err
		}
		if !errors.Is(err, updater.ErrRefused) {
			return hinted{fmt.Errorf("%s has a credential, and cannot ask whether it is taken: %w", c.Hostname, err), "see that the server runs, and can be reached from here; nothing was changed"}
		}
		if !e.again {
			return hinted{fmt.Errorf("%s has a credential that no server takes: %w", c.Hostname, err), "enroll --again puts a new one in its place, once the server lets the host enrol again: ops-meta host " + c.Hostname + " --forget"}
		}
		if _, gone := os.Stat(c.CredentialFile()); errors.Is(gone, fs.ErrNotExist) {
			return hinted{errors.New("the credential is one that cfg.json names"), "remove token and token_file from " + c.Path + " first"}
		}
		c.Token = ""
	}
	token, err := a.enrolmentToken(e.tokenFile)
	if err != nil {
		return err
	}
	c.EnrolToken = cmp.Or(token, c.EnrolToken)
	if c.EnrolToken == "" {
		return usageError{hinted{errors.New("an enrolment token is missing"), "name a file that holds it with --token-file; ops-meta token create NAME --role enroll makes one"}}
	}
	if err := os.MkdirAll(c.VarDir, 0o700); err != nil {
		return fmt.Errorf("cannot make the directory of the credential: %w", err)
	}
	if _, err := updater.Enrol(ctx, c); err != nil {
		return hinted{fmt.Errorf("%s cannot be enrolled: %w", c.Hostname, err), updater.ExplainEnrolment(err, c)}
	}
	_, err = fmt.Fprintf(a.stdio.Out, "%s is enrolled; its credential is in %s\n", printable.Text(c.Hostname), printable.Text(c.CredentialFile()))
	return errors.Join(err, a.reloadRunning(ctx, c))
}

// enrolmentToken reads the token that the file at path, or the standard input, holds.
func (a *app) enrolmentToken(path string) (string, error) {
	switch path {
	case "":
		return "", nil
	case "-":
		const most = 64 << 10
		data, err := io.ReadAll(io.LimitReader(a.stdio.In, most))
		if err != nil {
			return "", err
		}
		token, err := config.TokenIn(data)
		if err != nil {
			return "", fmt.Errorf("the standard input: %w", err)
		}
		return token, nil
	}
	return config.ReadToken(path)
}

// reloadRunning has a sidecar that runs take its credential.
func (a *app) reloadRunning(ctx context.Context, c config.Config) error {
	daemon := local.NewClient(c.VarDir)
	if _, err := daemon.Status(ctx); err != nil {
		return nil //nolint:nilerr // none runs: the next start takes it
	}
	if _, err := daemon.Reload(ctx); err != nil {
		return fmt.Errorf("the running sidecar did not take the credential: %w", err)
	}
	return nil
}
