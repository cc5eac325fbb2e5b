package printable_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/ops-updater/ops-updater/internal/printable"
)

func TestTextAndLines(t *testing.T) {
	cases := []struct{ name, in, text, lines string }{
		{"plain", "falcon-agent 5.1.3", "falcon-agent 5.1.3", "falcon-agent 5.1.3"},
		{"other scripts", "主机 übung مرحبا e\u0301 🙂", "主机 übung مرحبا e\u0301 🙂", "主机 übung مرحبا e\u0301 🙂"},
		{"colour and title", "\x1b[31mred\x1b]0;title\a", " [31mred ]0;title ", " [31mred ]0;title "},
		{"C1 introducer", "a\u009b2Jb", "a 2Jb", "a 2Jb"},
		{"delete and backspace", "good\b\b\b\b\x7fbad", "good     bad", "good     bad"},
		{"bidirectional overrides", "a\u202eb\u2066c\u2069d\u200fe\u061cf", "a\ufffdb\ufffdc\ufffdd\ufffde\ufffdf", "a\ufffdb\ufffdc\ufffdd\ufffde\ufffdf"},
		{"zero width and tags", "ad\u200bmin\ufeff\U000e0041", "ad\ufffdmin\ufffd\ufffd", "ad\ufffdmin\ufffd\ufffd"},
		{"separators", "a\u2028b\u2029c\u00a0d", "a b c d", "a b c d"},
		{"no UTF-8", "a\xffb\x9bc", "a\ufffdb\ufffdc", "a\ufffdb\ufffdc"},
		{"lines", "a\tb\r\nc\rd\n", "a b  c d ", "a\tb\nc d\n"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := printable.Text(c.in); got != c.text {
				t.Errorf("Text: %q; want %q", got, c.text)
			}
			if got := printable.Lines(c.in); got != c.lines {
				t.Errorf("Lines: %q; want %q", got, c.lines)
			}
		})
	}
}

func TestJSONMeansTheSame(t *testing.T) {
	const said = "主机 a\u202eb\u009bc\x7f \U000e0041 \u00a0end"
	var plain strings.Builder
	enc := json.NewEncoder(&plain)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(map[string]string{"error": said}); err != nil {
		t.Fatal(err)
	}
	text := printable.JSON(plain.String())
	if want := `{"error":"主机 a\u202eb\u009bc\u007f \udb40\udc41 \u00a0end"}` + "\n"; text != want {
		t.Errorf("%q; want %q", text, want)
	}
	var back map[string]string
	if err := json.Unmarshal([]byte(text), &back); err != nil || back["error"] != said {
		t.Errorf("it says %q by now (%v)", back["error"], err)
	}
}

func TestClipKeepsWholeCharacters(t *testing.T) {
	cases := []struct {
		name, text string
		most       int
		want       string
	}{
		{"short", "falcon", 6, "falcon"},
		{"long", "falcon-agent", 6, "falcon…"},
		{"in the middle of a character", "aäö", 2, "a…"},
		{"at a character's end", "aäö", 3, "aä…"},
		{"no character fits", "ö", 1, "…"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := printable.ClipTo(c.text, c.most); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	if got := printable.Clip(strings.Repeat("x", 81)); got != strings.Repeat("x", 80)+"…" {
		t.Errorf("got %q", got)
	}
	if got := printable.Cut("aäö", 4); got != "aä" {
		t.Errorf("got %q", got)
	}
}

func TestBytes(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 5 << 20: "5.0 MiB", 3 << 30: "3.0 GiB", 2 << 40: "2.0 TiB", 5000 << 40: "5000.0 TiB"} {
		if got := printable.Bytes(n); got != want {
			t.Errorf("%d: got %q, want %q", n, got, want)
		}
	}
}

func TestCount(t *testing.T) {
	for n, want := range map[int]string{0: "0 hosts", 1: "1 host", 2: "2 hosts"} {
		if got := printable.Count(n, "host", "hosts"); got != want {
			t.Errorf("%d is %s", n, got)
		}
	}
}
