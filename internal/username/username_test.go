package username_test

import (
	"strings"
	"testing"

	"github.com/ops-updater/ops-updater/internal/username"
)

func TestValid(t *testing.T) {
	for name, want := range map[string]bool{
		"falcon": true, "_apt": true, "Ops.Team-1": true, "host$": true, strings.Repeat("a", 64): true,
		"": false, "0": false, "1000": false, "-o": false, "a b": false, "a$b": false, "a/b": false, "ä": false, strings.Repeat("a", 65): false,
	} {
		if username.Valid(name) != want {
			t.Errorf("%q: want %v", name, want)
		}
	}
}
