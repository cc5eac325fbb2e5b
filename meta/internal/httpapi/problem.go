package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/bodies"
)

// statusOf is the one place that turns a kind of error into an HTTP status.
var statusOf = map[api.ErrorKind]int{
	api.KindNotFound:    http.StatusNotFound,
	api.KindExists:      http.StatusConflict,
	api.KindConflict:    http.StatusConflict,
	api.KindImmutable:   http.StatusConflict,
	api.KindInvalid:     http.StatusBadRequest,
	api.KindUnavailable: http.StatusServiceUnavailable,
	api.KindTooLarge:    http.StatusRequestEntityTooLarge,
	api.KindInternal:    http.StatusInternalServerError,

	api.KindDenied:       http.StatusForbidden,
	api.KindOutsideRemit: http.StatusForbidden,
}

// hints are for errors that bring none of their own.
var hints = map[api.ErrorKind]string{
	api.KindNotFound:    "the list of its kind says what there is",
	api.KindTooLarge:    "send less, or ask the administrator of ops-meta to raise the limit",
	api.KindExists:      "read what is there, or choose another name",
	api.KindConflict:    "read it again and repeat the change on what you find",
	api.KindImmutable:   "publish the new content under a new version",
	api.KindUnavailable: "try again in a moment; the server's /readyz says what is missing",
	api.KindInternal:    "the server's log says more under this request's id",
}

// fieldHints are for inputs that are wrong, by the beginning of their name.
var fieldHints = []struct{ field, hint string }{
	{"selector.regexps", "regular expressions are RE2, such as web-[0-9]+, and match the whole name"},
	{"selector.globs", "patterns are such as web-*"},
	{"selector.cidrs", "networks are such as 10.0.0.0/8"},
	{"selector", "give hosts, prefixes, globs, regexps, cidrs, arches or labels"},
	{"arch", "such as linux_amd64"},
	{"version", "ops-meta releases lists what is published; ops-meta publish FILE adds to it"},
	{"agent", "ops-meta agents lists them; ops-meta publish FILE adds one"},
	{"scope", "ops-meta group list and ops-meta hosts say what there is"},
	{"role", "a role is viewer, operator, admin or enroll"},
	{"", "mend what the message names and try again"},
}

func hintOf(e *api.Error) string {
	if e.Kind != api.KindInvalid {
		return hints[e.Kind]
	}
	for _, h := range fieldHints {
		if strings.HasPrefix(e.Field, h.field) {
			return h.hint
		}
	}
	return ""
}

// denied is a request that its caller may not make.
type denied struct {
	status  int // 401, 403, 429 or 503
	message string
	hint    string
	wait    time.Duration
}

func (e *denied) Error() string { return e.message }

// HTTPStatus is how a heartbeat that is denied is answered.
func (e *denied) HTTPStatus() int { return e.status }

// RetryAfter is when the caller may come again; 0 when waiting won't help.
func (e *denied) RetryAfter() time.Duration { return e.wait }

// problemOf is what the caller is told of err.
func problemOf(err error) *api.Problem {
	var (
		d     *denied
		large *bodies.TooLarge
		e     *api.Error
		p     *api.Problem
	)
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &d):
		return &api.Problem{Type: problemType("denied"), Status: d.status, Detail: d.message, Hint: d.hint}
	case errors.As(err, &large):
		return &api.Problem{
			Type: problemType("tooLarge"), Status: http.StatusRequestEntityTooLarge, Detail: large.Error(),
			Hint: "send less at once",
		}
	case errors.As(err, &e):
		return problemOfKind(e)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return problemOfKind(&api.Error{Kind: api.KindUnavailable, Message: "the request was not finished in time"})
	}
	return problemOfKind(&api.Error{Kind: api.KindInternal, Message: "something went wrong in the server"})
}

func problemOfKind(e *api.Error) *api.Problem {
	p := &api.Problem{Type: problemType(string(e.Kind)), Status: statusOf[e.Kind], Detail: e.Message, Hint: e.Hint, Field: e.Field, Problems: e.Problems}
	if e.Kind == api.KindInvalid && e.Name != "" {
		p.Type = problemType(api.CodeMissing)
	}
	if p.Status == 0 {
		p.Status = http.StatusInternalServerError
	}
	if e.Err != nil && e.Kind == api.KindInvalid {
		p.Detail = e.Error()
	}
	if p.Hint == "" {
		p.Hint = hintOf(e)
	}
	return p
}

func problemType(code string) string { return "urn:ops-meta:" + code }

// writeProblem answers r with err, and logs what is the server's own fault.
func writeProblem(w http.ResponseWriter, r *http.Request, err error, log zerolog.Logger) {
	p := problemOf(err)
	p.Title = http.StatusText(p.Status)
	p.Instance = w.Header().Get("X-Request-Id")
	var d *denied
	refused := errors.As(err, &d)
	if p.Status >= http.StatusInternalServerError && !refused {
		log.Error().Err(err).Str("request", p.Instance).Str("method", r.Method).Str("path", r.URL.Path).Msg("request failed")
	}
	h := w.Header()
	if refused {
		if d.status == http.StatusUnauthorized {
			h.Set("WWW-Authenticate", `Bearer realm="ops-meta"`)
		}
		if d.wait > 0 {
			h.Set("Retry-After", strconv.Itoa(int(d.wait.Seconds())+1))
		}
	}
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p)
}
