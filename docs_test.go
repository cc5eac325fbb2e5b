package main

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var markdownLink = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// documents lists the Markdown files that git knows.
func documents(t *testing.T) []string {
	t.Helper()
	out, err := exec.Command("git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md").Output()
	if err != nil {
		t.Skipf("SKIPPED: not a git checkout: %v", err)
	}
	return strings.Fields(string(out))
}

func TestLinksInDocumentsLeadSomewhere(t *testing.T) {
	for _, doc := range documents(t) {
		text, err := os.ReadFile(doc)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range markdownLink.FindAllStringSubmatch(string(text), -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			file := doc
			if target != "" {
				file = filepath.Join(filepath.Dir(doc), target)
			}
			if _, err := os.Stat(file); err != nil {
				t.Errorf("%s links to %s, which is not there", doc, m[1])
				continue
			}
			if anchor != "" && !slices.Contains(anchorsOf(t, file), anchor) {
				t.Errorf("%s links to %s, but %s has no such heading", doc, m[1], file)
			}
		}
	}
}

var notInAnchor = regexp.MustCompile(`[^\p{L}\p{N}\- _]`)

// anchorsOf are a document's headings as links name them.
func anchorsOf(t *testing.T, file string) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var anchors []string
	for line := range strings.Lines(string(text)) {
		if title, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); ok && strings.HasPrefix(line, "#") {
			plain := notInAnchor.ReplaceAllString(strings.ToLower(strings.TrimSpace(title)), "")
			anchors = append(anchors, strings.ReplaceAll(plain, " ", "-"))
		}
	}
	return anchors
}

// Whoever reads either README finds every guide.
func TestBothREADMEsLinkEveryGuide(t *testing.T) {
	guides, err := filepath.Glob("docs/*.md")
	if err != nil || len(guides) == 0 {
		t.Fatalf("no guides: %v", err)
	}
	for _, readme := range []string{"README.md", "README.zh-CN.md"} {
		text, err := os.ReadFile(readme)
		if err != nil {
			t.Fatal(err)
		}
		for _, guide := range guides {
			if !strings.Contains(string(text), "]("+guide+")") {
				t.Errorf("%s does not link %s", readme, guide)
			}
		}
	}
}

var rolloutReason = regexp.MustCompile(`(?m)^\tReason[A-Z]\w* +Reason = "([a-z-]+)"`)

// Every reason that a rollout gives is in its guide.
func TestEveryReasonOfARolloutIsExplained(t *testing.T) {
	text, err := os.ReadFile("docs/ROLLOUTS.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("meta/internal/rollout/reason.go")
	if err != nil {
		t.Fatal(err)
	}
	found := rolloutReason.FindAllStringSubmatch(string(source), -1)
	for _, m := range found {
		if !strings.Contains(string(text), "`"+m[1]+"`") {
			t.Errorf("docs/ROLLOUTS.md does not explain the reason %s", m[1])
		}
	}
	if len(found) < 40 {
		t.Errorf("only %d reasons were found: the expression no longer fits how they are written", len(found))
	}
}

var reasonCode = regexp.MustCompile(`(?m)^(?:const |\t)(?:(?:Code|code|Reason|reason)[A-Z]\w*|[A-Z]\w* +Code) *= "([a-z-]+)"`)

// Every code that the sidecar gives as a reason is explained to operators.
func TestEveryReasonCodeIsExplained(t *testing.T) {
	text, err := os.ReadFile("docs/OPERATING.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, name := range goFiles(t, "updater", "internal", "meta/trust") {
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range reasonCode.FindAllStringSubmatch(string(source), -1) {
			found++
			if !strings.Contains(string(text), "`"+m[1]+"`") {
				t.Errorf("docs/OPERATING.md does not explain the reason %s of %s", m[1], name)
			}
		}
	}
	if found < 40 {
		t.Errorf("only %d codes were found: the expression no longer fits how they are written", found)
	}
}

func goFiles(t *testing.T, dirs ...string) (names []string) {
	t.Helper()
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") {
				names = append(names, path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return names
}
