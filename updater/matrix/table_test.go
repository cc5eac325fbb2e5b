package matrix

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
)

// The marks around what is made of results in docs/RELIABILITY.md.
const (
	tableBegin = "<!-- the table of make matrix -->\n"
	tableEnd   = "<!-- the end of the table -->\n"
)

// TestTable writes the results of OPS_UPDATER_MATRIX_RESULTS into the document that
// OPS_UPDATER_MATRIX_TABLE names.
func TestTable(t *testing.T) {
	path := os.Getenv("OPS_UPDATER_MATRIX_TABLE")
	if path == "" {
		t.Skip("SKIPPED: make matrix writes the table")
	}
	doc, err := os.ReadFile(path)
	must(t, err)
	before, rest, begun := bytes.Cut(doc, []byte(tableBegin))
	_, after, ended := bytes.Cut(rest, []byte(tableEnd))
	if !begun || !ended {
		t.Fatalf("%s has no place for the table", path)
	}
	made := string(before) + tableBegin + table(openResults(t).passed) + tableEnd + string(after)
	must(t, os.WriteFile(path, []byte(made), 0o644))
}

// table has a row for each fault and a column for each step: how many of its cells passed,
// of how many that there are.
func table(passed map[string]bool) string {
	var b strings.Builder
	b.WriteString("\n| fault |")
	for _, s := range steps {
		b.WriteString(" " + s.name + " |")
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(steps)) + "\n")
	tried, ok, all := 0, 0, 0
	var failed []string
	for _, f := range faults {
		b.WriteString("| " + f.name + " |")
		for _, s := range steps {
			good, there := 0, 0
			for _, point := range s.phases {
				if f.why != nil && f.why(s, point) != "" {
					continue
				}
				there++
				name := s.name + "/" + point + "/" + f.name
				did, known := passed[name]
				if known {
					tried++
				}
				if did {
					good++
				} else if known {
					failed = append(failed, name)
				}
			}
			all, ok = all+there, ok+good
			if there == 0 {
				b.WriteString(" – |")
			} else {
				fmt.Fprintf(&b, " %d/%d |", good, there)
			}
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "\n%d cells there are, %d were tried, %d passed; the others of a fraction were not tried. – : there is no such cell.\n", all, tried, ok)
	if len(failed) > 0 {
		b.WriteString("\nTried and not passed:\n\n")
		for _, name := range failed {
			fmt.Fprintf(&b, "- `%s`\n", name)
		}
	}
	b.WriteString("\nNot tried here, and why:\n\n")
	for _, n := range notTried {
		fmt.Fprintf(&b, "- **%s**: %s.\n", n.what, n.why)
	}
	b.WriteString("\n")
	return b.String()
}
