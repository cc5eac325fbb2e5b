package main

import (
	"fmt"
	"path"
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
		if name := path.Base(strings.Replace(target, ".zh-CN.md", ".md", 1)); name != "README.md" && name != "QUICKSTART.md" { // each links the other
			p.links = append(p.links, target)
		}
	}
	for _, m := range codeSpan.FindAllStringSubmatch(line, -1) {
		p.words = append(p.words, m[1])
	}
}

// Whoever reads a document in either language reads the same: sections, commands, links
// and tables are equal, and only words differ.
func TestBothLanguagesSayTheSame(t *testing.T) {
	for _, name := range []string{"README.md", "docs/QUICKSTART.md"} {
		t.Run(name, func(t *testing.T) { compareLanguages(t, name, strings.TrimSuffix(name, ".md")+".zh-CN.md") })
	}
}

func compareLanguages(t *testing.T, english, chinese string) {
	en, zh := partsOf(readDocument(t, english)), partsOf(readDocument(t, chinese))
	if len(en) != len(zh) {
		t.Fatalf("%s has %d sections, %s %d", english, len(en), chinese, len(zh))
	}
	for i, e := range en {
		c := zh[i]
		for what, both := range map[string][2]any{
			"heading level": {e.level, c.level}, "rows of tables": {e.rows, c.rows}, "items of lists": {e.items, c.items},
			"blocks": {e.blocks, c.blocks}, "code blocks": {e.code, c.code}, "code in the text": {e.words, c.words}, "links": {e.links, c.links},
		} {
			if e, z := fmt.Sprintf("%#v", both[0]), fmt.Sprintf("%#v", both[1]); e != z {
				t.Errorf("“%s” and “%s” differ in their %s:\n %s: %s\n %s: %s", en[i].title, c.title, what, english, e, chinese, z)
			}
		}
	}
	if len(en) < 8 {
		t.Errorf("only %d sections were found", len(en))
	}
}
