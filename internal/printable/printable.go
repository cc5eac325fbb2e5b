// Package printable makes text from elsewhere fit for a terminal. What a host,
// an agent, a server or another operator wrote may hold escape sequences that
// move the cursor or set the title, and bidirectional controls that make a
// line read as another one.
package printable

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// hidden stands for a character that shows nothing, or changes how others are
// shown.
const hidden = utf8.RuneError

// Text is s as one line: line breaks, tabs and control characters become
// spaces, and what else does not show itself (bidirectional controls, zero
// width characters, bytes that are no UTF-8) becomes U+FFFD.
func Text(s string) string { return strings.Map(visibleRune, s) }

// Lines is [Text] for text of several lines: line feeds and tabs stay, and a
// carriage return before a line feed goes.
func Lines(s string) string {
	if strings.Contains(s, "\r\n") {
		s = strings.ReplaceAll(s, "\r\n", "\n")
	}
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return r
		}
		return visibleRune(r)
	}, s)
}

// maxLine bounds a [Line].
const maxLine = 200

// Line is [Text] without white space around it, cut where it is long.
func Line(s string) string {
	s = strings.TrimSpace(Text(s))
	return ClipTo(s, maxLine)
}

// maxValue bounds a value that [Clip] lets into a message.
const maxValue = 80

// Clip keeps a stranger's value from filling a message: it has at most 80 bytes
// of it.
func Clip(s string) string { return ClipTo(s, maxValue) }

// ClipTo is s, or its first bytes up to most with … behind them.
func ClipTo(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return Cut(s, most) + "…"
}

// Cut is s without what is beyond size bytes; no character is cut in two.
func Cut(s string, size int) string {
	if len(s) <= size {
		return s
	}
	for size > 0 && !utf8.RuneStart(s[size]) {
		size--
	}
	return s[:size]
}

// Count is how many there are: 1 host, 2 hosts.
func Count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// Bytes is a size: 512 B, 1.5 KiB, 20.0 MiB.
func Bytes(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, exp := float64(n), 0
	for value >= unit && exp < 4 {
		value /= unit
		exp++
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGT"[exp-1])
}

// JSON is a JSON text that means the same, with what does not show itself
// escaped.
func JSON(text string) string {
	if strings.IndexFunc(text, mustEscape) < 0 {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		switch {
		case !mustEscape(r):
			b.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// Event makes the fields of a log event fit for a terminal, those in lists and
// objects too; a console colours it afterwards.
func Event(event map[string]any) error {
	for key, value := range event {
		if clean := Text(key); clean != key {
			delete(event, key)
			key = clean
		}
		event[key] = shownValue(value)
	}
	return nil
}

func shownValue(value any) any {
	switch v := value.(type) {
	case string:
		return Text(v)
	case []any:
		for i := range v {
			v[i] = shownValue(v[i])
		}
	case map[string]any:
		_ = Event(v)
	}
	return value
}

// mustEscape reports whether r is escaped in JSON: such an r only occurs within
// the strings of a JSON text.
func mustEscape(r rune) bool { return r >= 0x7f && !unicode.IsPrint(r) }

func visibleRune(r rune) rune {
	switch {
	case r < utf8.RuneSelf && r >= ' ' && r != 0x7f, unicode.IsPrint(r):
		return r
	case unicode.IsControl(r), unicode.IsSpace(r):
		return ' '
	}
	return hidden
}
