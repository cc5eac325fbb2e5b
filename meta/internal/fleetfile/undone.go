package fleetfile

import (
	"encoding/json"
	"slices"

	"github.com/goccy/go-yaml/ast"

	"github.com/ops-updater/ops-updater/meta/api"
)

// markKey is the key of a file's mark. It is no comment, which would be lost
// wherever a file becomes JSON, or a tool writes it again.
const markKey = "serial"

// WithMark begins a file with a mark of the moment that it tells of.
func WithMark(mark string, file []byte) []byte {
	if mark == "" {
		return file
	}
	head := markKey + ": " + mark + "\n# Applied later, this file takes back nothing that was changed after that moment.\n"
	return append([]byte(head), file...)
}

// takeMark takes the mark out of a document: it is no thing of the fleet. What
// is no text stays, to be refused.
func takeMark(body ast.Node) (mark string) {
	m, ok := body.(*ast.MappingNode)
	if !ok {
		return ""
	}
	i := slices.IndexFunc(m.Values, func(v *ast.MappingValueNode) bool {
		_, text := v.Value.(*ast.StringNode)
		return text && plainKey(v.Key) && v.Key.GetToken().Value == markKey
	})
	if i < 0 {
		return ""
	}
	mark = m.Values[i].Value.GetToken().Value
	m.Values = slices.Delete(m.Values, i, i+1)
	return mark
}

// FindUndone is the latest of the entries, newest first, that a plan would take
// back, and the change that would: a thing made since is gone, one removed is
// there again, a field is as it was before. A value that is new to it takes
// nothing back.
func FindUndone(plan []api.FleetChange, since []api.AuditEntry) (api.FleetChange, api.AuditEntry, bool) {
	for _, e := range since {
		before, after := objectOf(e.Kind, e.Before), objectOf(e.Kind, e.After)
		if i := slices.IndexFunc(plan, func(ch api.FleetChange) bool { return takesBack(ch, e.Kind, before, after) }); i >= 0 {
			return plan[i], e, true
		}
	}
	return api.FleetChange{}, api.AuditEntry{}, false
}

// object is one as the audit log has it.
type object struct {
	name   string
	fields map[string]string
}

func takesBack(ch api.FleetChange, kind string, before, after *object) bool {
	switch {
	case ch.Kind != kind:
		return false
	case before == nil:
		return after != nil && after.name == ch.Name && ch.Action == api.ChangeDelete
	case before.name != ch.Name:
		return false
	case ch.Action == api.ChangeCreate:
		return after == nil
	case ch.Action == api.ChangeDelete:
		return false
	}
	return slices.ContainsFunc(ch.Fields, func(f api.FieldChange) bool {
		return before.fields[f.Field] == f.After && (after == nil || after.fields[f.Field] != f.After)
	})
}

// objectOf reads one from the audit log, nil when there is none.
func objectOf(kind string, doc json.RawMessage) *object {
	switch kind {
	case agents.name:
		return agents.storedObject(doc)
	case strategies.name:
		return strategies.storedObject(doc)
	case groups.name:
		return groups.storedObject(doc)
	case assignments.name:
		return assignments.storedObject(doc)
	case channels.name:
		return channels.storedObject(doc)
	case schedules.name:
		return schedules.storedObject(doc)
	case holds.name:
		return holds.storedObject(doc)
	}
	return nil
}

func (k kind[T]) storedObject(doc json.RawMessage) *object {
	var x *T
	if len(doc) == 0 || json.Unmarshal(doc, &x) != nil || x == nil {
		return nil
	}
	o := &object{k.label(*x), map[string]string{}}
	for _, f := range flattenObject(*x) {
		o.fields[f.path] = f.text
	}
	return o
}
