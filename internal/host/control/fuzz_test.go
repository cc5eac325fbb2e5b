package control_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ops-updater/ops-updater/internal/host/control"
	"github.com/ops-updater/ops-updater/meta"
)

// FuzzParseStatus: an agent counts as started or stopped by the first word alone,
// and only when the script ended well.
func FuzzParseStatus(f *testing.F) {
	for _, s := range []string{"started", "stoped\n", "not started", "", "started2", " \tstopped now", "STARTED", "\x00started"} {
		f.Add(s, s, 0)
	}
	f.Add("started", "oops", 1)
	f.Fuzz(func(t *testing.T, head, tail string, code int) {
		s := control.ParseStatus(control.Outcome{Head: head, Tail: tail, ExitCode: code})
		words := append(strings.Fields(head), "")
		well := code == 0
		if s.Started() != (well && words[0] == "started") || s.Stopped() != (well && (words[0] == "stoped" || words[0] == "stopped")) {
			t.Fatalf("%q with exit code %d is %+v", head, code, s)
		}
		if (s.Word == meta.StatusUnknown) == (s.Started() || s.Stopped()) || s.String() == "" {
			t.Fatalf("%q with exit code %d is %+v", head, code, s)
		}
	})
}

// FuzzSupports: only a script has verbs, and none without its word in it.
func FuzzSupports(f *testing.F) {
	for _, s := range []string{"#!/bin/sh\ncase $1 in\npid)\n", "#!/bin/sh\n# pid)\n", "\x7fELF pid)", "#!/usr/bin/python\nif a == \"health\":", "#!", "#!/bin/sh\nstart|health)\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		file := filepath.Join(t.TempDir(), "control")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, verb := range []string{control.VerbPid, control.VerbHealth} {
			if control.Supports(file, verb) && (!strings.HasPrefix(string(text), "#!") || !strings.Contains(string(text), verb)) {
				t.Fatalf("%q has the verb %s", text, verb)
			}
		}
		if control.Supports(file, control.VerbStart) || control.Supports(file, "") {
			t.Fatal("a verb without a pattern is supported")
		}
	})
}
