package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/internal/timespan"
	"github.com/ops-updater/ops-updater/updater"
	"github.com/ops-updater/ops-updater/updater/local"
)

func (a *app) trustCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "trust",
		Short: "show whom this host believes",
		Long: `Show which signatures this host verifies, with which keys, and what it has heard of
the server: the epoch of its list of keys, and the highest serial.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			t, err := a.currentTrust(cmd)
			switch {
			case err != nil:
				return err
			case asJSON:
				return a.printJSON(t)
			case t == nil:
				_, err = fmt.Fprintln(a.stdio.Out, "nothing is verified: trust is off, see docs/TRUST.md")
				return err
			}
			_, err = fmt.Fprintln(a.stdio.Out, printable.Text(trustInWords(*t, time.Now())))
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.AddCommand(a.forgetCommand())
	return cmd
}

// currentTrust asks the running sidecar, or what it left where none runs.
func (a *app) currentTrust(cmd *cobra.Command) (*local.Trust, error) {
	daemon, c, err := a.runningSidecar(cmd.Context())
	if err != nil {
		return nil, err
	}
	if s, err := daemon.Status(cmd.Context()); err == nil {
		return s.Trust, nil
	}
	return updater.StoredTrust(c)
}

func (a *app) forgetCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "forget",
		Short: "begin anew with the keys of cfg.json",
		Long: `Forget the highest serial and the list of keys that this host has heard, and begin
anew with the keys of cfg.json. It is the way out on one host whose server lost
its key, or whose serial was driven up, where no root key can say so for all:
docs/TRUST.md. The sidecar must be stopped.`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			c, err := a.loadConfig()
			if err != nil {
				return err
			}
			was, err := updater.ForgetHeard(c)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.stdio.Out, "forgotten: serial %d of epoch %d\n", was.Serial, was.Epoch)
			return err
		},
	}
}

// trustInWords is one line for a person.
func trustInWords(t local.Trust, now time.Time) string {
	says := "trust: " + updater.TrustInWords(t.TrustReport)
	if t.Serial > 0 {
		says += fmt.Sprintf(", serial %d", t.Serial)
	}
	if t.Refused != "" {
		says += fmt.Sprintf("; stale since %s (%s): %s [%s]", t.Stale.Local().Format(time.DateTime), timespan.Say(now.Sub(t.Stale)), t.Refused, t.Reason)
	}
	return says
}
