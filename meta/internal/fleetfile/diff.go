package fleetfile

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
)

// Options say how fleets are compared.
type Options struct {
	Keep bool // never delete: wanted only adds and changes
}

// kind is how one sort of object is compared.
type kind[T any] struct {
	name   string
	id     func(T) string // what makes it the same object
	label  func(T) string // for people
	object func(T) *api.FleetObject
	carry  func(before, after T) T // what the file does not hold
}

var (
	agents = kind[api.Agent]{
		"agent", func(a api.Agent) string { return a.Name }, func(a api.Agent) string { return a.Name },
		func(a api.Agent) *api.FleetObject { return &api.FleetObject{Agent: &a} },
		func(before, after api.Agent) api.Agent { after.Revision = before.Revision; return after },
	}
	strategies = kind[api.Strategy]{
		"strategy", func(s api.Strategy) string { return s.Name }, func(s api.Strategy) string { return s.Name },
		func(s api.Strategy) *api.FleetObject { return &api.FleetObject{Strategy: &s} },
		func(before, after api.Strategy) api.Strategy { after.Revision = before.Revision; return after },
	}
	groups = kind[api.Group]{
		"group", func(g api.Group) string { return g.Name }, func(g api.Group) string { return g.Name },
		func(g api.Group) *api.FleetObject { return &api.FleetObject{Group: &g} },
		func(before, after api.Group) api.Group { after.Revision = before.Revision; return after },
	}
	assignments = kind[api.Assignment]{
		"assignment", AssignmentName, AssignmentName,
		func(a api.Assignment) *api.FleetObject { return &api.FleetObject{Assignment: &a} },
		func(before, after api.Assignment) api.Assignment {
			after.Version, after.Revision = cmp.Or(after.Version, before.Version), before.Revision
			return after
		},
	}
	channels = kind[api.Channel]{
		"channel", ChannelName, ChannelName,
		func(c api.Channel) *api.FleetObject { return &api.FleetObject{Channel: &c} },
		func(before, after api.Channel) api.Channel {
			after.Version = cmp.Or(after.Version, before.Version)
			after.Previous, after.MovedAt, after.MovedBy, after.Revision = before.Previous, before.MovedAt, before.MovedBy, before.Revision
			return after
		},
	}
	schedules = kind[api.Schedule]{
		"schedule", func(s api.Schedule) string { return s.Name }, func(s api.Schedule) string { return s.Name },
		func(s api.Schedule) *api.FleetObject { s = s.WithScope(); return &api.FleetObject{Schedule: &s} },
		func(before, after api.Schedule) api.Schedule {
			after.Revision = before.Revision
			return after.WithScope()
		},
	}
	holds = kind[api.Hold]{
		"hold", func(h api.Hold) string { return h.Scope.InWords() + "\x00" + h.Reason },
		func(h api.Hold) string { return h.Scope.InWords() + ": " + h.Reason },
		func(h api.Hold) *api.FleetObject { return &api.FleetObject{Hold: &h} },
		func(before, after api.Hold) api.Hold {
			after.ID, after.CreatedAt, after.CreatedBy = before.ID, before.CreatedAt, before.CreatedBy
			return after
		},
	}
)

// Diff lists what turns current into wanted, in an order that can be applied.
// Sections that wanted does not have are left alone.
func Diff(current, wanted api.Fleet, o Options) []api.FleetChange {
	var set, remove []api.FleetChange
	add := func(s, r []api.FleetChange) {
		set = append(set, s...)
		remove = append(r, remove...)
	}
	add(compareKind(groups, current.Groups, wanted.Groups))
	add(compareKind(strategies, current.Strategies, wanted.Strategies))
	add(compareKind(agents, current.Agents, wanted.Agents))
	add(compareKind(assignments, current.Assignments, wanted.Assignments))
	add(compareKind(channels, current.Channels, wanted.Channels))
	add(compareKind(schedules, current.Schedules, wanted.Schedules))
	add(compareKind(holds, current.Holds, wanted.Holds))
	if o.Keep {
		return set
	}
	return append(set, remove...)
}

// numbered is an object with its identity; objects that share one (two holds
// of a host for the same reason) are told apart by their order.
type numbered[T any] struct {
	id     string
	object T
}

func (k kind[T]) numberObjects(list []T) []numbered[T] {
	out := make([]numbered[T], 0, len(list))
	for _, x := range list {
		out = append(out, numbered[T]{k.id(x), x})
	}
	slices.SortStableFunc(out, func(a, b numbered[T]) int {
		if order := strings.Compare(a.id, b.id); order != 0 {
			return order
		}
		return slices.CompareFunc(flattenObject(a.object), flattenObject(b.object), func(x, y field) int {
			return cmp.Or(strings.Compare(x.path, y.path), strings.Compare(x.text, y.text))
		})
	})
	same := 0
	for i := range out {
		if i > 0 && k.id(out[i].object) == k.id(out[i-1].object) {
			same++
			out[i].id = fmt.Sprintf("%s\x00%d", out[i].id, same)
			continue
		}
		same = 0
	}
	return out
}

// compareKind lists what to set and what to remove of one kind.
func compareKind[T any](k kind[T], current, wanted []T) (set, remove []api.FleetChange) {
	if wanted == nil {
		return nil, nil
	}
	before := map[string]T{}
	for _, x := range k.numberObjects(current) {
		before[x.id] = x.object
	}
	for _, x := range k.numberObjects(wanted) {
		old, exists := before[x.id]
		delete(before, x.id)
		if !exists {
			set = append(set, k.changeOf(api.ChangeCreate, nil, &x.object))
			continue
		}
		after := k.carry(old, x.object)
		if c := k.changeOf(api.ChangeUpdate, &old, &after); len(c.Fields) > 0 {
			set = append(set, c)
		}
	}
	for _, id := range sortedKeys(before) {
		old := before[id]
		remove = append(remove, k.changeOf(api.ChangeDelete, &old, nil))
	}
	return set, remove
}

func (k kind[T]) changeOf(action string, before, after *T) api.FleetChange {
	c := api.FleetChange{Action: action, Kind: k.name}
	var old, now []field
	if before != nil {
		c.Name, c.Before, old = k.label(*before), k.object(*before), flattenObject(*before)
	}
	if after != nil {
		c.Name, c.After, now = k.label(*after), k.object(*after), flattenObject(*after)
	}
	c.Fields = fieldChanges(old, now)
	return c
}

func sortedKeys[V any](m map[string]V) []string {
	ks := keysOf(m)
	slices.Sort(ks)
	return ks
}

// fieldChanges compares two objects field by field, in the order of the
// fields, those that are gone at the end.
func fieldChanges(old, now []field) []api.FieldChange {
	before := map[string]string{}
	for _, f := range old {
		before[f.path] = f.text
	}
	var out []api.FieldChange
	for _, f := range now {
		if was := before[f.path]; was != f.text {
			out = append(out, api.FieldChange{Field: f.path, Before: was, After: f.text})
		}
		delete(before, f.path)
	}
	for _, f := range old {
		if _, gone := before[f.path]; gone {
			out = append(out, api.FieldChange{Field: f.path, Before: f.text})
		}
	}
	return out
}

// field is one value of an object as text. Values that are not set have none.
type field struct{ path, text string }

// flattenObject lists an object's fields that the file holds.
func flattenObject(object any) []field {
	var out []field
	flattenInto(&out, "", reflect.ValueOf(object))
	return out
}

func flattenInto(out *[]field, path string, v reflect.Value) {
	if v.IsZero() {
		return
	}
	switch {
	case v.Kind() == reflect.Pointer:
		flattenInto(out, path, v.Elem())
	case v.Type() == timeType:
		*out = append(*out, field{path, v.Interface().(time.Time).UTC().Format(time.RFC3339Nano)})
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			if name := fieldName(v.Type().Field(i)); name != "" {
				flattenInto(out, joinPath(path, name), v.Field(i))
			}
		}
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct:
		for i := range v.Len() {
			flattenInto(out, fmt.Sprintf("%s[%d]", path, i), v.Index(i))
		}
	case v.Kind() == reflect.Slice:
		if v.Len() > 0 {
			*out = append(*out, field{path, listText(v)})
		}
	case v.Kind() == reflect.Map:
		flattenMap(out, path, v)
	default:
		*out = append(*out, field{path, plainText(v)})
	}
}

func flattenMap(out *[]field, path string, v reflect.Value) {
	values := map[string]reflect.Value{}
	for _, k := range v.MapKeys() {
		values[k.String()] = v.MapIndex(k)
	}
	for _, k := range sortedKeys(values) {
		*out = append(*out, field{path + "." + k, strconv.Quote(values[k].String())})
	}
}

func listText(v reflect.Value) string {
	parts := make([]string, v.Len())
	for i := range parts {
		parts[i] = plainText(v.Index(i))
		if strings.ContainsAny(parts[i], ", \"[]") || parts[i] == "" {
			parts[i] = strconv.Quote(parts[i])
		}
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

func plainText(v reflect.Value) string {
	switch v.Kind() {
	case reflect.String:
		return v.String()
	case reflect.Bool:
		return strconv.FormatBool(v.Bool())
	case reflect.Int, reflect.Int64:
		return strconv.FormatInt(v.Int(), 10)
	case reflect.Float64:
		return strconv.FormatFloat(v.Float(), 'g', -1, 64)
	}
	panic("fleetfile: no way to show " + v.Type().String())
}
