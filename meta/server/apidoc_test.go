package server_test

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

// The marks around the table of docs/API.md.
const (
	operationsBegin = "<!-- operations -->\n"
	operationsEnd   = "<!-- end of operations -->\n"
)

// docs/API.md lists every operation that there is, and no other.
func TestDocumentedOperations(t *testing.T) {
	_, doc := newChecked(t, start(t, newConfig(t)))
	guide := filepath.Join("..", "..", "docs", "API.md")
	text, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, begun := strings.Cut(string(text), operationsBegin)
	listed, after, ended := strings.Cut(rest, operationsEnd)
	if !begun || !ended {
		t.Fatalf("%s has no place for the operations", guide)
	}
	made := operationsOf(doc)
	if listed == made {
		return
	}
	if os.Getenv("OPS_META_WRITE_DOCS") == "" {
		t.Fatalf("%s does not list the operations as they are: OPS_META_WRITE_DOCS=1 writes them", guide)
	}
	if err := os.WriteFile(guide, []byte(before+operationsBegin+made+operationsEnd+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

func operationsOf(doc *openapi3.T) string {
	var b strings.Builder
	b.WriteString("\n| operation | role | |\n|---|---|---|\n")
	paths := doc.Paths.Map()
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		operations := paths[path].Operations()
		for _, method := range slices.Sorted(maps.Keys(operations)) {
			o := operations[method]
			role, _, _ := strings.Cut(strings.TrimPrefix(o.Description, "Needs the role "), ".") // what is said of remits follows
			fmt.Fprintf(&b, "| `%s %s` | %s | %s |\n", method, strings.TrimPrefix(path, "/api/v1"), cmp.Or(role, "none"), o.Summary)
		}
	}
	return b.String() + "\n"
}
