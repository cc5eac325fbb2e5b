package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ops-updater/ops-updater/internal/pause"
	"github.com/ops-updater/ops-updater/internal/plainfile"
	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater"
	"github.com/ops-updater/ops-updater/updater/local"
)

// What logs shows at first, and how often it looks for more.
const (
	logTail     = 64 << 10
	followEvery = 500 * time.Millisecond
)

func (a *app) logsCommand() *cobra.Command {
	var follow bool
	cmd := &cobra.Command{
		Use:   "logs [AGENT]",
		Short: "show the end of the sidecar's log, or of what AGENT's control script printed",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 || len(args) == 1 && !meta.ValidName(args[0]) {
				return usageError{errors.New("want no argument, or the name of one agent")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			daemon, c, err := a.runningSidecar(cmd.Context())
			if err != nil {
				return err
			}
			if len(args) == 1 {
				return a.followOutput(cmd.Context(), daemon, args[0], follow)
			}
			return a.followLog(cmd.Context(), filepath.Join(c.VarDir, updater.LogName), follow)
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on showing what is added")
	return cmd
}

// followLog reads the file itself: it needs no running sidecar.
func (a *app) followLog(ctx context.Context, path string, follow bool) error {
	out := io.Writer(jsonWriter{a.stdio.Out})
	if f, ok := a.stdio.Out.(*os.File); ok && isTerminal(f) {
		out = lineWriter{updater.Console(f)}
	}
	offset := int64(-1)
	for {
		var err error
		if offset, err = copyFrom(out, path, offset); err != nil {
			return err
		}
		if !follow || !pause.For(ctx, followEvery) {
			return nil
		}
	}
}

// copyFrom writes what path holds from offset on and returns where it ended; a
// negative offset means the last part, a file that shrank starts again.
func copyFrom(w io.Writer, path string, offset int64) (int64, error) {
	f, err := plainfile.Open(path)
	if err != nil {
		return 0, fmt.Errorf("cannot read the log: %w", err)
	}
	defer func() { _ = f.Close() }()
	fi, err := f.Stat()
	if err != nil {
		return 0, fmt.Errorf("cannot read the log: %w", err)
	}
	partial := false
	switch {
	case offset < 0 && fi.Size() > logTail:
		offset, partial = fi.Size()-logTail, true
	case offset < 0 || offset > fi.Size():
		offset = 0
	}
	data, err := io.ReadAll(io.NewSectionReader(f, offset, fi.Size()-offset))
	if err != nil {
		return offset, fmt.Errorf("cannot read the log: %w", err)
	}
	end := strings.LastIndexByte(string(data), '\n') + 1 // the rest comes when its line is whole
	text := data[:end]
	if partial {
		text = text[strings.IndexByte(string(text), '\n')+1:]
	}
	_, err = w.Write(text)
	return offset + int64(end), err
}

// jsonWriter shows what a log event would hide: only the console escapes it.
type jsonWriter struct{ out io.Writer }

func (j jsonWriter) Write(p []byte) (int, error) {
	if _, err := io.WriteString(j.out, printable.JSON(string(p))); err != nil {
		return 0, err
	}
	return len(p), nil
}

// lineWriter hands lines one by one to a writer for log events; what is not
// one is passed over.
type lineWriter struct{ events io.Writer }

func (l lineWriter) Write(p []byte) (int, error) {
	for line := range strings.Lines(string(p)) {
		_, _ = l.events.Write([]byte(line))
	}
	return len(p), nil
}

func (a *app) followOutput(ctx context.Context, daemon *local.Client, agent string, follow bool) error {
	shown := ""
	for {
		o, err := daemon.Output(ctx, agent)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // ^C is how one stops following
		}
		if err != nil {
			return err
		}
		if _, err := io.WriteString(a.stdio.Out, printable.Lines(addedText(shown, o.Text))); err != nil {
			return err
		}
		shown = o.Text
		if !follow || !pause.For(ctx, followEvery) {
			return nil
		}
	}
}

// addedText is what now has after the end of before; all of it when they don't fit.
func addedText(before, now string) string {
	if more, ok := strings.CutPrefix(now, before); ok {
		return more
	}
	// The window moved on: find where the old end is in the new text.
	tail := before[max(0, len(before)-256):]
	if i := strings.LastIndex(now, tail); i >= 0 {
		return now[i+len(tail):]
	}
	return now
}
