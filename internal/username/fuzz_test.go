package username_test

import (
	"strings"
	"testing"

	"github.com/ops-updater/ops-updater/internal/username"
)

// FuzzValid: a name that is let pass can be no option, no path and no second
// argument of any program that is given it.
func FuzzValid(f *testing.F) {
	for _, s := range []string{"falcon", "-x", "a b", "../etc", "_apt", "x$", "ä", "a\n", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if username.Valid(name) && (name == "" || len(name) > 64 || name[0] == '-' || name[0] == '.' || strings.ContainsAny(name, "/\\:;|&<>\"'` \t\r\n\x00*?[]{}()!")) {
			t.Fatalf("%q was let pass", name)
		}
	})
}
