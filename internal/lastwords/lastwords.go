// Package lastwords finds in what a program printed why it died.
package lastwords

import "strings"

// begins are how a Go program begins the line in which it says why it dies;
// the trace of its goroutines follows, and its last line says nothing.
var begins = []string{
	"panic: ", "fatal error: ", "runtime: ", "runtime/cgo: ", "unexpected fault address ",
	"SIGSEGV: ", "SIGBUS: ", "SIGILL: ", "SIGFPE: ", "SIGABRT: ", "SIGQUIT: ",
}

// wantsThread is how a Go program says that it dies because it was given no
// thread, by whichever part of it wanted one.
var wantsThread = []string{"runtime/cgo: pthread_create failed: ", "runtime: failed to create new OS thread "}

// WantsThread reports whether text says that a program died because the host
// gave it no more threads.
func WantsThread(text string) bool {
	death := Death(text)
	return strings.HasPrefix(death, wantsThread[0]) || strings.HasPrefix(death, wantsThread[1])
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
