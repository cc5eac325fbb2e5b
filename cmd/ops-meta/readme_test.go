package main

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Every command is in the README's table, with what it is for; its flags and the commands
// below it are in its help and its manual page.
func TestREADMEListsEveryCommand(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	for line := range strings.Lines(string(text)) {
		if first, _, ok := strings.Cut(line, " | "); ok && strings.HasPrefix(first, "| `ops-meta ") {
			for _, m := range regexp.MustCompile("`(?:ops-meta )?([a-z]+)`").FindAllStringSubmatch(first, -1) {
				listed = append(listed, m[1])
			}
		}
	}
	a := &app{streams: streams{in: strings.NewReader(""), out: io.Discard, err: io.Discard}}
	for _, c := range a.rootCommand().Commands() {
		if c.IsAvailableCommand() && !slices.Contains([]string{"completion", "help", "man"}, c.Name()) && !slices.Contains(listed, c.Name()) {
			t.Errorf("README.md does not list ops-meta %s: %s", c.Name(), c.Short)
		}
	}
}
