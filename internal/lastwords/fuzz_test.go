package lastwords_test

import (
	"strings"
	"testing"

	"github.com/ops-updater/ops-updater/internal/lastwords"
)

// FuzzDeath: the words are one line of the text, and say so themselves.
func FuzzDeath(f *testing.F) {
	for _, s := range []string{"panic: x\n\ngoroutine 1", "all is well", "runtime: failed to create new OS thread (have 2)", "\r\nfatal error: y\r", "xpanic: "} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		death := lastwords.Death(text)
		if !strings.Contains(text, death) || strings.Contains(death, "\n") || strings.TrimSpace(death) != death {
			t.Fatalf("%q died of %q", text, death)
		}
		if death != "" && strings.Contains(death, ": ") && lastwords.Death(death) != death {
			t.Fatalf("%q is no death of its own", death)
		}
		if lastwords.WantsThread(text) && death == "" {
			t.Fatalf("%q wants a thread without having died", text)
		}
	})
}
