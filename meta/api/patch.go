package api

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"
)

// Patch is a change of some fields of a noun and of no other: a JSON merge
// patch (RFC 7396) by the names of its JSON fields. Null takes a field away;
// an object changes only those of its own fields that it names.
type Patch map[string]any

// MediaPatch is the media type of a [Patch].
const MediaPatch = "application/merge-patch+json"

// Apply is noun with the fields of p.
func (p Patch) Apply(noun, into any) error {
	before, err := json.Marshal(noun)
	if err != nil {
		return err
	}
	var fields map[string]any
	if err := json.Unmarshal(before, &fields); err != nil {
		return err
	}
	if err := checkNames(p, reflect.TypeOf(into).Elem()); err != nil {
		return err
	}
	after, err := json.Marshal(mergePatch(fields, p))
	if err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(after))
	dec.DisallowUnknownFields()
	return dec.Decode(into)
}

// checkNames refuses a name that is not exactly one of noun's fields. Decoders take any
// case; a merge by another one would stand beside the field that it means.
func checkNames(p Patch, noun reflect.Type) error {
	fields := map[string]reflect.Type{}
	for _, f := range reflect.VisibleFields(noun) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		fields[cmp.Or(name, f.Name)] = f.Type
	}
	for name, value := range p {
		field := fields[name]
		if field == nil {
			return fmt.Errorf("json: unknown field %q", name) // as encoding/json says it
		}
		if field.Kind() == reflect.Pointer {
			field = field.Elem()
		}
		if inner, ok := value.(map[string]any); ok && field.Kind() == reflect.Struct {
			if err := checkNames(inner, field); err != nil {
				return err
			}
		}
	}
	return nil
}

func mergePatch(fields map[string]any, p Patch) map[string]any {
	if fields == nil {
		fields = map[string]any{}
	}
	for name, value := range p {
		switch inner := value.(type) {
		case nil:
			delete(fields, name)
		case map[string]any:
			old, _ := fields[name].(map[string]any)
			fields[name] = mergePatch(old, inner)
		default:
			fields[name] = value
		}
	}
	return fields
}

func patchResource[T any](ctx context.Context, c *Client, p Patch, revision int64, path ...string) (T, error) {
	body, err := json.Marshal(p)
	if err != nil {
		var none T
		return none, err
	}
	return readReply[T](ctx, c, call{
		method: http.MethodPatch, path: path, raw: bytes.NewReader(body), rawType: MediaPatch, rawSize: int64(len(body)), revision: revision,
	})
}

// PatchAgent changes what p names of an agent. Revision 0 is whatever it is
// now.
func (c *Client) PatchAgent(ctx context.Context, name string, p Patch, revision int64) (Agent, error) {
	return patchResource[Agent](ctx, c, p, revision, "agents", name)
}

// PatchGroup changes what p names of a group.
func (c *Client) PatchGroup(ctx context.Context, name string, p Patch, revision int64) (Group, error) {
	return patchResource[Group](ctx, c, p, revision, "groups", name)
}

// PatchStrategy changes what p names of a strategy; rollouts under way keep
// theirs.
func (c *Client) PatchStrategy(ctx context.Context, name string, p Patch, revision int64) (Strategy, error) {
	return patchResource[Strategy](ctx, c, p, revision, "strategies", name)
}

// PatchNotifyTarget changes what p names of a notification target.
func (c *Client) PatchNotifyTarget(ctx context.Context, name string, p Patch, revision int64) (NotifyTarget, error) {
	return patchResource[NotifyTarget](ctx, c, p, revision, "notifications", "targets", name)
}

// PatchAssignment changes what p names of an assignment, at once, and only
// what it names.
func (c *Client) PatchAssignment(ctx context.Context, agent string, s Scope, p Patch, revision int64) (Assignment, error) {
	return patchResource[Assignment](ctx, c, p, revision, "agents", agent, "assignments", s.String())
}
