package agent

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"github.com/ops-updater/ops-updater/internal/host/control"
)

// maxShown is how much of .control.out [Dir.Output] returns.
const maxShown = 64 << 10

// Output is the end of what start and restart printed; empty when they never
// ran.
func (d Dir) Output() (string, error) {
	f, err := os.OpenFile(d.file(outputFile), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("cannot read the output of %s: %w", d.Name, err)
	}
	defer func() { _ = f.Close() }()
	fi, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("cannot read the output of %s: %w", d.Name, err)
	}
	if !fi.Mode().IsRegular() {
		return "", fmt.Errorf("cannot read the output of %s: %s is not a file", d.Name, outputFile)
	}
	from := max(fi.Size()-maxShown, 0)
	data, err := io.ReadAll(io.NewSectionReader(f, from, maxShown))
	if err != nil {
		return "", fmt.Errorf("cannot read the output of %s: %w", d.Name, err)
	}
	return strings.ToValidUTF8(string(data), "?"), nil
}

// saidSince are the last lines that control start, or the agent that it
// started and that kept its output, wrote into .control.out after offset.
func (d Dir) saidSince(offset int64) string {
	f, err := os.OpenFile(d.file(outputFile), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	return control.SaidSince(f, offset)
}

// maxLog bounds .control.out.
const maxLog = 1 << 20

// openLog opens .control.out for appending, so that a daemon that inherits it
// is never killed by a closed pipe; see [Dir.LimitOutput] for its bound. When
// it cannot be had (a full disk, a FIFO in its place), the output is thrown
// away: an agent is not kept down for want of a log.
func (d Dir) openLog() *os.File {
	flags := os.O_RDWR | os.O_APPEND | os.O_CREATE | syscall.O_NOFOLLOW | syscall.O_NONBLOCK
	f, err := os.OpenFile(d.file(outputFile), flags, 0o644)
	if err == nil {
		if fi, err := f.Stat(); err == nil && fi.Mode().IsRegular() {
			cutToEnd(f)
			return f
		}
		_ = f.Close()
	}
	f, _ = os.OpenFile(os.DevNull, os.O_RDWR, 0)
	return f
}
