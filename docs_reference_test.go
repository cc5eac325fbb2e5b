package main

import (
	"regexp"
	"strings"
	"testing"
)

// A reference is the part of a guide that names each of what the sources declare.
type reference struct {
	guide, heading string
	sources        []string
	declared       *regexp.Regexp // its first group is a name
	atLeast        int            // names that are found, or the expression no longer fits
	anywhere       bool           // not only in the first column of a table
}

// Everything that can be set, read or answered is in its reference.
func TestReferencesInDocumentsAreComplete(t *testing.T) {
	metric := regexp.MustCompile(`\{(?:Name: )?"((?:ops_|process_|go_)[a-z_]+)"`)
	for name, ref := range map[string]reference{
		"settings of ops-meta": {
			"docs/SERVER.md", "Settings",
			[]string{"meta/server/config.go"},
			regexp.MustCompile("`yaml:\"(\\w+)\"`"), 25, false,
		},
		"metrics of ops-meta": {
			"docs/SERVER.md", "Metrics", []string{"meta/server/metrics.go", "internal/exposition/exposition.go"}, metric, 20, false,
		},
		"metrics of ops-updater": {
			"docs/OPERATING.md", "Metrics", []string{"updater/local/metrics.go", "internal/exposition/exposition.go"}, metric, 18, false,
		},
		"reasons of schedules": {
			"docs/SCHEDULES.md", "Schedules",
			[]string{"meta/internal/schedule/decide.go"},
			regexp.MustCompile(`(?m)^\tReason\w+ +Reason = "([a-z-]+)"`), 15, false,
		},
		"reasons of rollouts that others share": {
			"docs/ROLLOUTS.md", "Why",
			[]string{"meta/api/rollout.go", "meta/api/standstill.go"},
			regexp.MustCompile(`\bReason[A-Z]\w* += "([a-z-]+)"`), 2, true,
		},
		"types of problems": {
			"docs/API.md", "Errors",
			[]string{"meta/api/error.go", "meta/api/problem.go", "meta/internal/httpapi/problem.go", "meta/internal/httpapi/server.go"},
			regexp.MustCompile(`(?:Kind\w+ +ErrorKind = |CodeMissing = |problemType\()"(\w+)"`), 11, false,
		},
	} {
		part := section(t, ref.guide, ref.heading)
		if !ref.anywhere {
			part = firstColumn(part)
		}
		found := 0
		for _, source := range ref.sources {
			for _, m := range ref.declared.FindAllStringSubmatch(readDocument(t, source), -1) {
				found++
				if !regexp.MustCompile("[`.]" + m[1] + "[`{]").MatchString(part) {
					t.Errorf("%s: %s#%s does not name %s", name, ref.guide, strings.ToLower(ref.heading), m[1])
				}
			}
		}
		if found < ref.atLeast {
			t.Errorf("%s: only %d were found: the expression no longer fits how they are written", name, found)
		}
	}
}

// firstColumn are the first cells of a text's tables.
func firstColumn(text string) (cells string) {
	for line := range strings.Lines(text) {
		if row := strings.Split(line, "|"); len(row) > 2 && row[0] == "" {
			cells += row[1] + "\n"
		}
	}
	return cells
}

// section is what stands below a heading, up to the next one of its level.
func section(t *testing.T, guide, heading string) string {
	t.Helper()
	level, found, code := "", "", false
	for line := range strings.Lines(readDocument(t, guide)) {
		code = code != strings.HasPrefix(strings.TrimSpace(line), "```")
		marks, title, _ := strings.Cut(strings.TrimSpace(line), " ")
		isHeading := !code && strings.HasPrefix(line, "#") && strings.Trim(marks, "#") == ""
		switch {
		case isHeading && title == heading:
			level = marks
		case isHeading && level != "" && len(marks) <= len(level):
			return found
		}
		if level != "" {
			found += line
		}
	}
	if level == "" {
		t.Errorf("%s has no heading %q", guide, heading)
	}
	return found
}

// What a guide lists as a metric is served.
func TestMetricsThatDocumentsNameAreServed(t *testing.T) {
	served := readDocument(t, "meta/server/metrics.go") + readDocument(t, "updater/local/metrics.go")
	metric := regexp.MustCompile("`(ops_(?:meta|updater)_[a-z_]+)")
	for _, guide := range []string{"docs/SERVER.md", "docs/OPERATING.md"} {
		for _, m := range metric.FindAllStringSubmatch(section(t, guide, "Metrics"), -1) {
			if !strings.Contains(served, `"`+m[1]+`"`) {
				t.Errorf("%s names the metric %s, which is not served", guide, m[1])
			}
		}
	}
}

// What the sizing table calls measured stands in the benchmarks.
func TestSizesInDocumentsWereMeasured(t *testing.T) {
	measured := strings.ReplaceAll(readDocument(t, "docs/BENCHMARKS.md"), " ", "")
	number := regexp.MustCompile(`\d+(?: \d{3})*(?:\.\d+)?`)
	rows := 0
	for line := range strings.Lines(section(t, "docs/SERVER.md", "How large")) {
		cells := strings.Split(line, "|")
		if len(cells) < 6 || !strings.HasPrefix(cells[5], " measured") {
			continue
		}
		rows++
		known := cells[2] + cells[3]
		if strings.TrimSpace(cells[5]) == "measured" {
			known += cells[4]
		}
		for _, n := range number.FindAllString(known, -1) {
			if !strings.Contains(measured, strings.ReplaceAll(n, " ", "")) {
				t.Errorf("docs/SERVER.md says that %s was measured; docs/BENCHMARKS.md does not have it:%s", n, line)
			}
		}
	}
	if rows < 4 {
		t.Errorf("only %d rows of what was measured", rows)
	}
}
