package httpapi

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/ops-updater/ops-updater/internal/jsonbound"
	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/bodies"
)

// Limits of a JSON body.
const (
	maxBody  = 8 << 20 // bytes; a fleet file is the largest
	maxDepth = 32      // of nested objects and lists
	maxItems = 200_000 // of all objects and lists together
)

// call is one request on its way through a handler.
type call struct {
	*http.Request
	w      http.ResponseWriter
	server *Server
	caller api.Identity
	held   int64 // of the server's room for large bodies
}

// giveRoomBack ends what the call held.
func (c *call) giveRoomBack() {
	if c.held > 0 {
		c.server.room.Give(c.held)
	}
}

// actor is the caller as the audit log names it.
func (c *call) actor() api.Actor {
	return api.Actor{Name: c.caller.Name, From: c.caller.From, Remits: c.caller.Remits}
}

// onlyLooks reports whether the caller may change nothing.
func (c *call) onlyLooks() bool { return !roleAllows(c.caller.Role, api.RoleOperator) }

// guardRevision is what the request's preconditions ask of a guarded write: 0
// nothing, [api.MustNotExist], or a revision.
func (c *call) guardRevision() (int64, error) {
	if c.Header.Get("If-None-Match") == "*" {
		return api.MustNotExist, nil
	}
	tag := strings.TrimPrefix(c.Header.Get("If-Match"), "W/")
	if tag == "" || tag == "*" {
		return 0, nil
	}
	n, err := strconv.ParseInt(strings.Trim(tag, `"`), 10, 64)
	if err != nil || n <= 0 {
		return 0, &api.Error{
			Kind: api.KindInvalid, Field: "If-Match", Message: fmt.Sprintf("If-Match %q is no revision of ours", printable.Clip(tag)),
			Hint: "send the ETag of the latest read as it is",
		}
	}
	return n, nil
}

// nounKey is the noun that a part of the path names, at the revision that the
// preconditions ask for.
func (c *call) nounKey(part string) (api.NounKey, error) {
	revision, err := c.guardRevision()
	if err == nil && revision == api.MustNotExist {
		err = api.InvalidField("If-None-Match", "what is not there cannot be changed; PUT makes it")
	}
	return api.NounKey{Name: c.PathValue(part), Revision: revision}, err
}

// pageCursor is the page that a listing is asked for.
func (c *call) pageCursor() (api.Cursor, error) {
	q := c.URL.Query()
	limit, err := intParam(q.Get("limit"), "limit", api.DefaultPage)
	if err != nil {
		return api.Cursor{}, err
	}
	return api.Cursor{After: q.Get("cursor"), Limit: min(max(limit, 1), api.MaxPage)}, nil
}

func intParam(s, name string, fallback int) (int, error) {
	if s == "" {
		return fallback, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 {
		return 0, api.InvalidField(name, "%s %q is not a number", name, printable.Clip(s))
	}
	return n, nil
}

func (c *call) boolParam(name string) (bool, error) {
	s := c.URL.Query().Get(name)
	if s == "" {
		return false, nil
	}
	on, err := strconv.ParseBool(s)
	if err != nil {
		return false, api.InvalidField(name, "%s %q is neither true nor false", name, printable.Clip(s))
	}
	return on, nil
}

func (c *call) timeParam(name string) (time.Time, error) {
	s := c.URL.Query().Get(name)
	if s == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}, api.InvalidField(name, "%s %q is not a time such as 2006-01-02T15:04:05Z", name, printable.Clip(s))
	}
	return t, nil
}

// decodeBody reads a JSON body within the limits. A field that is not known is
// refused with the nearest one that is.
func (c *call) decodeBody(into any) error {
	data, err := c.readAll(maxBody)
	if err != nil {
		return err
	}
	if err := checkShape(data); err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return explainJSON(err, reflect.TypeOf(into).Elem())
	}
	if dec.More() {
		return api.InvalidField("", "the body goes on after its JSON value")
	}
	return nil
}

// readAll reads a body of at most limit bytes.
func (c *call) readAll(limit int64) ([]byte, error) {
	var buf bytes.Buffer
	err := c.server.arrivals.Read(bodies.Exchange{W: c.w, R: c.Request, From: func() string { return c.caller.From }, Limit: limit}, &buf)
	var large *bodies.TooLarge
	switch {
	case errors.As(err, &large):
		return nil, err
	case errors.Is(err, bodies.ErrGaveWay), errors.Is(err, bodies.ErrSlow):
		return nil, &api.Error{Kind: api.KindUnavailable, Message: err.Error(), Hint: "send it again"}
	case err != nil:
		return nil, &api.Error{Kind: api.KindInvalid, Message: "the body broke off", Err: err, Hint: "send it again"}
	}
	if n := int64(buf.Len()); n > bodies.Small {
		if !c.server.room.Take(n) {
			return nil, &api.Error{Kind: api.KindUnavailable, Message: "too many large requests are being worked on", Hint: "try again in a moment"}
		}
		c.held += n
	}
	return buf.Bytes(), nil
}

// checkShape refuses JSON nested deeper, or with more in it, than anything we
// take.
func checkShape(data []byte) error {
	if err := jsonbound.Check(data, jsonbound.Limits{Depth: maxDepth, Items: maxItems}); err != nil {
		return api.InvalidField("", "the body is %v", err)
	}
	return nil
}

// explainJSON says what is wrong with a body in the operator's words.
func explainJSON(err error, want reflect.Type) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.Is(err, io.EOF):
		return &api.Error{Kind: api.KindInvalid, Message: "the body is empty", Hint: "send a JSON object"}
	case errors.As(err, &syntax):
		return api.InvalidField("", "the body is not JSON: %v at byte %d", syntax, syntax.Offset)
	case errors.As(err, &kind):
		return api.InvalidField(kind.Field, "%s must be %s, not %s", cmp.Or(kind.Field, "the body"), jsonKindOf(kind.Type), article(kind.Value))
	}
	field, unknown := strings.CutPrefix(err.Error(), "json: unknown field ")
	if !unknown {
		return api.InvalidField("", "the body is not usable: %v", err)
	}
	field = strings.Trim(field, `"`)
	e := api.InvalidField(field, "the field %q is not known", printable.Clip(field))
	if near := api.Nearest(field, jsonFields(want, nil)); near != "" {
		e.Hint = fmt.Sprintf("did you mean %q?", near)
	}
	return e
}

// jsonKindOf is what JSON calls a type.
func jsonKindOf(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int32, reflect.Int64:
		return "a whole number"
	case reflect.Float64:
		return "a number"
	case reflect.Slice:
		return "an array"
	}
	return "an object"
}

// article is a noun of encoding/json, such as array, with its article.
func article(noun string) string {
	switch {
	case noun == "bool":
		return "true or false"
	case strings.ContainsRune("aeiou", rune(noun[0])):
		return "an " + noun
	}
	return "a " + noun
}

// jsonFields are the names of t's fields and of everything below it.
func jsonFields(t reflect.Type, names []string) []string {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice:
		return jsonFields(t.Elem(), names)
	case reflect.Struct:
		if t == reflect.TypeFor[time.Time]() {
			return names
		}
		for f := range fieldsOf(t) {
			names = jsonFields(f.Type, append(names, f.name))
		}
	}
	return names
}

// writeReply writes out as JSON. What has a revision carries it as ETag, and a
// read whose If-None-Match is that tag gets 304.
func (c *call) writeReply(status int, out any) error {
	data, err := json.Marshal(withLists(out))
	if err != nil {
		return fmt.Errorf("cannot encode the reply: %w", err)
	}
	h := c.w.Header()
	if tag := etagOf(out); tag != "" {
		h.Set("ETag", tag)
		if c.Method == http.MethodGet && c.Header.Get("If-None-Match") == tag {
			c.w.WriteHeader(http.StatusNotModified)
			return nil
		}
	}
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	c.w.WriteHeader(status)
	_, err = c.w.Write(append(data, '\n'))
	return err
}

func etagOf(out any) string {
	v := reflect.ValueOf(out)
	if v.Kind() != reflect.Struct {
		return ""
	}
	revision := v.FieldByName("Revision")
	if !revision.IsValid() || revision.Kind() != reflect.Int64 || revision.Int() <= 0 {
		return ""
	}
	return api.ETag(revision.Int())
}
