package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ops-updater/ops-updater/updater"
)

func TestTheEndOfALog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	for _, step := range []struct {
		name, holds string
		offset      int64
		want        string
		end         int64
	}{
		{"all of it", "one\ntwo\n", -1, "one\ntwo\n", 8},
		{"what was added", "one\ntwo\nthree\n", 8, "three\n", 14},
		{"nothing", "one\ntwo\nthree\n", 14, "", 14},
		{"a line that is not whole waits", "one\ntwo\nthree\nfo", 14, "", 14},
		{"until it is", "one\ntwo\nthree\nfour\n", 14, "four\n", 19},
		{"a new file under the name", "new\n", 19, "new\n", 4},
		{"of a long one its last part", strings.Repeat("0123456789abcde\n", 5000), -1, strings.Repeat("0123456789abcde\n", 4095), 80000},
	} {
		t.Run(step.name, func(t *testing.T) {
			if err := os.WriteFile(path, []byte(step.holds), 0o600); err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			end, err := copyFrom(&out, path, step.offset)
			if err != nil || out.String() != step.want || end != step.end {
				t.Errorf("got %d bytes up to %d, %v; want %d up to %d", out.Len(), end, err, len(step.want), step.end)
			}
		})
	}
}

// The output of an agent is a window that moves on.
func TestWhatAnAgentPrintedSince(t *testing.T) {
	long := strings.Repeat("x", 300)
	for name, tc := range map[string]struct{ before, now, want string }{
		"at first":           {"", "a\n", "a\n"},
		"nothing":            {"a\n", "a\n", ""},
		"more":               {"a\n", "a\nb\n", "b\n"},
		"the window moved":   {"a\n" + long + "end\n", long[:200] + "end\nb\n", long[:200] + "end\nb\n"},
		"moved by a little":  {"a\nb\n" + long + "end\n", "b\n" + long + "end\nc\n", "c\n"},
		"something else now": {"a\n", "b\n", "b\n"},
	} {
		if got := addedText(tc.before, tc.now); got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}

func TestLogs(t *testing.T) {
	s := runSidecar(t)
	s.output = "starting\x1b]0;owned\a\nready\n"
	if r := s.ask(t, "logs", "probe"); r.code != 0 || !strings.HasSuffix(r.out, "\nready\n") || strings.ContainsAny(r.out, "\x1b\a") {
		t.Errorf("an agent's: %+v", r)
	}
	write(t, filepath.Join(filepath.Dir(s.config), "var", updater.LogName), "{\"message\":\"\u202ehi\"}\n")
	if r := s.ask(t, "tail"); r.code != 0 || r.out != "{\"message\":\"\\u202ehi\"}\n" {
		t.Errorf("the sidecar's: %+v", r)
	}
}
