package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/server"
)

func TestWritesAreGuardedByTheirRevision(t *testing.T) {
	onBoth(t, func(t *testing.T, conf server.Config) {
		r := start(t, conf)
		writes := 0
		put := func(headers ...string) answer {
			writes++
			return r.raw(t, http.MethodPut, "/api/v1/agents/a", fmt.Appendf(nil, `{"description":"write %d"}`, writes), headers...)
		}
		made := put("If-None-Match", "*")
		if made.StatusCode != http.StatusOK || made.Header.Get("ETag") == "" {
			t.Fatalf("got %d %v", made.StatusCode, made.Header)
		}
		if again := put("If-None-Match", "*"); again.StatusCode != http.StatusConflict {
			t.Errorf("made twice: got %d", again.StatusCode)
		}
		changed := put("If-Match", made.Header.Get("ETag"))
		if changed.StatusCode != http.StatusOK || changed.Header.Get("ETag") == made.Header.Get("ETag") {
			t.Errorf("changed at its revision: got %d, %s", changed.StatusCode, changed.Header.Get("ETag"))
		}
		if late := put("If-Match", made.Header.Get("ETag")); late.StatusCode != http.StatusConflict || !strings.Contains(string(late.body), "read it again") {
			t.Errorf("changed at an old revision: got %d %s", late.StatusCode, late.body)
		}
		if odd := put("If-Match", "abc"); odd.StatusCode != http.StatusBadRequest {
			t.Errorf("changed at no revision of ours: got %d", odd.StatusCode)
		}
		same := r.raw(t, http.MethodGet, "/api/v1/agents/a", nil, "If-None-Match", changed.Header.Get("ETag"))
		if same.StatusCode != http.StatusNotModified || len(same.body) > 0 {
			t.Errorf("read again: got %d %s", same.StatusCode, same.body)
		}
		if del := r.raw(t, http.MethodDelete, "/api/v1/agents/a", nil, "If-Match", made.Header.Get("ETag")); del.StatusCode != http.StatusConflict {
			t.Errorf("removed at an old revision: got %d", del.StatusCode)
		}
	})
}

// A filter that is misspelt would find everything: no operation takes a
// parameter that the document does not list.
func TestParametersThatAreNotKnownAreRefused(t *testing.T) {
	r := start(t, newConfig(t))
	_, doc := newChecked(t, r)
	enrolment := r.newToken(t, "fleet", api.RoleEnroll, 0)
	refused := func(method, path, name string) api.Problem {
		t.Helper()
		token := r.token
		if strings.HasPrefix(path, "/api/v1/enroll") {
			token = enrolment.Secret
		}
		req, err := http.NewRequestWithContext(t.Context(), method, r.url+path, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := r.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var p api.Problem
		if resp.StatusCode != http.StatusBadRequest { // its body may never end
			t.Errorf("%s %s: got %d", method, path, resp.StatusCode)
		} else if err := json.NewDecoder(resp.Body).Decode(&p); err != nil || p.Field != name || !strings.Contains(p.Detail, name) || p.Hint == "" {
			t.Errorf("%s %s: got %+v (%v)", method, path, p, err)
		}
		return p
	}
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			refused(method, strings.NewReplacer("{", "", "}", "").Replace(path)+"?colour=red", "colour")
		}
	}
	for query, hint := range map[string]string{
		"agnet=x": `did you mean "agent"?`, "lable=a=b": `did you mean "label"?`, "Limit=3": `did you mean "limit"?`, "zzzzzzzz=1": "known are ",
		"silent=true&falling=true": `did you mean "failing"?`,
	} {
		name := strings.Split(query[strings.LastIndex(query, "&")+1:], "=")[0]
		if p := refused(http.MethodGet, "/api/v1/hosts?"+query, name); !strings.Contains(p.Hint, hint) {
			t.Errorf("%s: the hint is %q", query, p.Hint)
		}
	}
	refused(http.MethodGet, "/api/v1/hosts?limit=3;agent=x", "query")
	if got := r.raw(t, http.MethodGet, "/api/v1/hosts?label=a%3Db&label=c%3Dd&limit=3", nil); got.StatusCode != http.StatusOK {
		t.Errorf("what is known is refused: %d %s", got.StatusCode, got.body)
	}
	for _, path := range []string{"/metrics", "/healthz", "/readyz", "/health", "/version", "/api/version", "/api/health/check"} {
		plain, asked := r.raw(t, http.MethodGet, path, nil), r.raw(t, http.MethodGet, path+"?colour=red", nil)
		if plain.StatusCode != asked.StatusCode {
			t.Errorf("%s, which other programs ask for: got %d with a parameter, %d without", path, asked.StatusCode, plain.StatusCode)
		}
	}
	for _, path := range []string{"/heartbeat", "/api/heartbeat"} {
		if got := r.raw(t, http.MethodPost, path+"?colour=red", []byte(`{"hostname":"h"}`)); got.StatusCode != http.StatusOK {
			t.Errorf("%s, which hosts ask: got %d %s", path, got.StatusCode, got.body)
		}
	}
}

func TestWhatBodiesAreRefused(t *testing.T) {
	r := start(t, newConfig(t))
	for name, c := range map[string]struct {
		body   string
		status int
		says   string
		hint   string
	}{
		"nothing":           {"", 400, "empty", "JSON object"},
		"no JSON":           {"{", 400, "not JSON|unexpected|broke", ""},
		"a typo":            {`{"descriptio":"x"}`, 400, `"descriptio" is not known`, `did you mean "description"?`},
		"another type":      {`{"keep":"two"}`, 400, "keep must be a whole number, not a string", ""},
		"two values":        {`{} {}`, 400, "goes on after", ""},
		"too deep":          {strings.Repeat(`{"a":`, 100), 400, "deeper than", ""},
		"too large":         {`{"description":"` + strings.Repeat("x", 9<<20) + `"}`, 413, "larger than", "less"},
		"another name":      {`{"name":"b"}`, 400, "the address", ""},
		"a broken rule":     {`{"workDir":"relative"}`, 400, "absolute", ""},
		"not an object":     {`[1]`, 400, "must be a", ""},
		"brackets in a str": {`{"description":"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"{{{{"}`, 200, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := r.raw(t, http.MethodPut, "/api/v1/agents/a", []byte(c.body))
			if a.StatusCode != c.status {
				t.Fatalf("got %d %.300s, want %d", a.StatusCode, a.body, c.status)
			}
			if c.status == http.StatusOK {
				return
			}
			var p api.Problem
			if err := json.Unmarshal(a.body, &p); err != nil || a.Header.Get("Content-Type") != "application/problem+json" {
				t.Fatalf("not a problem: %.300s", a.body)
			}
			found := false
			for says := range strings.SplitSeq(c.says, "|") {
				found = found || strings.Contains(p.Detail, says)
			}
			if !found || !strings.Contains(p.Hint, c.hint) || p.Hint == "" || p.Title == "" || !strings.HasPrefix(p.Type, "urn:ops-meta:") {
				t.Errorf("got %+v, want it to say %q with a hint %q", p, c.says, c.hint)
			}
		})
	}
}

func TestListingsArePagedAndFiltered(t *testing.T) {
	onBoth(t, func(t *testing.T, conf server.Config) {
		r := start(t, conf)
		for _, name := range []string{"alpha", "beta", "gamma", "delta", "Beta2"} {
			if _, err := r.admin.PutAgent(t.Context(), api.Agent{Name: name}); err != nil {
				t.Fatal(err)
			}
		}
		list := func(o api.ListOptions) (names []string) {
			agents, err := api.All(func(cursor string) (api.Page[api.Agent], error) {
				o.Cursor = cursor
				return r.admin.Agents(t.Context(), o)
			})
			if err != nil {
				t.Fatal(err)
			}
			for _, a := range agents {
				names = append(names, a.Name)
			}
			return names
		}
		if got := list(api.ListOptions{Limit: 2}); len(got) != 5 {
			t.Errorf("pages of two list %q", got)
		}
		if got := list(api.ListOptions{Search: "BETA", Limit: 1}); len(got) != 2 {
			t.Errorf("a search lists %q", got)
		}
		for path, says := range map[string]string{
			"agents?limit=x": "not a number", "hosts?silent=perhaps": "neither true nor false",
			"assignments?scope=all": "not known", "audit?since=yesterday": "not a time", "hosts?group=nobody": "no group",
		} {
			a := r.raw(t, http.MethodGet, "/api/v1/"+path, nil)
			if a.StatusCode < 400 || a.StatusCode > 404 || !strings.Contains(string(a.body), says) {
				t.Errorf("%s: got %d %s", path, a.StatusCode, a.body)
			}
		}
	})
}
