package updater

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/term"
	"gopkg.in/natefinch/lumberjack.v2"

	"github.com/ops-updater/ops-updater/internal/plainfile"
	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/updater/config"
)

// LogName is the log file's name in the var directory.
const LogName = "app.log"

// openLog opens the daemon's log: JSON lines in var/app.log, rotated. On a
// terminal a readable copy goes to stderr.
func openLog(c config.Config) (zerolog.Logger, io.Closer) {
	zerolog.TimeFieldFormat = time.RFC3339Nano
	file := &lumberjack.Logger{
		Filename:   filepath.Join(c.VarDir, LogName),
		MaxSize:    int((c.Log.MaxSize + 1<<20 - 1) >> 20),
		MaxBackups: c.Log.MaxBackups,
		LocalTime:  true,
	}
	var out io.Writer = file
	if f, err := plainfile.Append(file.Filename); err != nil { // a read-only disk, for instance
		out = os.Stderr
	} else {
		_ = f.Close()
	}
	if term.IsTerminal(int(os.Stderr.Fd())) {
		out = zerolog.MultiLevelWriter(file, Console(os.Stderr))
	}
	setLevel(c)
	return zerolog.New(out).With().Timestamp().Logger(), file
}

// Console writes log events for people; in colour on a terminal unless
// NO_COLOR is set.
func Console(f *os.File) io.Writer {
	plain := !term.IsTerminal(int(f.Fd())) || os.Getenv("NO_COLOR") != ""
	return zerolog.ConsoleWriter{Out: f, TimeFormat: time.TimeOnly, NoColor: plain, FormatPrepare: printable.Event}
}

// setLevel applies debug and log_level, also at a reload.
func setLevel(c config.Config) {
	level, err := zerolog.ParseLevel(c.LogLevel)
	if err != nil || c.Debug && level > zerolog.DebugLevel {
		level = zerolog.DebugLevel
	}
	zerolog.SetGlobalLevel(level)
}

// crashName is the file in the var directory that a crash is written to.
const crashName = "crash.log"

// maxCrash is how much of a crash goes into the log.
const maxCrash = 16 << 10

// catchCrashes lets a crash leave its trace in a file of its own, and takes
// the one of the last run into the log, so that it is not lost.
func catchCrashes(dir string, log zerolog.Logger) error {
	path := filepath.Join(dir, crashName)
	f, err := plainfile.Append(path)
	if err != nil {
		return fmt.Errorf("cannot prepare %s: %w", path, err)
	}
	defer func() { _ = f.Close() }() // the runtime keeps a copy of its own
	trace, _ := io.ReadAll(io.LimitReader(f, maxCrash))
	if len(bytes.Trim(trace, "\x00")) > 0 {
		log.Error().Bytes("trace", trace).Msg("the last run crashed")
	}
	if err := f.Truncate(0); err != nil {
		return fmt.Errorf("cannot prepare %s: %w", path, err)
	}
	return debug.SetCrashOutput(f, debug.CrashOptions{})
}
