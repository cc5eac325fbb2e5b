package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// Every verb is in the README's table, with what it is for; its flags are in its help and
// its manual page.
func TestREADMEListsEveryVerb(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range newRoot(Stdio{Out: os.Stdout, Err: os.Stderr}).Commands() {
		if !strings.Contains(string(text), "`ops-updater "+c.Name()) && !strings.Contains(string(text), ", `"+c.Name()+"`") && isOurs(c) {
			t.Errorf("README.md does not list ops-updater %s: %s", c.Name(), c.Short)
		}
	}
}

func isOurs(c *cobra.Command) bool {
	return c.IsAvailableCommand() && c.Name() != "completion" && c.Name() != "help"
}
