//go:build linux || darwin

package main

import (
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/creack/pty"
)

// What --watch may say to a terminal to leave what was there alone: it has a
// screen of its own, begins again only in it, and gives the old one back.
const (
	ownScreen = "\x1b[?1049h"
	oldScreen = "\x1b[?1049l"
	fromTop   = "\x1b[H\x1b[J"
)

// --watch on a real terminal redraws in place, and what was on it before is
// there afterwards, followed by what was seen last.
func TestWatchLeavesTheTerminalAsItWas(t *testing.T) {
	f := &realFleet{t: t, dir: t.TempDir(), listen: freeAddress(t)}
	var err error
	f.bin, err = programs()
	f.must(err)
	f.log, err = os.Create(filepath.Join(f.dir, "meta.log"))
	f.must(err)
	t.Cleanup(func() { f.end(t) })
	f.startServer()
	f.report(`{"hostname": "h-1", "realAgents": [{"name": "demo", "version": "1.0.0", "status": "started"}]}`)

	term := newTerminal(t, f.command("hosts", "--watch"))
	f.await("the first look", func() bool { return strings.Contains(term.seen(), "1.0.0") })
	f.report(`{"hostname": "h-1", "realAgents": [{"name": "demo", "version": "2.0.0", "status": "started"}]}`)
	f.await("the second look", func() bool { return strings.Contains(term.seen(), "2.0.0") })
	all := strings.ReplaceAll(term.interrupt(t), "^C", "") // the terminal shows what is typed

	before, rest, entered := strings.Cut(all, ownScreen)
	drawn, after, left := strings.Cut(rest, oldScreen)
	if !entered || !left {
		t.Fatalf("no screen of its own: %q", all)
	}
	if strings.Contains(before+after, "\x1b") {
		t.Errorf("the old screen is touched: %q, %q", before, after)
	}
	looks := strings.Split(drawn, fromTop)
	if looks[0] != "" || len(looks) < 3 || strings.Contains(strings.Join(looks, ""), "\x1b") {
		t.Errorf("the looks are not drawn in place: %q", looks)
	}
	if want := looks[len(looks)-1]; !strings.Contains(after, want) || !strings.Contains(want, "2.0.0") {
		t.Errorf("%q stays, want the last look, %q", after, want)
	}
}

// report sends a heartbeat.
func (f *realFleet) report(body string) {
	f.t.Helper()
	resp, err := http.Post("http://"+f.listen+"/api/heartbeat", "application/json", strings.NewReader(body))
	f.must(err)
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		f.t.Fatalf("the heartbeat is answered %s", resp.Status)
	}
}

// terminal is a pseudo-terminal in which a program runs.
type terminal struct {
	keys *os.File // what is typed
	cmd  *exec.Cmd
	read chan struct{} // closed when the program has said everything

	mu   sync.Mutex
	text bytes.Buffer
}

func newTerminal(t *testing.T, cmd *exec.Cmd) *terminal {
	t.Helper()
	keys, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 120})
	if err != nil {
		t.Fatal(err)
	}
	term := &terminal{keys: keys, cmd: cmd, read: make(chan struct{})}
	t.Cleanup(func() { _ = keys.Close(); _ = cmd.Process.Kill(); <-term.read })
	go func() {
		defer close(term.read)
		piece := make([]byte, 4096)
		for {
			n, err := keys.Read(piece)
			term.mu.Lock()
			term.text.Write(piece[:n])
			term.mu.Unlock()
			if err != nil { // the program has ended
				return
			}
		}
	}()
	return term
}

// seen is all that was written to the terminal.
func (term *terminal) seen() string {
	term.mu.Lock()
	defer term.mu.Unlock()
	return term.text.String()
}

// interrupt presses ^C and waits for the program's end.
func (term *terminal) interrupt(t *testing.T) string {
	t.Helper()
	if _, err := term.keys.WriteString("\x03"); err != nil {
		t.Fatal(err)
	}
	<-term.read
	if err := term.cmd.Wait(); err != nil {
		t.Errorf("after ^C: %v", err)
	}
	return term.seen()
}
