package httpapi

import (
	"encoding/json"
	"iter"
	"reflect"
	"strings"
	"time"
)

// object is a piece of the OpenAPI document.
type object = map[string]any

// jsonField is a struct's field as encoding/json sees it.
type jsonField struct {
	reflect.StructField
	name     string
	optional bool
}

// fieldsOf yields the fields of a struct that JSON shows, embedded ones too.
func fieldsOf(t reflect.Type) iter.Seq[jsonField] {
	return func(yield func(jsonField) bool) {
		for f := range t.Fields() {
			tag, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			if f.Anonymous && tag == "" {
				for inner := range fieldsOf(f.Type) {
					if !yield(inner) {
						return
					}
				}
				continue
			}
			if tag == "" || tag == "-" || !f.IsExported() {
				continue
			}
			optional := strings.Contains(options, "omitempty") || strings.Contains(options, "omitzero")
			if !yield(jsonField{f, tag, optional}) {
				return
			}
		}
	}
}

// schemas collects the document's named schemas from Go types.
type schemas struct{ named object }

// schemaOf is the schema of a type; structs become named ones that are referred to.
func (s schemas) schemaOf(t reflect.Type) object {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case t == reflect.TypeFor[json.RawMessage]():
		return object{}
	case t == reflect.TypeFor[[]byte]():
		return object{"type": "string", "contentEncoding": "base64"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return s.schemaOf(t.Elem())
	case reflect.String:
		return object{"type": "string"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Int, reflect.Int32, reflect.Int64:
		return object{"type": "integer"}
	case reflect.Float64:
		return object{"type": "number"}
	case reflect.Slice:
		return object{"type": "array", "items": s.schemaOf(t.Elem())}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": s.schemaOf(t.Elem())}
	case reflect.Struct:
		return s.ofStruct(t)
	}
	panic("httpapi: no schema for " + t.String())
}

func (s schemas) ofStruct(t reflect.Type) object {
	name := schemaName(t)
	ref := object{"$ref": "#/components/schemas/" + name}
	if _, done := s.named[name]; done {
		return ref
	}
	s.named[name] = object{} // ends the recursion of types that hold themselves
	properties, required := s.propertiesOf(t)
	schema := object{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		schema["required"] = required
	}
	s.named[name] = schema
	return ref
}

// propertiesOf are the fields of a struct, and the names of those that are
// always there.
func (s schemas) propertiesOf(t reflect.Type) (properties object, required []string) {
	properties = object{}
	for f := range fieldsOf(t) {
		properties[f.name] = s.schemaOf(f.Type)
		if !f.optional {
			required = append(required, f.name)
		}
	}
	return properties, required
}

// schemaName is the type's own name; Page[Agent] becomes AgentPage.
func schemaName(t reflect.Type) string {
	name, args, generic := strings.Cut(t.Name(), "[")
	if !generic {
		return name
	}
	args = strings.TrimSuffix(args, "]")
	return args[strings.LastIndex(args, ".")+1:] + name
}

// inputSchemaOf is the schema of what is sent: the server fills in what is left
// out and says itself what must be there.
func (s schemas) inputSchemaOf(t reflect.Type) object {
	if t.Kind() != reflect.Struct {
		return s.schemaOf(t)
	}
	name := schemaName(t) + "Input"
	properties, _ := s.propertiesOf(t)
	s.named[name] = object{"type": "object", "properties": properties, "additionalProperties": false}
	return object{"$ref": "#/components/schemas/" + name}
}
