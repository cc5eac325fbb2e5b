package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const troubleshooting = "docs/TROUBLESHOOTING.md"

// saying is what a document says that a program prints: a code span in the first
// column of a table. … stands for names and numbers.
type saying struct {
	line int
	text string
}

var codeSpan = regexp.MustCompile("`([^`]+)`")

func sayingsOf(text string) (all []saying) {
	number := 0
	for line := range strings.Lines(text) {
		number++
		cells := strings.Split(line, "|")
		if len(cells) < 3 || strings.TrimSpace(cells[0]) != "" {
			continue
		}
		for _, m := range codeSpan.FindAllStringSubmatch(cells[1], -1) {
			all = append(all, saying{number, m[1]})
		}
	}
	return all
}

// What the guide says that the programs print, they can print: whoever looks for an
// error finds it there, and a text that changes is changed there, too.
func TestDocumentOfTroublesQuotesThePrograms(t *testing.T) {
	printed := textsOfPrograms(t)
	whole := "\x00" + strings.Join(printed, "\x00") + "\x00"
	text := readDocument(t, troubleshooting)
	all := sayingsOf(text)
	for _, s := range all {
		if slices.Contains(printed, s.text) {
			continue // a reason code
		}
		for part := range strings.SplitSeq(s.text, "…") {
			if part = strings.TrimSpace(part); part != "" && (!strings.Contains(whole, part) || len(s.text) < 10) {
				t.Errorf("%s:%d: no program prints %q of %q", troubleshooting, s.line, part, s.text)
			}
		}
	}
	if len(all) < 150 {
		t.Errorf("only %d texts were found: the expression no longer fits how they are written", len(all))
	}
}

// textsOfPrograms are the strings of the sources, and the lines of scripts.
func textsOfPrograms(t *testing.T) (texts []string) {
	t.Helper()
	files := token.NewFileSet()
	for _, name := range goFiles(t, "updater", "meta", "cmd", "internal") {
		f, err := parser.ParseFile(files, name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if s, err := strconv.Unquote(lit.Value); err == nil {
					texts = append(texts, strings.Join(strings.Fields(s), " "), s)
				}
			}
			return true
		})
	}
	for _, script := range []string{"control", "cmd/ops-meta/control", "packaging/install.sh"} {
		texts = append(texts, strings.Split(readDocument(t, script), "\n")...)
	}
	return texts
}

func readDocument(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The reason codes are explained in the guides; who looks for one by its symptom is led there.
func TestDocumentOfTroublesLinksEveryTableOfReasons(t *testing.T) {
	text := readDocument(t, troubleshooting)
	for _, table := range []string{
		"OPERATING.md#what-the-reason-codes-say", "OPERATING.md#nothing-is-stopped-for-nothing", "OPERATING.md#it-updates-itself",
		"ROLLOUTS.md#why", "SCHEDULES.md", "TRUST.md#what-a-host-does-with-a-signed-release", "TRUST.md#what-a-host-does-with-a-signed-reply",
		"OPERATING.md#upgrade-it", "OPERATING.md#remove-it", "SERVER.md#upgrade-and-remove",
	} {
		if !strings.Contains(text, "]("+table+")") {
			t.Errorf("%s does not link %s", troubleshooting, table)
		}
	}
}
