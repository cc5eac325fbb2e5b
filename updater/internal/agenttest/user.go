package agenttest

import (
	"os"
	"os/user"
	"testing"
)

// NeedUser is a second user, for tests as root. Where there is none the test is
// skipped, with CI=true it fails.
func NeedUser(t testing.TB) *user.User {
	t.Helper()
	u, err := user.Lookup("nobody")
	if os.Geteuid() == 0 && err == nil {
		return u
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("this test needs root and the user nobody: %v", err)
	}
	t.Skipf("SKIPPED: this test needs root and the user nobody: %v", err)
	return nil
}
