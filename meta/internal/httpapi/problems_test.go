package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/httpapi"
)

func TestEachErrorHasItsStatusAndItsHint(t *testing.T) {
	for name, tc := range map[string]struct {
		err    error
		status int
		want   api.Problem // Title, Status and Instance are seen to
	}{
		"not there": {
			api.Errorf(api.KindNotFound, "there is no host x"), 404,
			api.Problem{Type: "urn:ops-meta:notFound", Detail: "there is no host x", Hint: "the list of its kind says what there is"},
		},
		"there": {
			api.Errorf(api.KindExists, "it is there"), 409,
			api.Problem{Type: "urn:ops-meta:exists", Detail: "it is there", Hint: "read what is there, or choose another name"},
		},
		"changed": {
			api.Errorf(api.KindConflict, "it changed"), 409,
			api.Problem{Type: "urn:ops-meta:conflict", Detail: "it changed", Hint: "read it again and repeat the change on what you find"},
		},
		"fixed": {
			api.Errorf(api.KindImmutable, "it never changes"), 409,
			api.Problem{Type: "urn:ops-meta:immutable", Detail: "it never changes", Hint: "publish the new content under a new version"},
		},
		"too large": {
			api.Errorf(api.KindTooLarge, "over 1 GiB"), 413,
			api.Problem{Type: "urn:ops-meta:tooLarge", Detail: "over 1 GiB", Hint: "send less, or ask the administrator of ops-meta to raise the limit"},
		},
		"wrong, and why": {
			&api.Error{Kind: api.KindInvalid, Message: "cannot read it", Field: "arch", Err: errors.New("no dash")}, 400,
			api.Problem{Type: "urn:ops-meta:invalid", Detail: "cannot read it: no dash", Field: "arch", Hint: "such as linux_amd64"},
		},
		"names what there is not": {
			&api.Error{Kind: api.KindInvalid, Message: "there is no agent b", Field: "agent", Noun: "agent", Name: "b"}, 400,
			api.Problem{Type: "urn:ops-meta:missing", Detail: "there is no agent b", Field: "agent", Hint: "ops-meta agents lists them; ops-meta publish FILE adds one"},
		},
		"a hint of its own": {
			&api.Error{Kind: api.KindConflict, Message: "held", Hint: "release it"}, 409,
			api.Problem{Type: "urn:ops-meta:conflict", Detail: "held", Hint: "release it"},
		},
		"no database": {
			&api.Error{Kind: api.KindUnavailable, Message: "the database is away", Err: errors.New("dial 10.0.0.1")}, 503,
			api.Problem{Type: "urn:ops-meta:unavailable", Detail: "the database is away", Hint: "try again in a moment; the server's /readyz says what is missing"},
		},
		"out of time": {
			fmt.Errorf("query: %w", context.DeadlineExceeded), 503,
			api.Problem{Type: "urn:ops-meta:unavailable", Detail: "the request was not finished in time", Hint: "try again in a moment; the server's /readyz says what is missing"},
		},
		"anything else tells nothing": {
			errors.New("pq: password of user ops"), 500,
			api.Problem{Type: "urn:ops-meta:internal", Detail: "something went wrong in the server", Hint: "the server's log says more under this request's id"},
		},
		"wrapped": {
			fmt.Errorf("tx: %w", api.Errorf(api.KindConflict, "it changed")), 409,
			api.Problem{Type: "urn:ops-meta:conflict", Detail: "it changed", Hint: "read it again and repeat the change on what you find"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := known()
			m.fail = tc.err
			w := ask(newServer(t, m), api.RoleAdmin, "GET /hosts/x", "")
			want := tc.want
			want.Status, want.Title, want.Instance = tc.status, http.StatusText(tc.status), w.Header().Get("X-Request-Id")
			got := problem(t, w.Body.Bytes())
			if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) || w.Code != tc.status || w.Header().Get("Content-Type") != "application/problem+json" {
				t.Errorf("got  %d %+v\nwant %+v", w.Code, got, want)
			}
		})
	}
}

func TestWhatThereIsNotComesWithTheNearestName(t *testing.T) {
	m := known()
	m.nearest = "a"
	if p := problem(t, ask(newServer(t, m), api.RoleViewer, "GET /agents/aa", "").Body.Bytes()); p.Hint != `did you mean "a"?` {
		t.Errorf("got %+v", p)
	}
}

// brokenCare fails in the way that a test needs.
type brokenCare struct {
	*memory
	backup func(w io.Writer) error
}

func (b brokenCare) Backup(_ context.Context, _ api.Actor, w io.Writer) error { return b.backup(w) }

// A reader must never take half an answer for a whole one.
func TestAFailureInTheMiddleBreaksTheConnection(t *testing.T) {
	half := func(w io.Writer) {
		_, _ = io.WriteString(w, "half of it")
		_ = http.NewResponseController(w.(http.ResponseWriter)).Flush()
	}
	for name, tc := range map[string]struct {
		backup func(io.Writer) error
		status int // 0: no whole answer
	}{
		"refused before":    {func(io.Writer) error { return api.Errorf(api.KindConflict, "one is running") }, 409},
		"panicked before":   {func(io.Writer) error { panic("nil map") }, 500},
		"failed halfway":    {func(w io.Writer) error { half(w); return errors.New("disk") }, 0},
		"panicked halfway":  {func(w io.Writer) error { half(w); panic("nil map") }, 0},
		"said it is broken": {func(w io.Writer) error { half(w); panic(http.ErrAbortHandler) }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			b, counted := known().backend(), make(chan int, 1)
			b.Care = brokenCare{newMemory(), tc.backup}
			s, err := httpapi.New(httpapi.Config{
				Access: httpapi.NewAccess(httpapi.AccessConfig{Tokens: badge{}}), Feed: &httpapi.Feed{}, Backend: b, Log: zerolog.Nop(),
				Observe: func(operation string, status int, _ float64) {
					if operation == "backup" {
						counted <- status
					}
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			srv := httptest.NewServer(s)
			defer srv.Close()
			srv.Config.ErrorLog = nil
			c, err := api.NewClient(api.ClientConfig{Server: srv.URL, Token: "admin"})
			if err != nil {
				t.Fatal(err)
			}
			var got strings.Builder
			err = c.Backup(t.Context(), &got)
			var p *api.Problem
			switch {
			case err == nil:
				t.Error("it was taken for complete")
			case tc.status > 0 && (!errors.As(err, &p) || p.Status != tc.status || strings.Contains(p.Detail, "nil map")):
				t.Errorf("got %v", err)
			case tc.status == 0 && !errors.Is(err, io.ErrUnexpectedEOF):
				t.Errorf("got %v, want that it broke off", err)
			}
			if status := <-counted; tc.status > 0 && status != tc.status || tc.status == 0 && status != 200 {
				t.Errorf("counted as %d", status)
			}
		})
	}
}
