package httpapi_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ops-updater/ops-updater/meta/api"
)

func TestPages(t *testing.T) {
	for query, want := range map[string]string{
		"":                            "{After: Limit:100}",
		"?limit=":                     "{After: Limit:100}",
		"?limit=0":                    "{After: Limit:1}",
		"?limit=5":                    "{After: Limit:5}",
		"?limit=1000":                 "{After: Limit:1000}",
		"?limit=1001":                 "{After: Limit:1000}",
		"?cursor=a%2Fb%26c":           "{After:a/b&c Limit:100}",
		"?limit=x":                    `limit "x" is not a number`,
		"?limit=-1":                   `limit "-1" is not a number`,
		"?limit=99999999999999999999": `limit "99999999999999999999" is not a number`,
	} {
		for _, listing := range []string{"/agents", "/releases", "/holds", "/tokens", "/rollouts/r/transitions", "/notifications/dead", "/audit", "/hosts/h/events"} {
			m := known()
			w := ask(newServer(t, m), api.RoleAdmin, "GET "+listing+query, "")
			got := strings.Join(m.questions(), "")
			if w.Code != 200 {
				p := problem(t, w.Body.Bytes())
				got = p.Detail
				if p.Status != 400 || p.Field != "limit" {
					t.Errorf("%s%s: %+v", listing, query, p)
				}
			}
			if !strings.HasSuffix(got, want) {
				t.Errorf("%s%s: got %s, want %s", listing, query, got, want)
			}
		}
	}
}

func TestAListingIsFollowedToItsEnd(t *testing.T) {
	m := newMemory()
	for i := range 25 {
		name := fmt.Sprintf("a%02d", i)
		m.agents.byName[name] = api.Agent{Name: name, Revision: 1}
	}
	c, err := api.NewClient(api.ClientConfig{Server: "in-process", Token: "viewer", Transport: api.HandlerTransport(newServer(t, m))})
	if err != nil {
		t.Fatal(err)
	}
	all, err := api.All(func(cursor string) (api.Page[api.Agent], error) {
		return c.Agents(t.Context(), api.ListOptions{Limit: 10, Cursor: cursor, Search: "a"})
	})
	if err != nil || len(all) != 25 || all[0].Name != "a00" || all[24].Name != "a24" {
		t.Errorf("%d agents, %v", len(all), err)
	}
	if asked := m.questions(); len(asked) != 3 {
		t.Errorf("asked %q", asked)
	}
}

// A filter that is misspelt would find everything, or nothing.
func TestParametersThatAreNotKnown(t *testing.T) {
	for query, want := range map[string]struct{ field, hint string }{
		"/agents?sarch=a":                            {"sarch", ""},
		"/hosts?failng=true":                         {"failng", `did you mean "failing"?`},
		"/hosts/h?q=x":                               {"q", "there are no parameters here"},
		"/hosts?drifted=perhaps":                     {"drifted", ""},
		"/hosts?label=x":                             {"label", ""},
		"/hosts?label==x":                            {"label", ""},
		"/hosts?" + strings.Repeat("label=a=b&", 21): {"label", ""},
		"/audit?since=yesterday":                     {"since", ""},
		"/hosts/h/events?until=1":                    {"until", ""},
		"/hosts/h/events?kind=verson":                {"kind", `did you mean "version"?`},
		"/rollouts?state=runnng":                     {"state", `did you mean "running"?`},
		"/rollouts/r/grants?state=open":              {"state", ""},
		"/rollouts/r/hosts?state=waitting":           {"state", `did you mean "waiting"?`},
		"/tokens?role=viewer":                        {"role", ""},
		"/assignments?scope=group":                   {"scope", ""},
		"/holds?scope=group:":                        {"scope", ""},
		"/events?after=x":                            {"after", ""},
		"/agents?limit=%zz":                          {"query", ""},
	} {
		m := known()
		w := ask(newServer(t, m), api.RoleAdmin, "GET "+query, "")
		p := problem(t, w.Body.Bytes())
		if w.Code != 400 || p.Field != want.field || p.Hint == "" || !strings.Contains(p.Hint, want.hint) {
			t.Errorf("%s: %+v", query, p)
		}
		if asked := m.questions(); len(asked) > 0 {
			t.Errorf("%s: the backend was asked %q", query, asked)
		}
	}
}

// An empty list that a filter of nothing made would read as "there is none".
// Who follows a listing has seen its first page.
func TestAFilterThatNamesNothingIsRefused(t *testing.T) {
	m := known()
	m.unknown = &api.Error{Kind: api.KindInvalid, Field: "agent", Message: "there is no agent b", Noun: "agent", Name: "b"}
	s := newServer(t, m)
	for _, listing := range []string{"/releases?agent=b", "/assignments?agent=b", "/hosts?agent=b", "/hosts?group=g", "/rollouts?agent=b", "/holds?scope=group:g", "/audit?kind=agnt", "/hosts/h/events?agent=b", "/history?agent=b"} {
		if p := problem(t, ask(s, api.RoleAdmin, "GET "+listing, "").Body.Bytes()); p.Status != 400 || p.Type != "urn:ops-meta:missing" {
			t.Errorf("%s: %+v", listing, p)
		}
	}
	m.answers["Releases"] = api.Page[api.Release]{Items: []api.Release{{Agent: "a"}}}
	for _, listing := range []string{"/releases?agent=a", "/hosts", "/rollouts?agent=b&cursor=x", "/assignments"} {
		if w := ask(s, api.RoleAdmin, "GET "+listing, ""); w.Code != 200 {
			t.Errorf("%s: %d %s", listing, w.Code, w.Body)
		}
	}
}
