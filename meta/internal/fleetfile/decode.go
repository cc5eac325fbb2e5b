package fleetfile

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/internal/timespan"
	"github.com/ops-updater/ops-updater/meta/api"
)

const (
	maxNodes = 1_000_000 // of a file with its aliases followed
	// maxAliased bounds what aliases can multiply, beyond what is written.
	maxAliased = 100_000
	maxKey     = 1024 // bytes of a field's name
)

// place is where something stands in the file, from 1.
type place struct{ line, column int }

// decoder fills Go values from a syntax tree. It goes on after a problem, so
// that all of them are found, and remembers where each path stands.
type decoder struct {
	problems []api.FileProblem
	places   map[string]place
	anchors  map[string]ast.Node
	open     map[string]bool // aliases being followed, to find circles
	nodes    int
	aliased  int // of nodes
}

// isFull reports whether enough was found or read to stop.
func (d *decoder) isFull() bool {
	return len(d.problems) >= MaxProblems || d.nodes > maxNodes || d.aliased > maxAliased
}

// countNodes counts things read, and reports whether to go on.
func (d *decoder) countNodes(at ast.Node, path string, n int) bool {
	if d.isFull() {
		return false
	}
	d.nodes += n
	if len(d.open) > 0 {
		d.aliased += n
	}
	if d.nodes > maxNodes || d.aliased > maxAliased {
		d.addProblem(at, path, "", "the file is too large once its aliases are followed")
		return false
	}
	return true
}

func (d *decoder) addProblem(at ast.Node, path, hint, format string, args ...any) {
	if len(d.problems) >= MaxProblems {
		return
	}
	p := placeOf(at)
	d.problems = append(d.problems, api.FileProblem{Line: p.line, Column: p.column, Path: path, Message: fmt.Sprintf(format, args...), Hint: hint})
}

// placeOf is where a node begins; a block mapping begins at its first key.
func placeOf(n ast.Node) place {
	if m, ok := n.(*ast.MappingNode); ok && len(m.Values) > 0 && !m.IsFlowStyle {
		n = m.Values[0].Key
	}
	tk := n.GetToken()
	if tk == nil || tk.Position == nil {
		return place{}
	}
	return place{tk.Position.Line, tk.Position.Column}
}

// decodeValue decodes n into v, which is addressable.
func (d *decoder) decodeValue(n ast.Node, v reflect.Value, path string) {
	if !d.countNodes(n, path, 1) {
		return
	}
	switch n := n.(type) {
	case *ast.AnchorNode:
		d.anchors[n.Name.GetToken().Value] = n.Value
		d.decodeValue(n.Value, v, path)
		return
	case *ast.AliasNode:
		d.followAlias(n, path, func(target ast.Node) { d.decodeValue(target, v, path) })
		return
	case *ast.TagNode:
		if n.Start.Value != "!!str" || v.Kind() != reflect.String {
			d.addProblem(n, path, "", "tags such as %s are not used here", printable.Clip(n.Start.Value))
			return
		}
		d.decodeValue(n.Value, v, path)
		return
	}
	if _, seen := d.places[path]; !seen {
		d.places[path] = placeOf(n)
	}
	d.decodeTyped(n, v, path)
}

// followAlias calls use with what *name stands for.
func (d *decoder) followAlias(n *ast.AliasNode, path string, use func(ast.Node)) {
	name := n.Value.GetToken().Value
	target, known := d.anchors[name]
	switch {
	case !known:
		d.addProblem(n, path, nearestHint(name, keysOf(d.anchors)), "there is no anchor &%s before this", printable.Clip(name))
	case d.open[name]:
		d.addProblem(n, path, "", "the alias *%s contains itself", printable.Clip(name))
	default:
		d.open[name] = true
		use(target)
		delete(d.open, name)
	}
}

var timeType = reflect.TypeFor[time.Time]()

func (d *decoder) decodeTyped(n ast.Node, v reflect.Value, path string) {
	if _, null := n.(*ast.NullNode); null {
		return // says nothing
	}
	switch kind := v.Kind(); {
	case kind == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.decodeValue(n, v.Elem(), path)
	case v.Type() == timeType:
		d.decodeTime(n, v, path)
	case v.Type() == secondsType:
		d.decodeSeconds(n, v, path)
	case kind == reflect.Struct:
		d.decodeObject(n, v, path)
	case kind == reflect.Slice:
		d.decodeList(n, v, path)
	case kind == reflect.Map:
		d.decodeTable(n, v, path)
	default:
		d.decodeScalar(n, v, path)
	}
}

func (d *decoder) decodeList(n ast.Node, v reflect.Value, path string) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		d.addProblem(n, path, "begin each entry with a dash, or write [a, b]", "%s must be a list, not %s", lastName(path), describeNode(n))
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(seq.Values), len(seq.Values)))
	for i, item := range seq.Values {
		if d.isFull() {
			return
		}
		at := fmt.Sprintf("%s[%d]", path, i)
		if _, null := item.(*ast.NullNode); null {
			d.addProblem(item, at, "", "the entry is empty")
			continue
		}
		d.decodeValue(item, v.Index(i), at)
	}
}

// decodeTable decodes a mapping with free keys, such as labels.
func (d *decoder) decodeTable(n ast.Node, v reflect.Value, path string) {
	pairs, ok := d.pairsOf(n, path)
	if !ok {
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	for _, p := range pairs {
		if d.isFull() {
			return
		}
		key := p.Key.GetToken().Value
		value := reflect.New(v.Type().Elem()).Elem()
		d.decodeValue(p.Value, value, path+"."+key)
		v.SetMapIndex(reflect.ValueOf(key), value)
	}
}

// decodeObject decodes a mapping whose keys are the fields of a struct.
func (d *decoder) decodeObject(n ast.Node, v reflect.Value, path string) {
	pairs, ok := d.pairsOf(n, path)
	if !ok {
		return
	}
	fields := fieldsOf(v.Type())
	for _, p := range pairs {
		if d.isFull() {
			return
		}
		key := p.Key.GetToken().Value
		at := joinPath(path, key)
		i, known := fields[key]
		if !known {
			d.addProblem(p.Key, at, nearestHint(key, keysOf(fields)), "unknown field %q%s", printable.Clip(key), inPath(path))
			continue
		}
		d.places[at] = placeOf(p.Key)
		v.Field(i).SetZero() // of what << has merged
		d.decodeValue(p.Value, fieldInSeconds(v, i), at)
	}
}

// pairsOf are a mapping's entries, those that << merges into it first: what the
// mapping says itself overrides them.
func (d *decoder) pairsOf(n ast.Node, path string) ([]*ast.MappingValueNode, bool) {
	m, ok := n.(*ast.MappingNode)
	if !ok {
		d.addProblem(n, path, "write fields as name: value", "%s must be a mapping, not %s", lastName(path), describeNode(n))
		return nil, false
	}
	if !d.countNodes(n, path, len(m.Values)) {
		return nil, false
	}
	var merged, own []*ast.MappingValueNode
	for _, p := range m.Values {
		switch {
		case p.Key.IsMergeKey():
			merged = append(merged, d.mergePairs(p.Value, path)...)
		case len(p.Key.GetToken().Value) > maxKey:
			d.addProblem(p.Key, path, "", "a field's name has more than %d bytes", maxKey)
		case plainKey(p.Key):
			own = append(own, p)
		default:
			d.addProblem(p.Key, path, "", "a field's name must be plain text")
		}
	}
	return append(merged, own...), true
}

func plainKey(k ast.MapKeyNode) bool {
	switch k.(type) {
	case *ast.StringNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NullNode:
		return true
	}
	return false
}

func (d *decoder) mergePairs(n ast.Node, path string) []*ast.MappingValueNode {
	alias, ok := n.(*ast.AliasNode)
	if !ok {
		d.addProblem(n, path, "", "<< must be followed by an alias such as *name")
		return nil
	}
	if !d.countNodes(n, path, 1) {
		return nil
	}
	var out []*ast.MappingValueNode
	d.followAlias(alias, path, func(target ast.Node) { out, _ = d.pairsOf(target, path) })
	return out
}

// seconds is how long something lasts. The types of the API say it as numbers
// with the tag unit:"seconds"; the file may say it with a unit.
type seconds int

var secondsType = reflect.TypeFor[seconds]()

// fieldInSeconds is a field of a struct, as seconds where that is its unit.
func fieldInSeconds(v reflect.Value, i int) reflect.Value {
	if v.Type().Field(i).Tag.Get("unit") != "seconds" {
		return v.Field(i)
	}
	return v.Field(i).Addr().Convert(reflect.PointerTo(secondsType)).Elem()
}

func (d *decoder) decodeSeconds(n ast.Node, v reflect.Value, path string) {
	text, ok := textOf(n)
	count, err := strconv.Atoi(text) // Check says which are too small
	if err != nil {
		count, err = timespan.Count(timespan.Second, text)
	}
	if !ok || err != nil {
		d.addProblem(n, path, "write it as 90s, 5m, 1h30m or 2d, or as a whole number of seconds", "%s must be a length of time, not %s", lastName(path), describeNode(n))
		return
	}
	v.SetInt(int64(count))
}

func (d *decoder) decodeTime(n ast.Node, v reflect.Value, path string) {
	text, ok := textOf(n)
	t, err := time.Parse(time.RFC3339, text)
	if !ok || err != nil {
		d.addProblem(n, path, "write it as 2026-01-31T18:00:00Z", "%s must be a time, not %s", lastName(path), describeNode(n))
		return
	}
	v.Set(reflect.ValueOf(t.UTC()))
}

// decodeScalar decodes text, numbers and true or false. What looks like a number is
// taken as it is written where text is wanted, so that version: 1.10 stays
// 1.10.
func (d *decoder) decodeScalar(n ast.Node, v reflect.Value, path string) {
	text, isScalar := textOf(n)
	wrong := func(want string) {
		d.addProblem(n, path, "", "%s must be %s, not %s", lastName(path), want, describeNode(n))
	}
	switch v.Kind() {
	case reflect.String:
		if !isScalar {
			wrong("text")
			return
		}
		v.SetString(text)
	case reflect.Bool:
		b, ok := n.(*ast.BoolNode)
		if !ok {
			wrong("true or false")
			return
		}
		v.SetBool(b.Value)
	case reflect.Int, reflect.Int64:
		i, err := strconv.ParseInt(text, 10, 64)
		if _, number := n.(*ast.IntegerNode); !number || err != nil {
			wrong("a whole number")
			return
		}
		v.SetInt(i)
	case reflect.Float64:
		f, err := strconv.ParseFloat(text, 64)
		if !isNumber(n) || err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
			wrong("a number")
			return
		}
		v.SetFloat(f)
	default:
		panic("fleetfile: no way to decode " + v.Type().String())
	}
}

func isNumber(n ast.Node) bool {
	switch n.(type) {
	case *ast.IntegerNode, *ast.FloatNode:
		return true
	}
	return false
}

// textOf is a scalar as it is written.
func textOf(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.StringNode:
		return n.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	}
	return "", false
}

// describeNode names what stands where something else should.
func describeNode(n ast.Node) string {
	switch n := n.(type) {
	case *ast.MappingNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	case *ast.StringNode:
		if q := n.GetToken().Type; q == token.SingleQuoteType || q == token.DoubleQuoteType {
			return fmt.Sprintf("the quoted text %q", printable.Clip(n.Value))
		}
	}
	if text, ok := textOf(n); ok {
		return strconv.Quote(printable.Clip(text))
	}
	return "this"
}

// fieldsOf maps a struct's names in the file to its fields.
func fieldsOf(t reflect.Type) map[string]int {
	out := make(map[string]int, t.NumField())
	for i := range t.NumField() {
		if name := fieldName(t.Field(i)); name != "" {
			out[name] = i
		}
	}
	return out
}

// fieldName is a field's name in the file, empty when it is not in it.
func fieldName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	if name == "-" {
		return ""
	}
	return name
}
