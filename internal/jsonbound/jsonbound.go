// Package jsonbound bounds JSON before a decoder spends time and memory on it.
package jsonbound

import "fmt"

// Limits of a text; what is 0 is not bounded.
type Limits struct {
	Depth int // of nested objects and lists
	Items int // members and elements, altogether
}

// Excess is a text over its limits.
type Excess struct {
	Limits      // those that were given
	Deep   bool // it is nested deeper than Depth; otherwise it has more than Items
}

func (e *Excess) Error() string {
	if e.Deep {
		return fmt.Sprintf("nested deeper than %d levels", e.Depth)
	}
	return fmt.Sprintf("too long: it has more than %d items", e.Items)
}

// Check returns an [*Excess] for a text over its limits, in one pass and
// without memory. Whether it is JSON at all is the decoder's to say.
func Check(text []byte, l Limits) error {
	depth, items, quoted := 0, 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == ',':
			items++
		case c == '{' || c == '[':
			items++
			depth++
		case c == '}' || c == ']':
			depth--
		}
		if l.Depth > 0 && depth > l.Depth || l.Items > 0 && items > l.Items {
			return &Excess{Limits: l, Deep: l.Depth > 0 && depth > l.Depth}
		}
	}
	return nil
}
