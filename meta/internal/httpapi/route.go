package httpapi

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"

	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/meta/api"
)

// route is one operation of the API; the table of them is in routes.go.
type route struct {
	method  string
	path    string // below /api/v1, in the notation of http.ServeMux
	id      string // operationId
	summary string
	role    api.Role // that the caller needs at least; empty: no token at all
	remit   remitRule
	query   []param
	guarded bool // takes If-Match
	endpoint
}

// tagOf groups operations in the document: the path's first segment.
func (r route) tagOf() string { return firstSegment(r.path) }

// param is a parameter in the query.
type param struct {
	name, about string
	kind        string // JSON schema type; empty: string
}

// checkQuery refuses parameters that the operation does not read: a filter that
// is misspelt would find everything.
func (r route) checkQuery(raw string) error {
	query, err := url.ParseQuery(raw)
	if err != nil {
		return api.InvalidField("query", "the query cannot be read: %v", err)
	}
	var known []string
	for _, p := range r.query {
		known = append(known, p.name)
	}
	for _, name := range slices.Sorted(maps.Keys(query)) {
		if slices.Contains(known, name) {
			continue
		}
		e := api.InvalidField(printable.Clip(name), "the parameter %q is not known", printable.Clip(name))
		switch near := api.Nearest(printable.Clip(name), known); {
		case near != "":
			e.Hint = fmt.Sprintf("did you mean %q?", near)
		case len(known) > 0:
			e.Hint = "known are " + api.SomeOf(known)
		default:
			e.Hint = "there are no parameters here"
		}
		return e
	}
	return nil
}

// endpoint is a handler with what the document says of its bodies.
type endpoint struct {
	in       reflect.Type // nil: no JSON body
	inMedia  string       // of a body that is not JSON
	out      reflect.Type // nil: no JSON reply
	outMedia string       // of a reply that is not JSON
	status   int
	serve    func(*call) error
}

// reads is an endpoint that takes no body.
func reads[Out any](f func(*call) (Out, error)) endpoint {
	return endpoint{out: reflect.TypeFor[Out](), status: http.StatusOK, serve: func(c *call) error {
		out, err := f(c)
		if err != nil {
			return err
		}
		return c.writeReply(http.StatusOK, out)
	}}
}

// takes is an endpoint that takes a JSON body.
func takes[In, Out any](status int, f func(*call, In) (Out, error)) endpoint {
	return endpoint{in: reflect.TypeFor[In](), out: reflect.TypeFor[Out](), status: status, serve: func(c *call) error {
		var in In
		if err := c.decodeBody(&in); err != nil {
			return err
		}
		out, err := f(c, in)
		if err != nil {
			return err
		}
		return c.writeReply(status, out)
	}}
}

// patches is an endpoint that takes a merge patch of a T and hands on what the
// patch makes of one.
func patches[T any](f func(c *call, change func(T) (T, error)) (T, error)) endpoint {
	e := endpoint{in: reflect.TypeFor[T](), inMedia: api.MediaPatch, out: reflect.TypeFor[T](), status: http.StatusOK}
	e.serve = func(c *call) error {
		var p api.Patch
		if err := c.decodeBody(&p); err != nil {
			return err
		}
		out, err := f(c, func(noun T) (T, error) {
			var changed T
			if err := p.Apply(noun, &changed); err != nil {
				return noun, explainJSON(err, reflect.TypeFor[T]())
			}
			return changed, nil
		})
		if err != nil {
			return err
		}
		return c.writeReply(e.status, out)
	}
	return e
}

// uploads is an endpoint that takes a body of another media type as it comes.
func uploads[Out any](media string, f func(*call) (Out, error)) endpoint {
	e := reads(f)
	e.inMedia = media
	return e
}

// acts is an endpoint that takes and returns nothing.
func acts(f func(*call) error) endpoint {
	return endpoint{status: http.StatusNoContent, serve: func(c *call) error {
		if err := f(c); err != nil {
			return err
		}
		c.w.WriteHeader(http.StatusNoContent)
		return nil
	}}
}

// streams is an endpoint that writes its own reply. An error after the first
// byte breaks the connection.
func streams(media string, f func(*call) error) endpoint {
	return endpoint{outMedia: media, status: http.StatusOK, serve: f}
}
