package control

import (
	"bytes"
	"io"
	"os"
	"regexp"
	"strings"
	"syscall"
)

// maxScript is how much of a control script is read to learn its verbs.
const maxScript = 256 << 10

// readShebang is the interpreter that script names, and the line that names it.
func readShebang(script string) (interpreter, line string) {
	text := ReadScript(script)
	first, _, _ := bytes.Cut(text, []byte("\n"))
	rest, ok := strings.CutPrefix(string(first), "#!")
	if !ok {
		return "", ""
	}
	if words := strings.Fields(rest); len(words) > 0 {
		interpreter = words[0]
	}
	return interpreter, string(first)
}

// Supports reports whether script has one of the verbs that not every agent
// has, those of verbPatterns. To run a script with a verb it may not know is no
// way to find out: it may print its usage with exit code 0, or do anything. So
// its text must have the verb as a label of a case, or as a quoted word:
// health), start|health), "health". A program that is no script has none of them.
func Supports(script, verb string) bool {
	text := ReadScript(script)
	if !bytes.HasPrefix(text, []byte("#!")) {
		return false
	}
	pattern, known := verbPatterns[verb]
	return known && pattern.Match(text)
}

var verbPatterns = map[string]*regexp.Regexp{
	VerbPid:    verbPattern(VerbPid),
	VerbHealth: verbPattern(VerbHealth),
}

func verbPattern(verb string) *regexp.Regexp {
	return regexp.MustCompile(`(?m)^[^#\n]*?(["']` + verb + `["']|(^|[\s|(;])` + verb + `\s*[|)])`)
}

// ReadScript is the text of a script, as far as it is read to learn its verbs.
func ReadScript(script string) []byte {
	f, err := os.OpenFile(script, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	text, _ := io.ReadAll(io.LimitReader(f, maxScript))
	return text
}
