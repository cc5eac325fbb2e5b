package heartbeat

import (
	"bytes"
	"encoding/json"
	"net/http"
)

// scanShape looks at a report's shape in one pass and without memory: how deeply
// it is nested, and how many agents and labels it lists. It stops at the first
// that is too many, so that nothing is ever made of the others. Of what is not
// JSON it finds whatever it finds; the decoder refuses it.
func scanShape(report []byte, l Limits) error {
	s := scanner{report: report, limits: l}
	for i := 0; i < len(report); i++ {
		switch c := report[i]; c {
		case '"':
			start := i + 1
			i = endOfString(report, start)
			if s.depth == 1 {
				s.name = report[start:min(i, len(report))]
			}
		case ':':
			if s.depth == 1 {
				s.list = s.listOf(s.name)
			}
		case '{', '[':
			if s.depth++; s.depth > l.Depth {
				return refuseWith(http.StatusBadRequest, "the report is nested deeper than %d", l.Depth)
			}
			if s.depth == 2 && s.list != nil {
				s.list.count++
			}
		case '}', ']':
			s.depth--
		case ',':
			switch {
			case s.depth == 1:
				s.list = nil
			case s.depth == 2 && s.list != nil:
				s.list.count++
			}
		}
		if s.list != nil && s.list.count > s.list.most {
			return refuseWith(http.StatusBadRequest, "the report has %d %s or more, more than %d", s.list.count, s.list.what, s.list.most)
		}
	}
	return nil
}

// scanner is where a scan stands.
type scanner struct {
	report []byte
	limits Limits
	depth  int
	name   []byte // the last string of the outermost object
	list   *listed
	agents listed
	labels listed
}

// listed counts a list's entries, by their commas. A name may come twice: all
// of its lists count together.
type listed struct {
	what  string
	count int
	most  int
}

// listOf finds the list that a name means, in any spelling the decoder takes.
func (s *scanner) listOf(name []byte) *listed {
	if bytes.IndexByte(name, '\\') >= 0 {
		var plain string
		if json.Unmarshal([]byte(`"`+string(name)+`"`), &plain) != nil {
			return nil
		}
		name = []byte(plain)
	}
	switch {
	case bytes.EqualFold(name, []byte("realAgents")):
		s.agents.what, s.agents.most = "agents", s.limits.Agents
		return &s.agents
	case bytes.EqualFold(name, []byte("labels")):
		s.labels.what, s.labels.most = "labels", s.limits.Labels
		return &s.labels
	}
	return nil
}

// endOfString is where the quote stands that ends a string.
func endOfString(b []byte, i int) int {
	for ; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return i
}
