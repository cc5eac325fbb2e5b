package runas

import (
	"path/filepath"
	"strings"
	"sync"
)

// stderrLimit is how much of a command's standard error is kept.
const stderrLimit = 8 << 10

// tail is a writer that keeps the last part of what it is given.
type tail struct {
	mu    sync.Mutex
	limit int
	buf   []byte
}

func newTail(limit int) *tail { return &tail{limit: limit} }

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p[max(0, len(p)-t.limit):]...)
	if over := len(t.buf) - t.limit; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.ToValidUTF8(string(t.buf), "?")
}

// programName is what the process calls itself.
func programName(path string) string {
	if path == "" {
		return "ops-updater"
	}
	return filepath.Base(path)
}
