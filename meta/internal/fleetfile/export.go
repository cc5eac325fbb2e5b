package fleetfile

import (
	"cmp"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ops-updater/ops-updater/meta/api"
)

// Export writes a fleet as a file that Parse reads back: always the same
// bytes for the same fleet. Sections that are nil are left out.
func Export(f api.Fleet) []byte {
	v := reflect.ValueOf(Sorted(f))
	var out []byte
	for i := range v.NumField() {
		name, list := fieldName(v.Type().Field(i)), v.Field(i)
		switch {
		case list.IsNil():
		case list.Len() == 0:
			out = append(out, name+": []\n"...)
		default:
			out = append(out, name+":\n"...)
			out = emitItems(out, list, "  ")
		}
	}
	return out
}

// emitItems writes a list of objects, one dash each.
func emitItems(out []byte, list reflect.Value, indent string) []byte {
	for i := range list.Len() {
		start := len(out)
		out = emitObject(out, list.Index(i), indent+"  ")
		if len(out) == start { // nothing is set
			out = append(out, indent+"- {}\n"...)
			continue
		}
		out[start+len(indent)] = '-'
	}
	return out
}

// emitObject writes the fields that are set, one or more lines each.
func emitObject(out []byte, v reflect.Value, indent string) []byte {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, value := fieldName(f), v.Field(i)
		if name == "" || value.IsZero() {
			continue
		}
		out = append(out, indent+name+":"...)
		if strings.HasSuffix(f.Tag.Get("yaml"), ",flow") {
			out = append(emitFlow(append(out, ' '), value), '\n')
			continue
		}
		out = emitValue(out, value, indent)
	}
	return out
}

// emitValue writes what follows a field's colon.
func emitValue(out []byte, v reflect.Value, indent string) []byte {
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	switch {
	case v.Type() == timeType:
		return append(out, " "+v.Interface().(time.Time).UTC().Format(time.RFC3339Nano)+"\n"...)
	case v.Kind() == reflect.Struct && v.IsZero():
		return append(out, " {}\n"...)
	case v.Kind() == reflect.Struct:
		return emitObject(append(out, '\n'), v, indent+"  ")
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct && v.Len() > 0:
		return emitItems(append(out, '\n'), v, indent+"  ")
	case v.Kind() == reflect.Slice:
		return emitTexts(out, v, indent+"  ")
	case v.Kind() == reflect.Map && v.Len() > 0:
		return emitTable(append(out, '\n'), v, indent+"  ")
	case v.Kind() == reflect.Map:
		return append(out, " {}\n"...)
	}
	return append(append(append(out, ' '), scalarText(v)...), '\n')
}

// lineWidth is how long a list may be on one line.
const lineWidth = 80

// emitTexts writes a list of scalars, on one line if that is short.
func emitTexts(out []byte, v reflect.Value, indent string) []byte {
	parts := make([]string, v.Len())
	width := 0
	for i := range parts {
		parts[i] = scalarText(v.Index(i))
		width += len(parts[i]) + 2
	}
	if width <= lineWidth {
		return append(out, " ["+strings.Join(parts, ", ")+"]\n"...)
	}
	out = append(out, '\n')
	for _, p := range parts {
		out = append(out, indent+"- "+p+"\n"...)
	}
	return out
}

func emitTable(out []byte, v reflect.Value, indent string) []byte {
	values := map[string]string{}
	for _, k := range v.MapKeys() {
		values[k.String()] = v.MapIndex(k).String()
	}
	for _, k := range sortedKeys(values) {
		out = append(out, indent+quoteScalar(k)+": "+quoteScalar(values[k])+"\n"...)
	}
	return out
}

// emitFlow writes a small object on one line.
func emitFlow(out []byte, v reflect.Value) []byte {
	out = append(out, '{')
	for i := range v.NumField() {
		name, value := fieldName(v.Type().Field(i)), v.Field(i)
		if name == "" || value.IsZero() {
			continue
		}
		if out[len(out)-1] != '{' {
			out = append(out, ", "...)
		}
		out = append(out, name+": "+scalarText(value)...)
	}
	return append(out, '}')
}

func scalarText(v reflect.Value) string {
	if v.Kind() == reflect.String {
		return quoteScalar(v.String())
	}
	return plainText(v)
}

var (
	plainRule = regexp.MustCompile(`^[A-Za-z/][A-Za-z0-9/._+-]*( [A-Za-z0-9/._+-]+)*$`)
	keywords  = []string{"null", "true", "false", "yes", "no", "on", "off", "y", "n"}
)

// quoteScalar is s as a scalar: as it is when no reader could take it for anything
// else, otherwise in double quotes with the escapes that JSON and YAML share.
func quoteScalar(s string) string {
	if plainRule.MatchString(s) && !slices.Contains(keywords, strings.ToLower(s)) {
		return s
	}
	out := []byte{'"'}
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			out = append(out, '\\', byte(r))
		case r == '\n':
			out = append(out, `\n`...)
		case r == '\t':
			out = append(out, `\t`...)
		case r <= 0xffff && !strconv.IsPrint(r):
			out = fmt.Appendf(out, `\u%04x`, r)
		default:
			out = utf8.AppendRune(out, r)
		}
	}
	return string(append(out, '"'))
}

// Sorted is the fleet in the order in which a file lists it.
func Sorted(f api.Fleet) api.Fleet {
	return api.Fleet{
		Agents:     sortBy(f.Agents, func(a, b api.Agent) int { return strings.Compare(a.Name, b.Name) }),
		Strategies: sortBy(f.Strategies, func(a, b api.Strategy) int { return strings.Compare(a.Name, b.Name) }),
		Groups:     sortBy(f.Groups, func(a, b api.Group) int { return strings.Compare(a.Name, b.Name) }),
		Assignments: sortBy(f.Assignments, func(a, b api.Assignment) int {
			return cmp.Or(strings.Compare(a.Agent, b.Agent), compareScopes(a.Scope, b.Scope))
		}),
		Channels: sortBy(f.Channels, func(a, b api.Channel) int {
			return cmp.Or(strings.Compare(a.Agent, b.Agent), strings.Compare(a.Name, b.Name))
		}),
		Schedules: sortBy(f.Schedules, func(a, b api.Schedule) int { return strings.Compare(a.Name, b.Name) }),
		Holds: sortBy(f.Holds, func(a, b api.Hold) int {
			return cmp.Or(compareScopes(a.Scope, b.Scope), strings.Compare(a.Reason, b.Reason), strings.Compare(untilText(a), untilText(b)))
		}),
	}
}

func sortBy[T any](list []T, compare func(a, b T) int) []T {
	list = slices.Clone(list)
	slices.SortStableFunc(list, compare)
	return list
}

func untilText(h api.Hold) string {
	if h.Until == nil {
		return ""
	}
	return h.Until.UTC().Format("2006-01-02T15:04:05.000000000")
}

var scopeOrder = []api.ScopeKind{api.ScopeEveryone, api.ScopeAgent, api.ScopeGroup, api.ScopeHost}

func compareScopes(a, b api.Scope) int {
	return cmp.Or(cmp.Compare(slices.Index(scopeOrder, a.Kind), slices.Index(scopeOrder, b.Kind)), strings.Compare(a.Name, b.Name))
}
