package httpapi_test

import (
	"strings"
	"testing"

	"github.com/ops-updater/ops-updater/meta/api"
)

func TestGuardedWrites(t *testing.T) {
	const at3 = `If-Match: "3"`
	for name, tc := range map[string]struct {
		request, guard string
		status         int
		revision       int64 // of agent a afterwards; 0: it is gone
		detail         string
	}{
		"put, whatever is there":     {"PUT /agents/a", "", 200, 4, ""},
		"put, at its revision":       {"PUT /agents/a", at3, 200, 4, ""},
		"put, with a weak tag":       {"PUT /agents/a", `If-Match: W/"3"`, 200, 4, ""},
		"put, at any revision":       {"PUT /agents/a", `If-Match: *`, 200, 4, ""},
		"put, at an older one":       {"PUT /agents/a", `If-Match: "2"`, 409, 3, "Agent a is at revision 3"},
		"put, only a new one":        {"PUT /agents/a", `If-None-Match: *`, 409, 3, "Agent a is there already"},
		"put, a new one":             {"PUT /agents/b", `If-None-Match: *`, 200, 3, ""},
		"put, with a foreign tag":    {"PUT /agents/a", `If-Match: "abc"`, 400, 3, `If-Match "\"abc\"" is no revision of ours`},
		"put, with revision nought":  {"PUT /agents/a", `If-Match: "0"`, 400, 3, "is no revision of ours"},
		"patch, at its revision":     {"PATCH /agents/a", at3, 200, 4, ""},
		"patch, at an older one":     {"PATCH /agents/a", `If-Match: "2"`, 409, 3, "Agent a is at revision 3"},
		"patch, what is not there":   {"PATCH /agents/a", `If-None-Match: *`, 400, 3, "PUT makes it"},
		"delete, at its revision":    {"DELETE /agents/a", at3, 204, 0, ""},
		"delete, at an older one":    {"DELETE /agents/a", `If-Match: "2"`, 409, 3, "Agent a is at revision 3"},
		"delete, with a foreign tag": {"DELETE /agents/a", `If-Match: "x"`, 400, 3, "is no revision of ours"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMemory()
			m.agents.byName["a"] = api.Agent{Name: "a", Revision: 3}
			var headers []string
			if tc.guard != "" {
				headers = append(headers, tc.guard)
			}
			w := ask(newServer(t, m), api.RoleOperator, tc.request, "{}", headers...)
			if w.Code != tc.status || !strings.Contains(w.Body.String(), strings.ReplaceAll(tc.detail, `"`, `\"`)) && tc.status != 400 {
				t.Errorf("status %d: %s", w.Code, w.Body)
			}
			if tc.status/100 == 4 {
				if p := problem(t, w.Body.Bytes()); !strings.Contains(p.Detail, tc.detail) {
					t.Errorf("detail %q", p.Detail)
				}
			}
			if now := m.agents.byName["a"].Revision; now != tc.revision {
				t.Errorf("a is at revision %d, want %d", now, tc.revision)
			}
		})
	}
}

// Assignments are guarded by the same words, though they have no name.
func TestGuardedAssignments(t *testing.T) {
	m := known()
	s := newServer(t, m)
	for request, want := range map[string]string{
		"PUT /agents/a/assignments/everyone":    "PutAssignment" + byAnn + " a everyone  7 {DryRun:false Force:false}",
		"PATCH /agents/a/assignments/everyone":  "ChangeAssignment" + byAnn + " a everyone 7",
		"DELETE /agents/a/assignments/everyone": "DeleteAssignment" + byAnn + " a everyone 7",
	} {
		m.questions()
		ask(s, api.RoleOperator, request, "{}", `If-Match: "7"`)
		if got := m.questions(); len(got) != 1 || got[0] != want {
			t.Errorf("%s: asked %q, want %q", request, got, want)
		}
		if w := ask(s, api.RoleOperator, request, "{}", `If-Match: x`); w.Code != 400 || len(m.questions()) > 0 {
			t.Errorf("%s: status %d", request, w.Code)
		}
	}
	m.answers["ChangeAssignment"] = api.Assignment{Agent: "a", Scope: api.Scope{Kind: api.ScopeEveryone}}
	for _, body := range []string{`{"agent":"b"}`, `{"scope":{"kind":"group","name":"g"}}`} {
		if p := problem(t, ask(s, api.RoleOperator, "PATCH /agents/a/assignments/everyone", body).Body.Bytes()); p.Status != 400 || p.Field != "scope" {
			t.Errorf("%s: %+v", body, p)
		}
	}
}

func TestWhatIsReadCarriesItsTag(t *testing.T) {
	m := newMemory()
	m.agents.byName["a"] = api.Agent{Name: "a", Revision: 3}
	m.answers["Host"] = api.Host{Name: "h"}
	s := newServer(t, m)
	if w := ask(s, api.RoleViewer, "GET /agents/a", ""); w.Header().Get("ETag") != `"3"` {
		t.Errorf("tag %q", w.Header().Get("ETag"))
	}
	if w := ask(s, api.RoleViewer, "GET /agents/a", "", `If-None-Match: "3"`); w.Code != 304 || w.Body.Len() > 0 {
		t.Errorf("unchanged: %d %s", w.Code, w.Body)
	}
	if w := ask(s, api.RoleViewer, "GET /agents/a", "", `If-None-Match: "2"`); w.Code != 200 {
		t.Errorf("changed: %d", w.Code)
	}
	if w := ask(s, api.RoleOperator, "PUT /agents/a", "{}"); w.Header().Get("ETag") != `"4"` {
		t.Errorf("tag of what was written: %q", w.Header().Get("ETag"))
	}
	if w := ask(s, api.RoleViewer, "GET /hosts/h", ""); w.Header().Get("ETag") != "" {
		t.Error("a host has no revision, but a tag")
	}
}
