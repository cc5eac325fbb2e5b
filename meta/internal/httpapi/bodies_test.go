package httpapi_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ops-updater/ops-updater/meta/api"
)

func TestBodiesThatAreRefused(t *testing.T) {
	const put, patch = "PUT /agents/a", "PATCH /agents/a"
	for name, tc := range map[string]struct {
		request, body string
		status        int
		field, detail string // detail: a part of it
		hint          string // a part; empty: any
	}{
		"nothing":                 {put, "", 400, "", "the body is empty", "send a JSON object"},
		"no JSON":                 {put, "name: a", 400, "", "the body is not JSON", ""},
		"half of it":              {put, `{"description":"x`, 400, "", "the body is not", ""},
		"two of them":             {put, `{} {}`, 400, "", "goes on after its JSON value", ""},
		"a list":                  {put, `[]`, 400, "", "the body must be an object, not an array", ""},
		"text for a number":       {put, `{"keep":"three"}`, 400, "keep", "keep must be a whole number, not a string", ""},
		"a number for a switch":   {"POST /rollouts", `{"draft":1}`, 400, "draft", "draft must be true or false, not a number", ""},
		"a word for a list":       {"POST /selectors/match", `{"hosts":"h"}`, 400, "hosts", "hosts must be an array, not a string", ""},
		"a switch for an object":  {"POST /rollouts", `{"scope":true}`, 400, "scope", "scope must be an object, not true or false", ""},
		"a field of a typo":       {put, `{"runuser":"x","probatoin":3}`, 400, "probatoin", `the field "probatoin" is not known`, `did you mean "probation"?`},
		"a field of nothing":      {put, `{"zzzzzzzzzzzz":3}`, 400, "zzzzzzzzzzzz", "is not known", "mend what the message names"},
		"a very long field":       {put, `{"` + strings.Repeat("x", 5000) + `":1}`, 400, strings.Repeat("x", 5000), strings.Repeat("x", 80) + "…", ""},
		"another name":            {put, `{"name":"b"}`, 400, "name", `the body's name "b" is not the address's "a"`, ""},
		"nested too deep":         {put, strings.Repeat("[", 33) + strings.Repeat("]", 33), 400, "", "nested deeper than 32", ""},
		"too much in it":          {put, "[" + strings.Repeat("1,", 200_000) + "1]", 400, "", "200000 items", ""},
		"too long":                {put, `{"description":"` + strings.Repeat("x", 8<<20) + `"}`, 413, "", "8388608 bytes", "send less at once"},
		"a patch of the name":     {patch, `{"name":"b"}`, 400, "name", `a name never changes: it is "a"`, ""},
		"a patch of a wrong kind": {patch, `{"keep":"x"}`, 400, "keep", "keep must be a whole number", ""},
		"a patch of a typo":       {patch, `{"descriptio":"x"}`, 400, "descriptio", "is not known", `did you mean "description"?`},
		"an assignment elsewhere": {"PUT /agents/a/assignments/everyone", `{"agent":"b"}`, 400, "scope", "the body is for b on , the address for a on everyone", ""},
		"no scope of ours":        {"PUT /agents/a/assignments/all", `{}`, 400, "scope", `scope "all" is not known`, "ops-meta group list"},
		"a selector of nonsense":  {"POST /selectors/match", `{"regexps":["("]}`, 400, "regexps[0]", "regexps[0]", ""},
		"no role of ours":         {"POST /tokens", `{"name":"b","role":"king"}`, 400, "role", "king", "a role is viewer"},
		"a life below zero":       {"POST /tokens", `{"name":"b","role":"viewer","ttl":-1}`, 400, "ttl", "got -1", ""},
		"a long signature":        {"PUT /agents/a/releases/1/artifacts/linux_amd64/signature", strings.Repeat("x", 4097), 413, "", "4096 bytes", ""},
		"no number of a letter":   {"POST /notifications/dead/x/retry", "", 400, "id", `id "x" is not a number`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			m := known()
			w := ask(newServer(t, m), api.RoleAdmin, tc.request, tc.body)
			p := problem(t, w.Body.Bytes())
			if w.Code != tc.status || p.Status != tc.status || p.Field != tc.field || !strings.Contains(p.Detail, tc.detail) {
				t.Errorf("got %d %+v", w.Code, p)
			}
			if p.Hint == "" || !strings.Contains(p.Hint, tc.hint) {
				t.Errorf("hint %q", p.Hint)
			}
			for _, asked := range m.questions() {
				if !strings.HasPrefix(asked, "get") {
					t.Errorf("the backend was asked %q", asked)
				}
			}
		})
	}
}

func TestAHostThatCouldNeverReportIsNotEnrolled(t *testing.T) {
	for _, name := range []string{"", "a b", "../x", strings.Repeat("h", 254)} {
		m := known()
		w := ask(newServer(t, m), api.RoleEnroll, "POST /enroll", `{"hostname":"`+name+`"}`)
		if p := problem(t, w.Body.Bytes()); p.Status != 400 || p.Field != "hostname" || len(m.questions()) > 0 {
			t.Errorf("%q: %+v", name, p)
		}
	}
}

func TestAPatchChangesWhatItNames(t *testing.T) {
	m := known()
	m.agents.byName["a"] = api.Agent{Name: "a", Description: "d", RunUser: "u", Keep: 2, Revision: 4}
	if w := ask(newServer(t, m), api.RoleOperator, "PATCH /agents/a", `{"keep":5,"runUser":null}`); w.Code != 200 {
		t.Fatal(w.Body)
	}
	want := api.Agent{Name: "a", Description: "d", Keep: 5, Revision: 5}
	if diff := cmp.Diff(want, m.agents.byName["a"]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Lists are lists also where there is nothing, and what may be left out is not
// there at all.
func TestRepliesHaveListsWhereThereIsNothing(t *testing.T) {
	m := known()
	m.answers["Hosts"] = api.Page[api.Host]{Items: []api.Host{{Name: "h"}}}
	s := newServer(t, m)
	for request, want := range map[string][2]string{
		"GET /hosts":    {`"agents":[]`, `"labels"`},
		"GET /rollouts": {`"items":[]`, `"next"`},
		"GET /history":  {`[]`, `null`},
		"GET /overview": {`"arches":{}`, `"standstill"`},
		"GET /groups":   {`"items":[{"name":"web"`, `null`},
		"GET /doctor":   {`[]`, `null`},
		"GET /agents/a": {`"name":"a"`, `"keep"`},
	} {
		w := ask(s, api.RoleAdmin, request, "")
		if got := w.Body.String(); !strings.Contains(got, want[0]) || strings.Contains(got, want[1]) {
			t.Errorf("%s: %s", request, got)
		}
	}
}
