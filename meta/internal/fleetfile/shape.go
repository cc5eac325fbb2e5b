package fleetfile

import "bytes"

// maxFieldWork bounds the parser's work on mappings, which grows with the
// square of their fields: one mapping of about five thousand, or many smaller
// ones.
const maxFieldWork = 12_000_000

// fieldCounter estimates, line by line and without understanding quotes, how
// many fields the mappings of a file have.
type fieldCounter struct {
	open []mapping // of block style, by indent
	flow []int     // fields so far of each open {; -1 is a [
	work int
}

type mapping struct{ indent, fields int }

// countLine counts one line, and reports whether the file is still within bounds.
func (f *fieldCounter) countLine(text []byte) bool {
	if len(f.flow) == 0 {
		f.blockLine(text)
	}
	for _, c := range text {
		switch c {
		case '{':
			f.flow = append(f.flow, 0)
		case '[':
			f.flow = append(f.flow, -1)
		case '}', ']':
			f.flow = f.flow[:max(len(f.flow)-1, 0)]
		case ',':
			if n := len(f.flow) - 1; n >= 0 && f.flow[n] >= 0 {
				f.flow[n]++
				f.work += f.flow[n]
			}
		}
	}
	return f.work <= maxFieldWork
}

// blockLine finds the mapping that a line's first field belongs to.
func (f *fieldCounter) blockLine(text []byte) {
	indent := 0
	for indent < len(text) && (text[indent] == ' ' || text[indent] == '-') {
		if text[indent] == '-' { // what is deeper belongs to the entry before
			f.closeDeeper(indent)
		}
		indent++
	}
	if indent == len(text) || text[indent] == '#' || bytes.IndexByte(text[indent:], ':') < 0 {
		return
	}
	f.closeDeeper(indent)
	if n := len(f.open) - 1; n >= 0 && f.open[n].indent == indent {
		f.open[n].fields++
		f.work += f.open[n].fields
		return
	}
	f.open = append(f.open, mapping{indent, 1})
}

func (f *fieldCounter) closeDeeper(indent int) {
	for len(f.open) > 0 && f.open[len(f.open)-1].indent > indent {
		f.open = f.open[:len(f.open)-1]
	}
}
