package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/rs/zerolog"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater"
	"github.com/ops-updater/ops-updater/updater/local"
)

func (a *app) onceCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "once",
		Short: "ask the server once, bring every agent to where it is wanted, report, and end",
		Long: `Do in the foreground, once, what the sidecar does all the time: ask the
server, bring every agent to where it is wanted, and report. It needs no
running sidecar; where one runs, that one does it now, and once waits for it.
Exit code 1 when an agent is not as wanted.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.loadConfig()
			if err != nil {
				return err
			}
			daemon := local.NewClient(c.VarDir)
			if s, err := daemon.Status(cmd.Context()); err == nil {
				return a.onceThrough(cmd.Context(), daemon, s.Pid)
			}
			meter := newMeter(a.stdio.Err)
			agents, err := updater.Once(cmd.Context(), c, onceLog(a.stdio.Err), meter.showProgress)
			meter.endLine()
			if err == nil {
				return a.concludeBeat(agents)
			}
			if agents != nil {
				return errors.Join(a.showOutcome(agents), err)
			}
			return err
		},
	}
}

// onceLog writes for people; a terminal has the progress bar and only needs
// what went wrong.
func onceLog(w io.Writer) zerolog.Logger {
	f, ok := w.(*os.File)
	if !ok {
		return zerolog.New(w).With().Timestamp().Logger()
	}
	level := zerolog.InfoLevel
	if isTerminal(w) {
		level = zerolog.WarnLevel
	}
	return zerolog.New(updater.Console(f)).Level(level).With().Timestamp().Logger()
}

func (a *app) showOutcome(agents []meta.RealAgent) error {
	if len(agents) == 0 {
		_, err := fmt.Fprintln(a.stdio.Out, "no agent is wanted or known on this host")
		return err
	}
	t := tabwriter.NewWriter(a.stdio.Out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "AGENT\tVERSION\tSTATUS\tPHASE\tNOTE")
	for _, r := range agents {
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", printable.Text(r.Name), orDash(r.Version), orDash(statusWord(r)), orDash(string(r.Phase)), printable.Text(noteInWords(r)))
	}
	return t.Flush()
}

// meter shows agents at work: a bar on a terminal, otherwise nothing, because
// the log tells it.
type meter struct {
	out io.Writer
	bar *progressbar.ProgressBar // nil: none is shown
}

func newMeter(w io.Writer) *meter {
	if !isTerminal(w) {
		return &meter{}
	}
	return &meter{out: w}
}

func (m *meter) showProgress(all []updater.Progress) {
	if m.out == nil {
		return
	}
	var done, total int64
	var names []string
	for _, p := range all {
		if p.Phase == meta.PhaseIdle || p.Phase == "" {
			continue
		}
		names = append(names, printable.Text(p.Agent)+" "+string(p.Phase))
		done, total = done+p.Done, total+max(p.Total, p.Done)
	}
	if len(names) == 0 {
		m.endLine()
		return
	}
	if m.bar == nil {
		m.bar = progressbar.NewOptions64(max(total, 1), progressbar.OptionSetWriter(m.out),
			progressbar.OptionShowBytes(true), progressbar.OptionSetPredictTime(true),
			progressbar.OptionClearOnFinish(), progressbar.OptionFullWidth())
	}
	m.bar.ChangeMax64(max(total, 1))
	m.bar.Describe(strings.Join(names, ", "))
	_ = m.bar.Set64(min(done, max(total, 1)-1)) // the last byte ends the bar, and there may be more to come
}

func (m *meter) endLine() {
	if m.bar != nil {
		_ = m.bar.Clear()
		m.bar = nil
	}
}
