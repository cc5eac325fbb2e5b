package httpapi

import (
	"encoding/json"
	"maps"
	"net/http"
	"reflect"
	"regexp"
	"slices"
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

// describeRoutes is the OpenAPI 3.1 description of routes.
func describeRoutes(routes []route) ([]byte, error) {
	s := schemas{named: object{}}
	problem := s.schemaOf(reflect.TypeFor[api.Problem]())
	paths := object{}
	for _, r := range routes {
		item, _ := paths[prefix+r.path].(object)
		if item == nil {
			item = object{}
			paths[prefix+r.path] = item
		}
		item[strings.ToLower(r.method)] = s.operationOf(r)
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
		"tags":     tagsOf(routes),
		"paths":    paths,
		"components": object{
			"schemas":         s.named,
			"securitySchemes": object{"token": object{"type": "http", "scheme": "bearer"}},
			"responses":       problemResponses(problem),
		},
	}
	return json.MarshalIndent(doc, "", " ")
}

func (s schemas) operationOf(r route) object {
	responses := object{strconv.Itoa(r.status): s.responseOf(r), "default": problemRef("default")}
	for _, status := range r.refusalStatuses() {
		responses[status] = problemRef(status)
	}
	op := object{
		"operationId": r.id, "summary": r.summary, "tags": []string{r.tagOf()},
		"responses": responses, "security": []object{{"token": []string{}}},
	}
	if r.role == "" {
		op["security"] = []object{}
	} else {
		op["description"] = "Needs the role " + string(r.role) + "." + r.remit.inWords()
	}
	if params := parametersOf(r); len(params) > 0 {
		op["parameters"] = params
	}
	switch {
	case r.inMedia != "" && r.in != nil:
		op["requestBody"] = object{"required": true, "content": object{r.inMedia: object{"schema": s.inputSchemaOf(r.in)}}}
	case r.inMedia != "":
		op["requestBody"] = object{"required": true, "content": object{r.inMedia: object{"schema": mediaSchema(r.inMedia)}}}
	case r.in != nil:
		op["requestBody"] = object{"required": true, "content": object{"application/json": object{"schema": s.inputSchemaOf(r.in)}}}
	}
	return op
}

func (s schemas) responseOf(r route) object {
	response := object{"description": http.StatusText(r.status)}
	switch {
	case r.outMedia != "":
		response["content"] = object{r.outMedia: object{"schema": mediaSchema(r.outMedia)}}
	case r.out != nil:
		response["content"] = object{"application/json": object{"schema": s.schemaOf(r.out)}}
	}
	return response
}

// refusal is a status that says no.
type refusal struct {
	status, about string
	when          func(route) bool
}

// refusalTable is which operations answer with what; the table of handlers
// and errors in problem.go is where they come from.
var refusalTable = []refusal{
	{"400", "The input is wrong; field says which", func(r route) bool { return r.role != "" || r.in != nil }},
	{"401", "No token, or one that is not known or has expired", func(r route) bool { return r.role != "" }},
	{"403", "The role or the remits of who asks do not allow it", func(r route) bool { return r.role != "" }},
	{"404", "There is no such thing", func(r route) bool { return strings.Contains(r.path, "{") }},
	{"409", "It was changed meanwhile, exists already, is in use or can never change", route.isWrite},
	{"413", "The body is too large", func(r route) bool { return r.in != nil || r.inMedia != "" }},
	{"429", "Too many wrong tokens, logins or enrolments from this address, or logins by this name", func(r route) bool { return r.role != "" }},
	{"4XX", "The request was not understood", func(r route) bool { return r.role == "" }},
	{"500", "Something went wrong in the server; its log has the request's id", func(route) bool { return true }},
	{"503", "The database cannot be reached; try again", func(route) bool { return true }},
}

func (r route) isWrite() bool {
	return r.method == http.MethodPut || r.method == http.MethodPatch || r.method == http.MethodDelete ||
		r.method == http.MethodPost && r.role != api.RoleViewer
}

// refusalStatuses are the statuses with which r may say no.
func (r route) refusalStatuses() (statuses []string) {
	for _, f := range refusalTable {
		if f.when(r) {
			statuses = append(statuses, f.status)
		}
	}
	return statuses
}

func problemRef(status string) object {
	return object{"$ref": "#/components/responses/Problem-" + status}
}

// problemResponses are the responses that operations refer to.
func problemResponses(schema object) object {
	content := object{"application/problem+json": object{"schema": schema}}
	all := object{"Problem-default": object{"description": "Refused, and why", "content": content}}
	for _, f := range refusalTable {
		all["Problem-"+f.status] = object{"description": f.about, "content": content}
	}
	return all
}

// tagAbout says what the operations of a tag are for.
var tagAbout = map[string]string{
	"agents": "Programs that hosts can be told to run, their releases and who runs them", "artifacts": "Tarballs that nothing uses any more",
	"assignments": "Who runs which version", "audit": "Who did what", "backup": "An archive of everything", "doctor": "The server examines itself",
	"enroll": "A host gets its own credential", "events": "What changes, as it changes", "fleet": "Everything operators have said, as one file",
	"groups": "Hosts that a selector matches", "history": "How agents stood over time", "holds": "What stays as it is", "hosts": "What hosts report, and why they are told what they are told",
	"impact": "What a change would do", "notifications": "Who is told of what, and what could not be delivered", "openapi.json": "This document", "provider": "Who vouches for people that this server does not know itself",
	"overview": "The fleet at a glance", "releases": "Versions of agents", "sessions": "Who is logged in", "rollouts": "A release goes out in stages", "selectors": "Which hosts a selector picks",
	"channels": "Named pointers to versions, such as stable", "schedules": "How the releases of a channel go out by themselves",
	"keys": "Whom hosts can believe: keys, and the list of keys", "standstill": "After a restore nothing moves until somebody says so", "strategies": "Named ways of rolling out", "tokens": "Who may do what", "users": "People who log in with a password", "version": "What this server is", "whoami": "Who the caller is",
}

func tagsOf(routes []route) (all []object) {
	names := map[string]bool{}
	for _, r := range routes {
		names[r.tagOf()] = true
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		all = append(all, object{"name": name, "description": tagAbout[name]})
	}
	return all
}

// mediaSchema is the schema of a body that is no JSON of ours.
func mediaSchema(media string) object {
	switch {
	case strings.Contains(media, "json"):
		return object{"type": "object"}
	case strings.HasPrefix(media, "text/"), media == "application/yaml":
		return object{"type": "string"}
	}
	return object{"type": "string", "format": "binary"}
}

var wildcard = regexp.MustCompile(`\{([a-z]+)\}`)

func parametersOf(r route) []object {
	var all []object
	for _, m := range wildcard.FindAllStringSubmatch(r.path, -1) {
		all = append(all, object{"name": m[1], "in": "path", "required": true, "description": "which " + m[1], "schema": object{"type": "string"}})
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
