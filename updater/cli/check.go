package cli

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/updater"
)

func (a *app) checkCommand() *cobra.Command {
	var asJSON, forTakeover bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "verify what the sidecar needs on this host, and say how to mend what is missing",
		Long: `Verify what the sidecar needs on this host: its configuration, directories, a
shell, sudo where another user is needed, the clock. A server that does not
answer, or does not take this host's credential, is a warning. Exit code 1 when something keeps the sidecar from starting.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.loadConfig()
			if err != nil {
				return a.refuseConfig(err, asJSON)
			}
			findings := updater.Check(cmd.Context(), c)
			if asJSON {
				err = a.printJSON(reportOf(findings))
			} else {
				err = writeFindings(a.stdio.Out, findings)
			}
			if err == nil && updater.Failed(findings) {
				err = errors.New("this host is not ready for the sidecar, see above")
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	// Versions that cannot take over from one that runs do not know it, and fail.
	cmd.Flags().BoolVar(&forTakeover, "takeover", false, "asked by the version that runs, before this one takes over")
	_ = cmd.Flags().MarkHidden("takeover")
	return cmd
}

// refuseConfig says err also to programs that read the findings.
func (a *app) refuseConfig(err error, asJSON bool) error {
	if !asJSON {
		return err
	}
	f := updater.Finding{Name: "configuration", Verdict: updater.VerdictFail, Detail: err.Error()}
	if h, ok := errors.AsType[hinted](err); ok {
		f.Mend = h.hint
	}
	return errors.Join(err, a.printJSON(reportOf([]updater.Finding{f})))
}

// checkReport is what check says to programs.
type checkReport struct {
	Ready    bool              `json:"ready"` // nothing keeps the sidecar from starting
	Errors   int               `json:"errors"`
	Warnings int               `json:"warnings"`
	Items    []updater.Finding `json:"items"`
}

func reportOf(findings []updater.Finding) checkReport {
	r := checkReport{Ready: !updater.Failed(findings), Items: findings}
	for _, f := range findings {
		switch f.Verdict {
		case updater.VerdictFail:
			r.Errors++
		case updater.VerdictWarn:
			r.Warnings++
		case updater.VerdictOK:
		}
	}
	return r
}

func writeFindings(w io.Writer, findings []updater.Finding) error {
	for _, f := range findings {
		if _, err := fmt.Fprintf(w, "%-8s %s: %s\n", f.Verdict, printable.Text(f.Name), printable.Text(f.Detail)); err != nil {
			return err
		}
		if f.Mend != "" {
			if _, err := fmt.Fprintf(w, "%-8s hint: %s\n", "", printable.Text(f.Mend)); err != nil {
				return err
			}
		}
	}
	return nil
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
