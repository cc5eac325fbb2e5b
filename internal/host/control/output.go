package control

import (
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/ops-updater/ops-updater/internal/lastwords"
	"github.com/ops-updater/ops-updater/internal/printable"
)

// Bounds on what a control script's output may cost.
const (
	maxHead  = 4 << 10 // the beginning, where the first word of status is
	maxTail  = 4 << 10 // the end, where the reason of a failure is
	maxLines = 5       // of the tail, in a reason
)

// capture keeps the beginning and the end of a stream.
type capture struct {
	mu   sync.Mutex
	head []byte
	tail []byte
}

func (c *capture) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if room := maxHead - len(c.head); room > 0 {
		c.head = append(c.head, p[:min(room, len(p))]...)
	}
	c.tail = append(c.tail, p...)
	if extra := len(c.tail) - maxTail; extra > 0 {
		c.tail = append(c.tail[:0], c.tail[extra:]...)
	}
	return len(p), nil
}

func (c *capture) headAndTail() (head, tail string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(c.head), string(c.tail)
}

// pipe is a pipe into a capture that cannot hold the reader: an agent that
// daemonised may keep the other end open for years.
type pipe struct {
	r, w *os.File
	into *capture
	done chan struct{}
}

func newPipe(into *capture) (*pipe, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p := &pipe{r: r, w: w, into: into, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		_, _ = io.Copy(p.into, p.r)
	}()
	return p, nil
}

// finishReading takes what the script, which has ended, left in the pipe, waits for
// nothing more, and closes both ends.
func (p *pipe) finishReading() {
	_ = p.w.Close()
	_ = p.r.SetReadDeadline(time.Now())
	<-p.done
	_ = p.r.SetReadDeadline(time.Time{})
	p.drainNow()
	_ = p.r.Close()
}

// drainNow reads what is there now, without waiting and not for ever.
func (p *pipe) drainNow() {
	conn, err := p.r.SyscallConn()
	if err != nil {
		return
	}
	_ = conn.Read(func(fd uintptr) bool {
		buf := make([]byte, 16<<10)
		for range 8 { // a pipe holds 64 KiB
			n, err := syscall.Read(int(fd), buf)
			if errors.Is(err, syscall.EINTR) {
				continue
			}
			if n <= 0 {
				return true
			}
			_, _ = p.into.Write(buf[:n])
		}
		return true
	})
}

// sizeOf is where the next byte goes, for reading what was added later.
func sizeOf(f *os.File) int64 {
	fi, err := f.Stat()
	if err != nil {
		return 0
	}
	return fi.Size()
}

// addedSince puts what was appended after offset into c.
func addedSince(f *os.File, offset int64, c *capture) {
	end := sizeOf(f)
	if end-offset > maxHead+maxTail {
		_, _ = io.Copy(c, io.NewSectionReader(f, offset, maxHead))
		offset = end - maxTail
	}
	_, _ = io.Copy(c, io.NewSectionReader(f, offset, end-offset))
}

// lastSaid is the end of an output, after the line in which a Go program says
// why it died: the trace that follows pushes that out.
func lastSaid(head, tail string) string {
	last := lastLines(tail, maxLines)
	death := printable.Line(lastwords.Death(head + "\n" + tail))
	if death == "" || strings.Contains(last, death) {
		return last
	}
	return death + " | … | " + lastLines(tail, 1)
}

// lastLines are the last lines of s that say something, at most n, in one line
// and fit for a log.
func lastLines(s string, n int) string {
	var lines []string
	for line := range strings.Lines(s) {
		if line = printable.Line(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[max(0, len(lines)-n):], " | ")
}

// SaidSince are the last lines that were written to f after offset; all of it
// counts when it was emptied meanwhile.
func SaidSince(f *os.File, offset int64) string {
	if sizeOf(f) < offset {
		offset = 0
	}
	c := &capture{}
	addedSince(f, offset, c)
	return lastSaid(c.headAndTail())
}
