package httpapi_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/ops-updater/ops-updater/meta/api"
)

// fuzzAsk asks with a body or parameters of a stranger and checks that the reply is
// JSON, or a stream of events, that what is refused says why, and that what is refused changes nothing.
func fuzzAsk(t *testing.T, request, body string) {
	t.Helper()
	m := known()
	w := ask(newServer(t, m), api.RoleAdmin, request, body)
	if w.Code >= http.StatusInternalServerError {
		t.Fatalf("%s %q is answered %d %s", request, body, w.Code, w.Body)
	}
	streams := w.Code == http.StatusOK && w.Header().Get("Content-Type") == "text/event-stream"
	if w.Body.Len() > 0 && !streams && !json.Valid(w.Body.Bytes()) {
		t.Fatalf("%s %q is answered with no JSON: %q", request, body, w.Body)
	}
	if w.Code < http.StatusBadRequest {
		return
	}
	var p api.Problem
	if json.Unmarshal(w.Body.Bytes(), &p) != nil || p.Status != w.Code || p.Title == "" || p.Hint == "" {
		t.Fatalf("%s %q is refused as %s", request, body, w.Body)
	}
	for _, asked := range m.questions() {
		if w.Code == http.StatusBadRequest && !strings.HasPrefix(strings.ToLower(asked), "get") && !strings.HasPrefix(strings.ToLower(asked), "unknown") {
			t.Fatalf("%s %q is refused with %d, and the backend was asked %q", request, body, w.Code, asked)
		}
	}
}

// FuzzBody: bodies of every noun that operators write.
func FuzzBody(f *testing.F) {
	for i, s := range []string{`{"description":"x"}`, `{"keep":"three"}`, `{} {}`, `[`, `{"selector":{"regexps":["("]}}`, `{"stages":[{"count":-1}]}`, "\xff", ``} {
		f.Add(i, s)
	}
	requests := []string{"PUT /agents/a", "PATCH /agents/a", "PUT /groups/a", "POST /rollouts", "POST /holds", "POST /selectors/match", "PUT /strategies/a", "PUT /notify-targets/a", "POST /tokens", "PUT /agents/a/assignments/everyone"}
	f.Fuzz(func(t *testing.T, which int, body string) {
		fuzzAsk(t, requests[uint(which)%uint(len(requests))], body)
	})
}

// FuzzParameters: parameters of every listing.
func FuzzParameters(f *testing.F) {
	for i, s := range []string{"limit=-1", "limit=99999999999999999999", "cursor=%00", "since=yesterday", "label==x", "scope=all", "state=x", "q=%ff", "limit=1&limit=2", "after=x", ""} {
		f.Add(i, s)
	}
	requests := []string{"GET /hosts", "GET /agents", "GET /groups", "GET /rollouts", "GET /holds", "GET /audit", "GET /events", "GET /tokens"}
	f.Fuzz(func(t *testing.T, which int, query string) {
		values, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		fuzzAsk(t, requests[uint(which)%uint(len(requests))]+"?"+values.Encode(), "")
	})
}
