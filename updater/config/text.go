package config

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"
)

// findUnseen names what keeps data from being read as JSON and shows in no editor,
// or shows as something that looks right. It is empty when nothing of the kind
// is there. offset is where it is.
func findUnseen(data []byte) (what string, offset int) {
	for _, mark := range []struct{ bytes, name string }{
		{"\xef\xbb\xbf", "it begins with a byte order mark: save it as UTF-8 without one (“BOM”)"},
		{"\xff\xfe", "it is in UTF-16: save it as UTF-8"},
		{"\xfe\xff", "it is in UTF-16: save it as UTF-8"},
	} {
		if bytes.HasPrefix(data, []byte(mark.bytes)) {
			return mark.name, 0
		}
	}
	if i := bytes.IndexByte(data, 0); i >= 0 {
		switch {
		case len(bytes.Trim(data, "\x00")) == 0:
			return "it holds nothing but NUL bytes, as a power cut leaves it: restore it, or begin with cfg.example.json", 0
		case i <= 1 && bytes.Count(data, []byte{0}) >= len(data)/3:
			return "it is in UTF-16: save it as UTF-8", 0
		}
		return "it holds NUL bytes, as a power cut leaves them: restore it", i
	}
	return findUnseenBetweenStrings(data)
}

// findUnseenBetweenStrings looks outside of strings only.
func findUnseenBetweenStrings(data []byte) (what string, offset int) {
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		switch {
		case r == '"':
			i += stringLength(data[i:])
			continue
		case r == '#', r == '/' && i+1 < len(data) && (data[i+1] == '/' || data[i+1] == '*'):
			return "comments are not allowed in JSON: remove this one", i
		case strings.ContainsRune("“”„‟«»‘’‚′″＂", r):
			return fmt.Sprintf("%c is not the quote of JSON, which is a plain \"", r), i
		case r == '\'':
			return "JSON has double quotes, and no single ones", i
		case r == ',' && closesNext(data[i+1:]):
			return "there is a comma too many, before the closing bracket", i
		case r == '\ufeff', r >= 0x80 && strings.ContainsRune("\u00a0\u2007\u202f\u200b\u200c\u200d\u2060\u3000", r):
			return fmt.Sprintf("it holds an invisible character (U+%04X) that is no plain space: type that line again", r), i
		case r == utf8.RuneError && size == 1:
			return "it is not in UTF-8: save it as UTF-8", i
		}
		i += size
	}
	return "", 0
}

// stringLength is how long the string is that data begins with, quotes
// included.
func stringLength(data []byte) int {
	for i := 1; i < len(data); i++ {
		switch data[i] {
		case '\\':
			i++
		case '"', '\n': // a string that does not end on its line is another mistake
			return i + 1
		}
	}
	return len(data)
}

func closesNext(rest []byte) bool {
	rest = bytes.TrimSpace(rest)
	return len(rest) > 0 && (rest[0] == '}' || rest[0] == ']')
}
