package httpapi

import (
	"encoding/json"
	"net/http"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"github.com/ops-updater/ops-updater/internal/buildinfo"
	"github.com/ops-updater/ops-updater/meta/api"
)

// prefix is where the API lives.
const prefix = "/api/v1"

func firstSegment(path string) string {
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return first
}

// document is the OpenAPI 3.1 description of routes.
func document(routes []route) ([]byte, error) {
	s := schemas{named: object{}}
	problem := s.of(reflect.TypeFor[api.Problem]())
	paths := object{}
	for _, r := range routes {
		item, _ := paths[prefix+r.path].(object)
		if item == nil {
			item = object{}
			paths[prefix+r.path] = item
		}
		item[strings.ToLower(r.method)] = s.operation(r)
	}
	doc := object{
		"openapi": "3.1.0",
		"info": object{
			"title": "ops-meta", "version": buildinfo.Version(), "license": object{"name": "Apache-2.0", "identifier": "Apache-2.0"},
			"description": "What the hosts of a fleet shall run, how it is rolled out, and what every host does. " +
				"Errors are problem+json (RFC 9457) whose hint says what to do next.",
		},
		"servers":  []object{{"url": "/"}},
		"security": []object{{"token": []string{}}},
		"paths":    paths,
		"components": object{
			"schemas":         s.named,
			"securitySchemes": object{"token": object{"type": "http", "scheme": "bearer"}},
			"responses": object{"Problem": object{
				"description": "Refused, and why",
				"content":     object{"application/problem+json": object{"schema": problem}},
			}},
		},
	}
	return json.MarshalIndent(doc, "", " ")
}

func (s schemas) operation(r route) object {
	op := object{
		"operationId": r.id, "summary": r.summary, "tags": []string{r.tag()},
		"responses": object{
			strconv.Itoa(r.status): s.response(r),
			"default":              object{"$ref": "#/components/responses/Problem"},
		},
	}
	if r.role == "" {
		op["security"] = []object{}
	} else {
		op["description"] = "Needs the role " + string(r.role) + "."
	}
	if params := parameters(r); len(params) > 0 {
		op["parameters"] = params
	}
	switch {
	case r.inMedia != "":
		op["requestBody"] = object{"required": true, "content": object{r.inMedia: object{}}}
	case r.in != nil:
		op["requestBody"] = object{"required": true, "content": object{"application/json": object{"schema": s.loosely(r.in)}}}
	}
	return op
}

func (s schemas) response(r route) object {
	response := object{"description": http.StatusText(r.status)}
	switch {
	case r.outMedia != "":
		response["content"] = object{r.outMedia: object{}}
	case r.out != nil:
		response["content"] = object{"application/json": object{"schema": s.of(r.out)}}
	}
	return response
}

var wildcard = regexp.MustCompile(`\{([a-z]+)\}`)

func parameters(r route) []object {
	var all []object
	for _, m := range wildcard.FindAllStringSubmatch(r.path, -1) {
		all = append(all, object{"name": m[1], "in": "path", "required": true, "schema": object{"type": "string"}})
	}
	for _, p := range r.query {
		kind := p.kind
		if kind == "" {
			kind = "string"
		}
		all = append(all, object{"name": p.name, "in": "query", "description": p.about, "schema": object{"type": kind}})
	}
	if r.guarded {
		all = append(all,
			object{"name": "If-Match", "in": "header", "description": "ETag of the revision that must still be there", "schema": object{"type": "string"}},
			object{"name": "If-None-Match", "in": "header", "description": "* when there must be nothing yet", "schema": object{"type": "string"}})
	}
	return all
}
