package password_test

import (
	"strings"
	"testing"

	"github.com/ops-updater/ops-updater/meta/internal/password"
)

func TestAHashIsOfItsPasswordAlone(t *testing.T) {
	hash, again := password.Hash("correct horse"), password.Hash("correct horse")
	if hash == again {
		t.Error("two hashes of a password are the same: they have no salt")
	}
	if strings.Contains(hash, "correct") || !strings.HasPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("the hash is %s", hash)
	}
	for given, want := range map[string]bool{"correct horse": true, "correct horse ": false, "Correct horse": false, "": false} {
		if got := password.Matches(hash, given); got != want {
			t.Errorf("%q matches: %v, want %v", given, got, want)
		}
	}
}

// What stands in the database is somebody's to change: it lets nobody in, and
// does not cost more than there is.
func TestAHashThatIsNoneLetsNobodyIn(t *testing.T) {
	_, tail, _ := strings.Cut(password.Nobody, "p=1")
	for name, hash := range map[string]string{
		"empty":              "",
		"nobody's":           password.Nobody,
		"plain":              "correct horse",
		"another kind":       strings.Replace(password.Nobody, "argon2id", "argon2i", 1),
		"without passes":     "$argon2id$v=19$m=19456,t=0,p=1" + tail,
		"without threads":    "$argon2id$v=19$m=19456,t=2,p=0" + tail,
		"of all memory":      "$argon2id$v=19$m=4294967295,t=2,p=1" + tail,
		"of passes for ever": "$argon2id$v=19$m=19456,t=4294967295,p=1" + tail,
		"with a short key":   password.Nobody[:len(password.Nobody)-4],
		"with an empty key":  password.Nobody[:strings.LastIndex(password.Nobody, "$")+1],
		"long":               password.Nobody + strings.Repeat("A", 1<<20),
	} {
		for _, given := range []string{"", "correct horse", "x"} {
			if password.Matches(hash, given) {
				t.Errorf("%s: %q is let in", name, given)
			}
		}
	}
}
