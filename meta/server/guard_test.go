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
		"another type":      {`{"keep":"two"}`, 400, "keep must be a int", ""},
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
