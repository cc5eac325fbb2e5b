package fleetfile_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/goccy/go-yaml"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/fleetfile"
)

var update = flag.Bool("update", false, "write docs/fleet.schema.json")

var schemaFile = filepath.Join("..", "..", "..", "docs", "fleet.schema.json")

// The schema that editors use is made from the types, so it cannot say
// anything else than what is read.
func TestSchemaIsThatOfTheTypes(t *testing.T) {
	s := schemaOf(reflect.TypeFor[api.Fleet](), comments(t))
	s["properties"].(map[string]any)["serial"] = map[string]any{
		"type": "string", "description": "The signed mark of the moment that an exported file tells of: applied later, it takes back nothing that was changed after that.",
	}
	s["$schema"] = "http://json-schema.org/draft-07/schema#"
	s["title"] = "Fleet file of ops-meta"
	want, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	if *update {
		if err := os.WriteFile(schemaFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(schemaFile)
	if err != nil || !bytes.Equal(undescribed(t, got), undescribed(t, want)) {
		t.Fatalf("docs/fleet.schema.json is not up to date (%v): run go test ./meta/internal/fleetfile -run Schema -update", err)
	}
}

// undescribed is a schema without its descriptions: a comment may be reworded
// without writing the file again.
func undescribed(t *testing.T, data []byte) []byte {
	t.Helper()
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	var strip func(any)
	strip = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if _, text := v["description"].(string); text {
				delete(v, "description")
			}
			for _, below := range v {
				strip(below)
			}
		case []any:
			for _, below := range v {
				strip(below)
			}
		}
	}
	strip(v)
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// What the schema takes and refuses is what Parse takes and refuses.
func TestSchemaAgreesWithParse(t *testing.T) {
	data, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	var schema openapi3.Schema
	if err := json.Unmarshal(data, &schema); err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name, file string
		good       bool
	}{
		{"the example", string(fleetfile.Export(parsed(t, example))), true},
		{"empty sections", "agents: []\nholds: []\n", true},
		{"unknown section", "agent: []\n", false},
		{"unknown field", "agents: [{name: a, runuser: x}]\n", false},
		{"unknown field deep inside", "strategies: [{name: s, stages: [{percent: 1, window: {form: \"01:00\"}}]}]\n", false},
		{"text where a number belongs", "agents: [{name: a, keep: many}]\n", false},
		{"lengths of time", "agents: [{name: a, probation: 90}, {name: b, probation: 1m30s}, {name: c, probation: 2d}]\n", true},
		{"a length of time that is none", "agents: [{name: a, probation: soon}]\n", false},
		{"a length of time below none", "strategies: [{name: s, stages: [{percent: 100, soak: -5}]}]\n", false},
		{"a list where text belongs", "agents: [{name: [a]}]\n", false},
		{"an unknown scope", "holds: [{scope: {kind: all}, reason: x}]\n", false},
		{"an unknown day", "strategies: [{name: s, stages: [{percent: 100}], window: {days: [monday], from: \"01:00\", to: \"02:00\"}}]\n", false},
		{"a name like a path", "agents: [{name: a/b}]\n", false},
		{"a required field that is missing", "assignments: [{scope: {kind: everyone}, version: \"1\", agent: a}, {agent: a}]\n", false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var value any
			if err := yaml.Unmarshal([]byte(c.file), &value); err != nil {
				t.Fatal(err)
			}
			plain, err := json.Marshal(value)
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(plain, &value); err != nil {
				t.Fatal(err)
			}
			if err := schema.VisitJSON(value); (err == nil) != c.good {
				t.Errorf("the schema says %v", err)
			}
			f, problems := fleetfile.Parse([]byte(c.file))
			if len(problems) == 0 {
				problems = f.Check(fleetfile.Known{})
			}
			if (len(problems) == 0) != c.good {
				t.Errorf("Parse and Check say %v", problems)
			}
		})
	}
}

func parsed(t *testing.T, file string) api.Fleet {
	t.Helper()
	f, problems := fleetfile.Parse([]byte(file))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return f.Fleet
}

type object = map[string]any

// rules are what a type does not say by itself.
var rules = map[string]object{
	"Agent.name": {"pattern": namePattern}, "Strategy.name": {"pattern": namePattern}, "Group.name": {"pattern": namePattern},
	"Assignment.agent": {"pattern": namePattern}, "Assignment.version": {"pattern": namePattern},
	"Channel.agent": {"pattern": namePattern}, "Channel.name": {"pattern": namePattern}, "Channel.version": {"pattern": namePattern},
	"Schedule.name": {"pattern": namePattern}, "Schedule.channel": {"pattern": namePattern}, "Schedule.strategy": {"pattern": namePattern},
	"Assignment.cmd":     {"enum": []any{"start", "stop"}},
	"Scope.kind":         {"enum": []any{"everyone", "group", "host", "agent"}},
	"Strategy.onFailure": {"enum": []any{"pause", "abort", "rollback"}},
	"Strategy.stages":    {"minItems": 1},
	"Stage.percent":      {"exclusiveMinimum": 0, "maximum": 100},
	"Window.from":        {"pattern": clockPattern},
	"Window.to":          {"pattern": clockPattern},
	"Window.days":        {"items": object{"type": "string", "enum": []any{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}}},
	"RateLimit.hosts":    {"minimum": 1},
	"RateLimit.period":   {"minimum": 1},
	"Hold.reason":        {"minLength": 1},
	"Strategy.maxFailed": {"minimum": 0},
	"Agent.keep":         {"minimum": 0},
	"Assignment.keep":    {"minimum": 0},
}

const (
	namePattern = `^[A-Za-z0-9][A-Za-z0-9._+-]{0,127}$`
	// lengthPattern is a length of time; plain numbers are seconds.
	lengthPattern = `^([0-9]+d?|([0-9]+([.][0-9]+)?[hms])+)$`
	clockPattern  = `^([01][0-9]|2[0-3]):[0-5][0-9]$`
)

var required = map[string][]string{
	"Agent": {"name"}, "Strategy": {"name", "stages"}, "Group": {"name", "selector"}, "Assignment": {"agent", "scope"},
	"Channel": {"agent", "name"}, "Schedule": {"name", "channel"}, "Hold": {"scope", "reason"}, "Scope": {"kind"}, "Window": {"from", "to"}, "RateLimit": {"hosts", "period"},
}

// schemaOf describes a type by its yaml tags.
func schemaOf(t reflect.Type, docs map[string]string) object {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case t.Kind() == reflect.Pointer:
		return schemaOf(t.Elem(), docs)
	case t.Kind() == reflect.Slice:
		return object{"type": "array", "items": schemaOf(t.Elem(), docs)}
	case t.Kind() == reflect.Map:
		return object{"type": "object", "additionalProperties": schemaOf(t.Elem(), docs)}
	case t.Kind() == reflect.Struct:
		return structSchema(t, docs)
	}
	return object{"type": map[reflect.Kind]string{
		reflect.String: "string", reflect.Bool: "boolean", reflect.Int: "integer", reflect.Float64: "number",
	}[t.Kind()]}
}

func structSchema(t reflect.Type, docs map[string]string) object {
	properties := object{}
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if name == "-" {
			continue
		}
		s := schemaOf(f.Type, docs)
		if f.Tag.Get("unit") == "seconds" {
			s = object{"type": []string{"integer", "string"}, "minimum": 0, "pattern": lengthPattern}
		}
		maps.Copy(s, rules[t.Name()+"."+name])
		if doc := docs[t.Name()+"."+f.Name]; doc != "" {
			s["description"] = doc
		}
		properties[name] = s
	}
	out := object{"type": "object", "properties": properties, "additionalProperties": false}
	if need := required[t.Name()]; need != nil {
		out["required"] = need
	}
	if doc := docs[t.Name()]; doc != "" {
		out["description"] = doc
	}
	return out
}

// comments are what the source says about types and their fields.
func comments(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	files, err := filepath.Glob(filepath.Join("..", "..", "api", "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no source: %v", err)
	}
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			d, ok := n.(*ast.GenDecl)
			if !ok || len(d.Specs) != 1 {
				return true
			}
			spec, ok := d.Specs[0].(*ast.TypeSpec)
			if !ok {
				return true
			}
			s, ok := spec.Type.(*ast.StructType)
			if !ok {
				return true
			}
			out[spec.Name.Name] = oneLine(d.Doc)
			for _, field := range s.Fields.List {
				for _, name := range field.Names {
					out[spec.Name.Name+"."+name.Name] = oneLine(field.Comment)
				}
			}
			return true
		})
	}
	return out
}

func oneLine(c *ast.CommentGroup) string {
	return strings.Join(slices.Collect(strings.FieldsSeq(c.Text())), " ")
}
