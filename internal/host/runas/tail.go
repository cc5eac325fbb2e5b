package runas

import (
	"path/filepath"
	"strings"
	"sync"
)

// stderrLimit is how much of a command's standard error is kept.
const stderrLimit = 8 << 10

// Excerpt is a writer that keeps the beginning and the end of what it is given:
// a Go program says first why it dies, and others last.
type Excerpt struct {
	mu         sync.Mutex
	half       int // of the limit
	head, tail []byte
	cut        bool
}

// NewExcerpt keeps at most limit bytes.
func NewExcerpt(limit int) *Excerpt { return &Excerpt{half: limit / 2} }

// Write never fails.
func (e *Excerpt) Write(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := min(e.half-len(e.head), len(p))
	e.head = append(e.head, p[:n]...)
	rest := p[n:]
	e.cut = e.cut || len(rest) > e.half
	e.tail = append(e.tail, rest[max(0, len(rest)-e.half):]...)
	if over := len(e.tail) - e.half; over > 0 {
		e.tail, e.cut = append(e.tail[:0], e.tail[over:]...), true
	}
	return len(p), nil
}

// String is what was kept.
func (e *Excerpt) String() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	gap := ""
	if e.cut {
		gap = "\n…\n"
	}
	return strings.ToValidUTF8(string(e.head)+gap+string(e.tail), "?")
}

// programName is what the process calls itself.
func programName(path string) string {
	if path == "" {
		return "ops-updater"
	}
	return filepath.Base(path)
}
