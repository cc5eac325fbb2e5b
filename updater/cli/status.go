package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/internal/timespan"
	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/local"
)

// watchEvery is how often status --watch looks again.
const watchEvery = 500 * time.Millisecond

func (a *app) statusCommand() *cobra.Command {
	var asJSON, watch bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "show the running sidecar and its agents",
		Long: `Show the running sidecar and its agents. On a terminal the table stays and
moves while something is being installed; --watch keeps it until you press ^C.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			daemon, _, err := a.runningSidecar(cmd.Context())
			if err != nil {
				return err
			}
			s, err := daemon.Status(cmd.Context())
			switch {
			case err != nil:
				return err
			case asJSON:
				return a.printJSON(s)
			case watch || isTerminal(a.stdio.Out) && isBusy(s):
				return a.watchStatus(cmd.Context(), daemon, watch)
			}
			return writeStatus(a.stdio.Out, s, time.Now())
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&watch, "watch", false, "keep looking")
	return cmd
}

// watchStatus shows the table again and again, in place on a terminal; not forever,
// until nothing is at work any more.
func (a *app) watchStatus(ctx context.Context, daemon *local.Client, forever bool) error {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	lines, shown := 0, ""
	for {
		s, err := daemon.Status(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // ^C is how one stops watching
		}
		if err != nil {
			return err
		}
		text := statusText(s, a.stdio.Out)
		if !forever && !isBusy(s) {
			var whole strings.Builder // what stays on the screen is not cut
			_ = writeStatus(&whole, s, time.Now())
			text = whole.String()
		}
		terminal := isTerminal(a.stdio.Out)
		if terminal && lines > 0 {
			_, _ = fmt.Fprintf(a.stdio.Out, "\x1b[%dA\x1b[J", lines)
		}
		if !terminal {
			text, shown = newLines(shown, text), text
		}
		if _, err := io.WriteString(a.stdio.Out, text); err != nil {
			return err
		}
		lines = strings.Count(text, "\n")
		if !forever && !isBusy(s) {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// newLines are the lines of an agent or an error that were not there before:
// the first two lines only tell times.
func newLines(before, now string) string {
	if before == "" {
		return now
	}
	var out strings.Builder
	for i, line := range strings.Split(strings.TrimSuffix(now, "\n"), "\n") {
		if i >= 2 && line != "" && !strings.Contains(before, line+"\n") {
			out.WriteString(line + "\n")
		}
	}
	return out.String()
}

// statusText is the status, cut to the width of the terminal: a line that
// wraps would be counted as one and left behind.
func statusText(s local.Status, out io.Writer) string {
	var text strings.Builder
	_ = writeStatus(&text, s, time.Now())
	f, ok := out.(*os.File)
	if !ok {
		return text.String()
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil || width < 2 {
		return text.String()
	}
	lines := strings.Split(text.String(), "\n")
	for i, line := range lines {
		if r := []rune(line); len(r) >= width {
			lines[i] = string(r[:width-2]) + "…"
		}
	}
	return strings.Join(lines, "\n")
}

// isBusy reports whether some agent is in the middle of something.
func isBusy(s local.Status) bool {
	for _, a := range s.Agents {
		switch a.Phase {
		case meta.PhaseDownloading, meta.PhaseStaging, meta.PhaseStopping, meta.PhaseStarting, meta.PhaseProbation, meta.PhaseRollingBack:
			return true
		case "", meta.PhaseIdle, meta.PhaseRolledBack, meta.PhaseFailed, meta.PhaseHeld:
		}
	}
	return false
}

func writeStatus(w io.Writer, s local.Status, now time.Time) error {
	_, err := fmt.Fprintf(w, "ops-updater %s on %s, pid %d, up %s\n%s\n", printable.Text(s.Version), printable.Text(s.Hostname), s.Pid, timespan.Say(now.Sub(s.Started)), printable.Text(heartbeatInWords(s.Heartbeat, now)))
	if err != nil {
		return err
	}
	if s.Trial != "" {
		_, _ = fmt.Fprintf(w, "on trial: %s\n", printable.Text(s.Trial))
	}
	if s.Installed != "" {
		_, _ = fmt.Fprintf(w, "%s is installed; every start goes on as the version that is current\n", printable.Text(s.Installed))
	}
	if s.ConfigError != "" {
		_, _ = fmt.Fprintf(w, "configuration not reloaded, the old one stays: %s\n", printable.Text(s.ConfigError))
	}
	if s.Trust != nil {
		_, _ = fmt.Fprintln(w, printable.Text(trustInWords(*s.Trust, now)))
	}
	for _, d := range s.Damaged {
		_, _ = fmt.Fprintf(w, "damaged: %s\n", printable.Text(d))
	}
	for _, r := range s.Heartbeat.Refused {
		if slices.ContainsFunc(s.Agents, func(a meta.RealAgent) bool { return a.Name == r.Name }) {
			continue // its line says so
		}
		_, _ = fmt.Fprintf(w, "refused of the last reply: %s: %s\n", orDash(r.Name), printable.Text(r.Reason))
	}
	if len(s.Agents) == 0 {
		_, err := fmt.Fprintln(w, "no agent is wanted or known on this host")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "\nAGENT\tVERSION\tWANTED\tSTATUS\tPHASE\tNOTE")
	for _, a := range s.Agents {
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", printable.Text(a.Name), orDash(a.Version), orDash(a.DesiredVersion), orDash(statusWord(a)), orDash(phaseInWords(a)), printable.Text(strings.Trim(noteInWords(a)+"; "+vouchedInWords(s.Verified[a.Name], s.Trust), "; ")))
	}
	return t.Flush()
}

// vouchedInWords says who vouched for the version that is there. That nobody did is said
// with the reason for that.
func vouchedInWords(key string, trust *local.Trust) string {
	switch {
	case key == "":
		return ""
	case trust != nil && !slices.Contains(trust.Keys, key):
		return "verified by key " + key + ", which does not count any more"
	}
	return "verified by key " + key
}

func heartbeatInWords(h local.Heartbeat, now time.Time) string {
	next := "next in " + timespan.Say(h.Next.Sub(now))
	if !h.Next.After(now) {
		next = "one is under way"
	}
	switch {
	case h.Failures > 0:
		last := "never answered yet"
		if !h.LastOK.IsZero() {
			last = "last answered " + timespan.Say(now.Sub(h.LastOK)) + " ago"
		}
		return fmt.Sprintf("heartbeat failing (%d in a row, %s, %s): %s", h.Failures, last, next, h.Error)
	case h.LastOK.IsZero():
		return "heartbeat: the first one is due, " + next
	}
	return fmt.Sprintf("heartbeat ok: %s, %s dialect, %s ago, %s", h.Server, h.Dialect, timespan.Say(now.Sub(h.LastOK)), next)
}

func phaseInWords(a meta.RealAgent) string {
	if a.Progress > 0 && a.Progress < 1 {
		return fmt.Sprintf("%s %.0f%%", a.Phase, a.Progress*100)
	}
	return string(a.Phase)
}

// statusWord leaves out why a status is unknown: the note has it.
func statusWord(a meta.RealAgent) string {
	word, _, _ := strings.Cut(a.Status, ":")
	return word
}

func noteInWords(a meta.RealAgent) string {
	var notes []string
	if a.Held {
		notes = append(notes, "held: "+a.HoldReason)
	}
	if a.Orphaned {
		notes = append(notes, "orphaned: the server no longer lists it")
	}
	if a.Error != "" {
		notes = append(notes, a.Error)
	}
	if _, why, unknown := strings.Cut(a.Status, ": "); unknown && a.Version != "" && !strings.Contains(a.Error, why) {
		notes = append(notes, "status is unknown: "+why)
	}
	return strings.Join(notes, "; ")
}
