package control_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/internal/host/control"
)

// patience is how long a script may take that ends by itself; far more than it
// takes.
const patience = time.Minute

// newCall is a call of a script with this text.
func newCall(t *testing.T, verb, text string) control.Call {
	t.Helper()
	dir := t.TempDir()
	script := filepath.Join(dir, "control")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return control.Call{Script: script, Directory: dir, Verb: verb, Timeout: patience, Env: control.Environment(nil)}
}

func TestRunKeepsTheBeginningAndTheEndOfWhatAScriptSays(t *testing.T) {
	o, err := control.Run(t.Context(), newCall(t, control.VerbStatus, `echo "$1 in $(pwd)"; echo reason >&2; exit 3`))
	if err != nil {
		t.Fatal(err)
	}
	if o.ExitCode != 3 || !o.Failed() || !strings.HasPrefix(o.Head, "status in /") || o.LastLine() != "reason" {
		t.Errorf("outcome %+v", o)
	}
	if want := "control status ended with exit code 3: "; !strings.HasPrefix(o.Explain("control status"), want) {
		t.Errorf("said %q; want %q…", o.Explain("control status"), want)
	}
}

func TestRunEndsAScriptWhoseTimeIsOver(t *testing.T) {
	c := newCall(t, control.VerbStop, "sleep 3600")
	c.Timeout = 100 * time.Millisecond
	began, ended := 0, false
	c.Began = func(pid int) func() {
		began = pid
		return func() { ended = true }
	}
	o, err := control.Run(t.Context(), c)
	if err != nil || !o.TimedOut || began == 0 || !ended {
		t.Errorf("outcome %+v, %v; began %d, ended %v", o, err, began, ended)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := newCall(t, control.VerbStop, "sleep 3600")
	c.Began = func(int) func() { cancel(); return func() {} }
	if o, err := control.Run(ctx, c); err == nil || o.TimedOut {
		t.Errorf("outcome %+v, %v; want the context's error", o, err)
	}
}

func TestParseStatusTakesTheFirstWord(t *testing.T) {
	for name, c := range map[string]struct {
		outcome control.Outcome
		want    string
	}{
		"started":           {control.Outcome{Head: "started\n"}, "started"},
		"with a pid":        {control.Outcome{Head: "started 4711\n"}, "started"},
		"as the wire has":   {control.Outcome{Head: "stoped"}, "stoped"},
		"as people spell":   {control.Outcome{Head: "stopped"}, "stoped"},
		"another word":      {control.Outcome{Head: "not started", Tail: "not started"}, "unknown: not started"},
		"nothing":           {control.Outcome{}, "unknown: control status printed nothing"},
		"an exit code":      {control.Outcome{Head: "started", ExitCode: 1}, "unknown: control status ended with exit code 1: started"},
		"no answer in time": {control.Outcome{TimedOut: true, Limit: 2958098151 * time.Nanosecond}, "unknown: control status did not return within 3s"},
	} {
		c.outcome.Tail = strings.TrimSpace(c.outcome.Head)
		if got := control.ParseStatus(c.outcome).String(); got != c.want {
			t.Errorf("%s: %q; want %q", name, got, c.want)
		}
	}
}
