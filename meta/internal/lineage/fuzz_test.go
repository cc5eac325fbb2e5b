package lineage_test

import (
	"testing"

	"github.com/ops-updater/ops-updater/meta/internal/lineage"
)

// FuzzMark: no mark is genuine but those that the key made.
func FuzzMark(f *testing.F) {
	key := lineage.Key("a key of the database")
	ours := key.Text(lineage.Mark{Era: "abc", Serial: 7})
	f.Add(ours)
	f.Add(lineage.Key("another").Text(lineage.Mark{Era: "abc", Serial: 7}))
	f.Add("abc.7.")
	f.Add("..")
	f.Add("abc.-1.00")
	f.Fuzz(func(t *testing.T, text string) {
		m, genuine, ok := key.Read(text)
		if !ok {
			return
		}
		if m.Serial < 0 || m.Era == "" {
			t.Fatalf("%q is read as %+v", text, m)
		}
		if genuine() && key.Text(m) != text {
			// A number has other spellings, but they are not signed.
			t.Fatalf("%q passes for %q", text, key.Text(m))
		}
	})
}
