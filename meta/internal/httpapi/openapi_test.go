package httpapi_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"github.com/ops-updater/ops-updater/meta/api"
)

func init() {
	openapi3filter.RegisterBodyDecoder("application/problem+json", func(r io.Reader, _ http.Header, _ *openapi3.SchemaRef, _ openapi3filter.EncodingFn) (any, error) {
		var v any
		err := json.NewDecoder(r).Decode(&v)
		return v, err
	})
}

// document is what the server says of itself, with a finder of its operations.
func document(t *testing.T, s http.Handler) (*openapi3.T, routers.Router) {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(ask(s, "", "GET /openapi.json", "").Body.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	finder, err := gorillamux.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	return doc, finder
}

// Every operation answers as its document says: with nothing to say, with
// something in every field, and when it refuses.
func TestRepliesAreAsTheDocumentSays(t *testing.T) {
	for name, tc := range map[string]struct {
		role   func(operation string) api.Role
		full   bool
		fail   error
		status int // 0: the documented one of a success
	}{
		"with nothing":               {role: callerOf},
		"with everything":            {role: callerOf, full: true},
		"to callers without a token": {role: func(string) api.Role { return "" }, status: 401},
		"to callers that may not":    {role: func(string) api.Role { return api.RoleHost }, status: 403},
		"while the database is out":  {role: callerOf, fail: api.Errorf(api.KindUnavailable, "it is away"), status: 503},
		"while something is broken":  {role: callerOf, fail: io.ErrUnexpectedEOF, status: 500},
	} {
		t.Run(name, func(t *testing.T) {
			m := known()
			m.full, m.fail = tc.full, tc.fail
			s := newServer(t, m)
			doc, finder := document(t, s)
			covered := map[string]bool{}
			for _, x := range exchanges {
				m.questions()
				w := ask(s, tc.role(x.operation), x.request, x.body)
				op := checkReply(t, finder, x, w)
				covered[op.OperationID] = true
				want := tc.status
				if want == 0 || want < 500 && len(*op.Security) == 0 || want >= 500 && len(m.questions()) == 0 || x.operation == "doctor" && want >= 500 {
					want = successOf(op)
				}
				if w.Code != want {
					t.Errorf("%s: status %d, want %d: %s", x.request, w.Code, want, w.Body)
				}
			}
			for path, item := range doc.Paths.Map() {
				for method, op := range item.Operations() {
					if !covered[op.OperationID] {
						t.Errorf("%s %s (%s) is in no exchange of this test", method, path, op.OperationID)
					}
				}
			}
		})
	}
}

// successOf is the one status of an operation that is no refusal.
func successOf(op *openapi3.Operation) int {
	for _, status := range []int{200, 201, 204} {
		if op.Responses.Status(status) != nil {
			return status
		}
	}
	return 0
}

// checkReply holds an exchange against the operation that the document has for
// it.
func checkReply(t *testing.T, finder routers.Router, x exchange, w *httptest.ResponseRecorder) *openapi3.Operation {
	t.Helper()
	method, path, _ := strings.Cut(x.request, " ")
	req := httptest.NewRequest(method, "http://h/api/v1"+path, strings.NewReader(x.body))
	route, params, err := finder.FindRoute(req)
	if err != nil {
		t.Fatalf("%s is not in the document: %v", x.request, err)
	}
	if route.Operation.OperationID != x.operation {
		t.Errorf("%s is called %s, want %s", x.request, route.Operation.OperationID, x.operation)
	}
	kind := w.Header().Get("Content-Type")
	options := &openapi3filter.Options{
		AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true,
		ExcludeResponseBody: !strings.Contains(kind, "json") || strings.Contains(kind, "openapi"), // no schema to hold it against
	}
	out := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: req, PathParams: params, Route: route, Options: options},
		Status:                 w.Code, Header: w.Header(), Options: options,
	}
	out.SetBodyBytes(w.Body.Bytes())
	if err := openapi3filter.ValidateResponse(t.Context(), out); err != nil {
		t.Errorf("%s: response %d: %v\n%s", x.request, w.Code, err, w.Body)
	}
	if strings.Contains(kind, "json") && bytes.Contains(w.Body.Bytes(), []byte(":null")) {
		t.Errorf("%s: response %d says null\n%s", x.request, w.Code, w.Body)
	}
	return route.Operation
}

// What the document lists, an operation takes; what it does not, it refuses.
func TestParametersAreAsTheDocumentSays(t *testing.T) {
	values := map[string]string{
		"scope": "group:web", "since": "2026-01-02T03:04:05Z", "until": "2026-01-02T03:04:05Z", "label": "a=b", "role": "host",
		"kind": api.EventVersion, "from": "2026-01-02T03:04:05Z",
	}
	m := known()
	s := newServer(t, m)
	_, finder := document(t, s)
	for _, x := range exchanges {
		method, path, _ := strings.Cut(x.request, " ")
		path, _, _ = strings.Cut(path, "?")
		route, _, err := finder.FindRoute(httptest.NewRequest(method, "http://h/api/v1"+path, nil))
		if err != nil {
			t.Fatal(err)
		}
		query := url.Values{}
		for _, p := range route.Operation.Parameters {
			if p.Value.In != "query" {
				continue
			}
			value := values[p.Value.Name]
			switch {
			case p.Value.Schema.Value.Type.Is("boolean"):
				value = "true"
			case p.Value.Schema.Value.Type.Is("integer"):
				value = "3"
			case value == "" && p.Value.Name == "state":
				value = map[string]string{"listRollouts": "active", "listGrants": "failed", "listRolloutHosts": "held"}[x.operation]
			case value == "":
				value = "x"
			}
			query.Set(p.Value.Name, value)
		}
		if w := ask(s, callerOf(x.operation), method+" "+path+"?"+query.Encode(), x.body); w.Code/100 != 2 {
			t.Errorf("%s %s?%s: %d %s", method, path, query.Encode(), w.Code, w.Body)
		}
		m.questions()
		query.Set("nosuch", "1")
		if w := ask(s, callerOf(x.operation), method+" "+path+"?"+query.Encode(), x.body); w.Code != 400 || len(m.questions()) > 0 {
			t.Errorf("%s %s takes a parameter that nobody knows: %d", method, path, w.Code)
		}
	}
}

// A body as the document describes it is taken, field by field.
func TestBodiesAreAsTheDocumentSays(t *testing.T) {
	s := newServer(t, known())
	_, finder := document(t, s)
	tried := 0
	for _, x := range exchanges {
		method, path, _ := strings.Cut(x.request, " ")
		route, _, err := finder.FindRoute(httptest.NewRequest(method, "http://h/api/v1"+path, nil))
		if err != nil {
			t.Fatal(err)
		}
		if route.Operation.RequestBody == nil {
			continue
		}
		for _, content := range route.Operation.RequestBody.Value.Content {
			if len(content.Schema.Value.Properties) == 0 {
				continue // no JSON of ours
			}
			for field := range content.Schema.Value.Properties {
				tried++
				// Null is nothing for each of them, so only the name is judged.
				w := ask(s, callerOf(x.operation), x.request, fmt.Sprintf(`{%q:null}`, field))
				if strings.Contains(w.Body.String(), `the field \"`) {
					t.Errorf("%s: the documented field %s: %s", x.request, field, w.Body)
				}
			}
			w := ask(s, callerOf(x.operation), x.request, `{"nosuchfield":1}`)
			if w.Code != 400 || !strings.Contains(w.Body.String(), `the field \"nosuchfield\" is not known`) {
				t.Errorf("%s: a field that is not documented: %d %s", x.request, w.Code, w.Body)
			}
		}
	}
	if tried < 50 {
		t.Errorf("only %d fields were tried", tried)
	}
}
