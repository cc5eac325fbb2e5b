package printable_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/ops-updater/ops-updater/internal/printable"
)

var strangers = []string{"", "plain", "\x1b]0;title\a", "a\u202eb", "two\r\nlines\tand\n", "\xff\xfe", strings.Repeat("é", 150), "\u200b\U000e0001"}

// FuzzText: what comes out can be shown, is one line, and stays as it is.
func FuzzText(f *testing.F) {
	for _, s := range strangers {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		text := printable.Text(s)
		if strings.ContainsFunc(text, func(r rune) bool { return r != utf8.RuneError && !unicode.IsPrint(r) }) || !utf8.ValidString(text) {
			t.Fatalf("%q became %q", s, text)
		}
		if again := printable.Text(text); again != text {
			t.Fatalf("%q became %q, and that %q", s, text, again)
		}
		lines := printable.Lines(s)
		if strings.ContainsFunc(lines, func(r rune) bool {
			return r != '\n' && r != '\t' && r != utf8.RuneError && !unicode.IsPrint(r)
		}) || printable.Lines(lines) != lines {
			t.Fatalf("%q became the lines %q", s, lines)
		}
		if line := printable.Line(s); len(line) > 200+len("…") || strings.Contains(line, "\n") {
			t.Fatalf("%q became the line %q", s, line)
		}
	})
}

// FuzzCut: a cut text is a beginning of it, within its bounds, and cuts no character.
func FuzzCut(f *testing.F) {
	for i, s := range strangers {
		f.Add(s, i*3)
	}
	f.Fuzz(func(t *testing.T, s string, size int) {
		size = max(size, 0)
		cut := printable.Cut(s, size)
		if !strings.HasPrefix(s, cut) || len(cut) > size || utf8.ValidString(s) && !utf8.ValidString(cut) || utf8.ValidString(s) && size < len(s) && len(cut)+utf8.UTFMax <= size {
			t.Fatalf("%q cut to %d is %q", s, size, cut)
		}
		if clipped := printable.ClipTo(s, size); len(clipped) > size+len("…") {
			t.Fatalf("%q clipped to %d is %q", s, size, clipped)
		}
	})
}

// FuzzJSON: a text that is JSON stays JSON of the same meaning.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{`{"a":"\u202e"}`, "{\"a\":\"\u202e\U000e0001\x7f\"}", `[1,"é"]`, "\"\u2028\"", "{"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var before, after any
		if !utf8.ValidString(text) || json.Unmarshal([]byte(text), &before) != nil {
			return
		}
		said := printable.JSON(text)
		if err := json.Unmarshal([]byte(said), &after); err != nil || !reflect.DeepEqual(before, after) {
			t.Fatalf("%q became %q: %v", text, said, err)
		}
		if strings.ContainsFunc(said, func(r rune) bool { return r >= 0x7f && !unicode.IsPrint(r) }) {
			t.Fatalf("%q became %q, which does not show itself", text, said)
		}
	})
}
