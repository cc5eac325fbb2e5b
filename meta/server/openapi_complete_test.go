package server_test

import (
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

// Anyone who makes a client from the document learns from it what each operation
// takes, answers and refuses.
func TestTheDocumentIsComplete(t *testing.T) {
	_, doc := newChecked(t, start(t, newConfig(t)))
	described := map[string]bool{}
	for _, tag := range doc.Tags {
		described[tag.Name] = tag.Description != ""
	}
	ids := map[string]bool{}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			for _, gap := range gaps(path, method, op) {
				t.Errorf("%s %s: %s", method, path, gap)
			}
			if ids[op.OperationID] {
				t.Errorf("operationId %s is there twice", op.OperationID)
			}
			ids[op.OperationID] = true
			for _, tag := range op.Tags {
				if !described[tag] {
					t.Errorf("%s %s: tag %s has no description", method, path, tag)
				}
			}
		}
	}
}

// gaps is what the document does not say of an operation.
func gaps(path, method string, op *openapi3.Operation) (gaps []string) {
	need := func(there bool, what string) {
		if !there {
			gaps = append(gaps, what)
		}
	}
	need(op.OperationID != "" && op.Summary != "" && len(op.Tags) == 1, "no operationId, summary or tag")
	need(op.Security != nil, "no security")
	public := op.Security != nil && len(*op.Security) == 0
	statuses := []string{"500", "503"}
	if public {
		statuses = append(statuses, "4XX")
	} else {
		statuses = append(statuses, "401", "403", "429")
	}
	if strings.Contains(path, "{") {
		statuses = append(statuses, "404", "400")
	}
	if op.RequestBody != nil {
		statuses = append(statuses, "400", "413")
	}
	if method == "PUT" || method == "PATCH" || method == "DELETE" {
		statuses = append(statuses, "409")
	}
	for _, status := range statuses {
		r := op.Responses.Value(status)
		need(r != nil && r.Value != nil && *r.Value.Description != "" && r.Value.Content["application/problem+json"] != nil, "no "+status+" response that is a problem")
	}
	for status, r := range op.Responses.Map() {
		for media, content := range r.Value.Content {
			need(content.Schema != nil, "no schema of "+media+" in "+status)
		}
	}
	bodiless := path == "/api/v1/backup" || strings.HasPrefix(path, "/api/v1/keys/server") || strings.HasSuffix(path, "/prune") || strings.HasSuffix(path, "/test") || strings.HasSuffix(path, "/retry")
	need(op.RequestBody != nil || method == "GET" || method == "DELETE" || bodiless, "no request body")
	if op.RequestBody != nil {
		need(op.RequestBody.Value.Required, "a request body that is not required")
		for media, content := range op.RequestBody.Value.Content {
			need(content.Schema != nil, "no schema of the request's "+media)
		}
	}
	for _, p := range op.Parameters {
		need(p.Value.Description != "", "no description of the parameter "+p.Value.Name)
	}
	return gaps
}
