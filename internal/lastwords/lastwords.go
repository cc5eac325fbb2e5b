// Package lastwords finds in what a program printed why it died.
package lastwords

import "strings"

// begins are how a Go program begins the line in which it says why it dies;
// the trace of its goroutines follows, and its last line says nothing.
var begins = []string{
	"panic: ", "fatal error: ", "runtime: ", "unexpected fault address ",
	"SIGSEGV: ", "SIGBUS: ", "SIGILL: ", "SIGFPE: ", "SIGABRT: ", "SIGQUIT: ",
}

// Death is the first line of text that says why a program died, or nothing.
func Death(text string) string {
	for line := range strings.Lines(text) {
		for _, b := range begins {
			if strings.HasPrefix(line, b) {
				return strings.TrimSpace(line)
			}
		}
	}
	return ""
}
