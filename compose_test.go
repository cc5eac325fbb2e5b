package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// TestComposeFile holds what the real tools need no daemon for: what it asks of the image
// is what the image has, every secret must be given, and every image has a version.
func TestComposeFile(t *testing.T) {
	text, err := os.ReadFile("packaging/compose/compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Services map[string]struct {
			Image       string
			Environment map[string]string
			Volumes     []string
		}
		Volumes map[string]any
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	docs, err := os.ReadFile("docs/SERVER.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, service := range file.Services {
		if _, tag, ok := strings.Cut(service.Image, ":"); !ok || tag == "latest" {
			t.Errorf("%s: the image %s has no version", name, service.Image)
		}
		for _, v := range service.Volumes {
			from, _, _ := strings.Cut(v, ":")
			if _, ok := file.Volumes[from]; !ok {
				t.Errorf("%s: there is no volume %s", name, from)
			}
		}
	}
	for key := range file.Services["ops-meta"].Environment {
		// OPS_META_PUBLIC_URL is publicUrl there.
		setting := regexp.MustCompile(`_(.)`).ReplaceAllString(strings.ToLower(strings.TrimPrefix(key, "OPS_META_")), "$1")
		if !regexp.MustCompile(`(?i)\n\| .*` + "`" + setting + "`").Match(docs) {
			t.Errorf("%s is no setting that docs/SERVER.md lists", key)
		}
	}
	for _, m := range regexp.MustCompile(`\$\{([A-Z0-9_]+)\}`).FindAllStringSubmatch(string(text), -1) {
		if !strings.Contains(string(text), "${"+m[1]+":?") {
			t.Errorf("%s may be left out", m[1])
		}
	}
}
