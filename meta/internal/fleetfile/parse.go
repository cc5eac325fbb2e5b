package fleetfile

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/meta/api"
)

// Limits of a file. The parser takes time that grows with the square of the
// nesting, so nesting is bounded before it sees the file.
const (
	MaxSize    = 4 << 20 // bytes
	maxNesting = 1000
	maxDashes  = 100 // lists opened on one line
	maxTokens  = 500_000

	// MaxProblems is how many problems are told of one file: who has more
	// mends these first.
	MaxProblems = 100
)

// parsing keeps several large files from being in memory at once: a file takes
// many times its size while it is read.
var parsing sync.Mutex

// File is a fleet file that has been read.
type File struct {
	Fleet  api.Fleet
	Mark   string // of the moment it tells of, not yet trusted; empty: it has none
	places map[string]place
}

// Parse reads a fleet file. The file is nil unless there are no problems.
func Parse(data []byte) (*File, []api.FileProblem) {
	parsing.Lock()
	defer parsing.Unlock()
	body, problems := parseSyntax(data)
	if len(problems) > 0 {
		return nil, problems
	}
	d := &decoder{places: map[string]place{}, anchors: map[string]ast.Node{}, open: map[string]bool{}}
	f := &File{places: d.places}
	if body != nil {
		f.Mark = takeMark(body)
		d.decodeValue(body, reflect.ValueOf(&f.Fleet).Elem(), "")
		d.emptySections(body)
	}
	if len(d.problems) > 0 {
		sortProblems(d.problems)
		return nil, d.problems
	}
	return f, nil
}

// emptySections refuses "agents:" with nothing after it, which could mean
// either of two very different things.
func (d *decoder) emptySections(body ast.Node) {
	m, ok := body.(*ast.MappingNode)
	if !ok {
		return
	}
	for _, p := range m.Values {
		if _, null := p.Value.(*ast.NullNode); null && plainKey(p.Key) {
			name := p.Key.GetToken().Value
			d.addProblem(p.Key, name, fmt.Sprintf("write %s: [] to say that there are none, or remove the line to leave them alone", name), "%s has no value", printable.Clip(name))
		}
	}
}

// parseSyntax reads the one document of a file; nil when the file is empty.
func parseSyntax(data []byte) (body ast.Node, problems []api.FileProblem) {
	if p := tooMuch(data); p != nil {
		return nil, []api.FileProblem{*p}
	}
	defer func() { // the parser is somebody else's and its input may be hostile
		if r := recover(); r != nil {
			body, problems = nil, []api.FileProblem{{Message: "this is not YAML that can be read"}}
		}
	}()
	tree, err := parser.ParseBytes(bytes.TrimPrefix(data, []byte("\ufeff")), 0)
	if err != nil {
		return nil, []api.FileProblem{syntaxProblem(err)}
	}
	for _, doc := range tree.Docs {
		if doc.Body == nil {
			continue
		}
		if body != nil {
			p := placeOf(doc.Body)
			return nil, []api.FileProblem{{Line: p.line, Column: p.column, Message: "a fleet file is one document, but a second one begins here", Hint: "remove the line --- and what is a document of its own"}}
		}
		body = doc.Body
	}
	return body, nil
}

func syntaxProblem(err error) api.FileProblem {
	var ye yaml.Error
	if !errors.As(err, &ye) {
		return api.FileProblem{Message: err.Error()}
	}
	p := api.FileProblem{Message: ye.GetMessage()}
	if tk := ye.GetToken(); tk != nil && tk.Position != nil {
		p.Line, p.Column = tk.Position.Line, tk.Position.Column
	}
	return p
}

// tooMuch looks at size and nesting, without understanding quotes.
func tooMuch(data []byte) *api.FileProblem {
	if len(data) > MaxSize {
		return &api.FileProblem{Message: fmt.Sprintf("the file has %d bytes; at most %d are allowed", len(data), MaxSize)}
	}
	var fields fieldCounter
	line := 0
	for text := range bytes.Lines(data) {
		if line++; !fields.countLine(bytes.TrimRight(text, "\r\n")) {
			return &api.FileProblem{Line: line, Column: 1, Message: "the file has mappings with too many fields", Hint: "a mapping has as many fields as its kind of thing, and labels"}
		}
	}
	line = 1
	depth, dashes, tokens := 0, 0, 0
	before := byte('\n')
	for _, c := range data {
		switch c {
		case '\n', ',', '[', '{':
			tokens++
		}
		switch c {
		case '\n':
			line, dashes = line+1, 0
		case '[', '{':
			depth++
		case ']', '}':
			depth = max(depth-1, 0)
		case '-', '?', '!', '&':
			if before == '\n' || before == ' ' || before == '\t' {
				dashes++
			}
		}
		before = c
		if tokens > maxTokens {
			return &api.FileProblem{Line: line, Column: 1, Message: fmt.Sprintf("the file says more than %d things", maxTokens), Hint: "say it with fewer, such as patterns instead of lists of hosts"}
		}
		if depth > maxNesting || dashes > maxDashes {
			return &api.FileProblem{Line: line, Column: 1, Message: "the file is nested too deeply"}
		}
	}
	return nil
}

func sortProblems(ps []api.FileProblem) {
	slices.SortStableFunc(ps, func(a, b api.FileProblem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Path, b.Path))
	})
}

// placeAt is where a path, or the nearest thing around it, stands in the file.
func (f *File) placeAt(path string) place {
	for ; path != ""; path = parentPath(path) {
		if p, ok := f.places[path]; ok {
			return p
		}
	}
	return place{}
}
