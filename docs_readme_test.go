package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// part is a section of a document as far as two languages have it in common.
type part struct {
	title  string
	level  int
	code   []string // lines of code blocks, without comments
	words  []string // code spans, each once
	links  []string // without anchors, sorted
	rows   int      // of tables
	items  int      // of lists
	blocks int      // paragraphs, tables, lists and code blocks
}

var comment = regexp.MustCompile(`(^|\s)#.*`)

// partsOf takes a document apart at its headings.
func partsOf(text string) []part {
	parts := []part{{title: "before the first heading"}}
	code, blank := false, true
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n ")
		p := &parts[len(parts)-1]
		marks, title, _ := strings.Cut(line, " ")
		switch {
		case strings.HasPrefix(line, "```"):
			code = !code
			p.code = append(p.code, line)
		case code:
			if line = strings.TrimSpace(comment.ReplaceAllString(line, "")); line != "" {
				p.code = append(p.code, line)
			}
			continue
		case strings.HasPrefix(line, "#") && strings.Trim(marks, "#") == "":
			parts = append(parts, part{title: title, level: len(marks)})
			blank = true
			continue
		case strings.HasPrefix(line, "|"):
			p.rows++
		case strings.HasPrefix(line, "- "):
			p.items++
		}
		if line != "" && blank {
			p.blocks++
		}
		blank = line == ""
		p.readLine(line)
	}
	for i := range parts {
		slices.Sort(parts[i].links)
		slices.Sort(parts[i].words)
		parts[i].words = slices.Compact(parts[i].words)
	}
	return parts
}

// readLine takes links and code spans of a line outside of code blocks.
func (p *part) readLine(line string) {
	for _, m := range markdownLink.FindAllStringSubmatch(line, -1) {
		target, _, _ := strings.Cut(m[1], "#")
		if target != "README.md" && target != "README.zh-CN.md" { // each links the other
			p.links = append(p.links, target)
		}
	}
	for _, m := range codeSpan.FindAllStringSubmatch(line, -1) {
		p.words = append(p.words, m[1])
	}
}

// Whoever reads either README reads the same: sections, commands, links and tables are
// equal, and only words differ.
func TestBothREADMEsSayTheSame(t *testing.T) {
	english, chinese := partsOf(readDocument(t, "README.md")), partsOf(readDocument(t, "README.zh-CN.md"))
	if len(english) != len(chinese) {
		t.Fatalf("README.md has %d sections, README.zh-CN.md %d", len(english), len(chinese))
	}
	for i, e := range english {
		c := chinese[i]
		for what, both := range map[string][2]any{
			"heading level": {e.level, c.level}, "rows of tables": {e.rows, c.rows}, "items of lists": {e.items, c.items},
			"blocks": {e.blocks, c.blocks}, "code blocks": {e.code, c.code}, "code in the text": {e.words, c.words}, "links": {e.links, c.links},
		} {
			if en, zh := fmt.Sprintf("%#v", both[0]), fmt.Sprintf("%#v", both[1]); en != zh {
				t.Errorf("“%s” and “%s” differ in their %s:\n README.md:       %s\n README.zh-CN.md: %s", e.title, c.title, what, en, zh)
			}
		}
	}
	if len(english) < 8 {
		t.Errorf("only %d sections were found", len(english))
	}
}
