package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ops-updater/ops-updater/meta/api"
)

// keep writes the file of contexts.
func keep(t *testing.T, home, text string) (path string) {
	t.Helper()
	path = filepath.Join(home, "ops-meta", "contexts.json")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Flags win over the environment, that over a context; and the token of one
// server never goes to another.
func TestWhoIsSpokenTo(t *testing.T) {
	routes := map[string]any{"GET /overview": api.Overview{}}
	prod, other := serveRoutes(t, routes), serveRoutes(t, routes)
	for name, tc := range map[string]struct {
		args  string
		env   map[string]string
		to    *fakeServer
		token string
	}{
		"the current context":                 {"", nil, prod, "of-prod"},
		"a context by name":                   {"--context other", nil, other, "of-other"},
		"a context by the environment":        {"", map[string]string{"CONTEXT": "other"}, other, "of-other"},
		"a flag over the environment's":       {"--context prod", map[string]string{"CONTEXT": "other"}, prod, "of-prod"},
		"another token":                       {"--token mine", nil, prod, "mine"},
		"another token by the environment":    {"", map[string]string{"TOKEN": "mine"}, prod, "mine"},
		"another server, without a token":     {"--server OTHER", nil, other, ""},
		"another server of the environment":   {"", map[string]string{"SERVER": "OTHER"}, other, ""},
		"another server and its token":        {"--server OTHER", map[string]string{"TOKEN": "mine"}, other, "mine"},
		"a server flag over a context flag":   {"--server OTHER --context prod", nil, other, ""},
		"a context flag over the environment": {"--context prod", map[string]string{"SERVER": "OTHER", "TOKEN": "of-another"}, prod, "of-prod"},
		"a context flag with a token":         {"--context prod --token mine", map[string]string{"SERVER": "OTHER"}, prod, "mine"},
	} {
		t.Run(name, func(t *testing.T) {
			keep(t, atHome(t), `{"current":"prod","contexts":{"prod":{"server":"`+prod.URL+`","token":"of-prod"},"other":{"server":"`+other.URL+`","token":"of-other"}}}`)
			for name, value := range tc.env {
				t.Setenv("OPS_META_"+name, strings.ReplaceAll(value, "OTHER", other.URL))
			}
			prod.tokens, other.tokens = nil, nil
			r := ops(t, append([]string{"status"}, strings.Fields(strings.ReplaceAll(tc.args, "OTHER", other.URL))...)...)
			if r.code != 0 || len(prod.tokens)+len(other.tokens) != 1 || len(tc.to.tokens) != 1 || tc.to.tokens[0] != tc.token {
				t.Errorf("prod was sent %q, the other one %q: %+v", prod.tokens, other.tokens, r)
			}
		})
	}
}

func TestTheFileOfContexts(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		args string
		exit int
		want string // on either stream
	}{
		"none":                    {"", "context list -o json", 0, `"items": []`},
		"none, but one is wanted": {"", "context use prod", 3, `there is no context "prod"`},
		"broken":                  {"{", "context list", 1, "mend or remove it"},
		"of another kind":         {`{"contexts": 3}`, "context list", 1, "mend or remove it"},
		"broken, one is named":    {"{", "status --context prod", 1, "mend or remove it"},
		"without any":             {`{}`, "context list -o json", 0, `"items": []`},
		"a misspelt one":          {`{"contexts":{"production":{"server":"h"}}}`, "context use prodction", 3, `did you mean "production"?`},
		"switched":                {`{"contexts":{"a":{"server":"http://a"},"b":{"server":"http://b"}}}`, "context use b", 0, "speaking to http://b"},
		"removed":                 {`{"current":"a","contexts":{"a":{"server":"http://a"}}}`, "context remove a", 0, "context a removed"},
		"a list says which":       {`{"current":"b","contexts":{"a":{"server":"http://a"},"b":{"server":"http://b","token":"secret"}}}`, "context list", 0, "*  b        http://b\n"},
	} {
		t.Run(name, func(t *testing.T) {
			home := atHome(t)
			if tc.text != "" {
				keep(t, home, tc.text)
			}
			r := ops(t, strings.Fields(tc.args)...)
			if r.code != tc.exit || !strings.Contains(r.out+r.err, tc.want) || strings.Contains(r.out, "secret") {
				t.Errorf("got %+v", r)
			}
		})
	}
}

func TestLoginTriesWhatItKeeps(t *testing.T) {
	home := atHome(t)
	f := serveRoutes(t, map[string]any{"GET /whoami": api.Identity{Name: "ann", Role: api.RoleAdmin}})
	path := filepath.Join(home, "ops-meta", "contexts.json")
	if r := ops(t, "login", f.URL, "--name", "prod", "--token", "secret"); r.code != 0 || !strings.Contains(r.out, "as ann (admin), context prod") {
		t.Fatalf("%+v", r)
	}
	if f.tokens[0] != "secret" {
		t.Errorf("tried with %q", f.tokens)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the file: %v %v", info, err)
	}
	if all, err := loadContexts(); err != nil || all.Current != "prod" || all.Contexts["prod"] != (place{Server: f.URL, Token: "secret"}) {
		t.Errorf("kept is %+v, %v", all, err)
	}
	before, _ := os.ReadFile(path)
	refused := serveRoutes(t, map[string]any{"GET /whoami": api.Problem{Title: "No", Status: 401, Detail: "the token is not known"}})
	if r := ops(t, "login", refused.URL, "--name", "prod", "--token", "typo"); r.code != 5 {
		t.Errorf("%+v", r)
	}
	if after, _ := os.ReadFile(path); string(after) != string(before) {
		t.Errorf("a token that is refused is kept: %s", after)
	}
}

func TestNamesOfContexts(t *testing.T) {
	for address, want := range map[string]string{
		"https://meta.example:2001/x": "meta.example", "meta.example:2001": "meta.example", "10.0.0.1": "10.0.0.1", "http://%": "",
	} {
		if got := hostOf(address); got != want {
			t.Errorf("%s is called %q, want %q", address, got, want)
		}
	}
}
