package api_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"testing"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
)

// FuzzParseScope: a scope is read as what it says again.
func FuzzParseScope(f *testing.F) {
	for _, s := range []string{"everyone", "group:canary", "host:h:1", "agent:", "everyone:x", "", ":"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := api.ParseScope(text)
		if err != nil {
			return
		}
		if again, err := api.ParseScope(s.String()); err != nil || again != s {
			t.Fatalf("%q is %+v, and that %+v, %v", text, s, again, err)
		}
		if s.InWords() == "" {
			t.Fatalf("%q has no words", text)
		}
	})
}

// FuzzMergePatch: a patch changes what it names and nothing else, and no more when it
// is applied again.
func FuzzMergePatch(f *testing.F) {
	f.Add([]byte(`{"description":"x"}`))
	f.Add([]byte(`{"selector":{"labels":{"a":null,"b":"c"}}}`))
	f.Add([]byte(`{"selector":null,"name":3}`))
	f.Add([]byte(`{"nonsense":{}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var p api.Patch
		if json.Unmarshal(data, &p) != nil {
			return
		}
		before := api.Group{Name: "canary", Description: "few", Selector: api.Selector{Hosts: []string{"h"}, Labels: map[string]string{"a": "1", "z": "26"}}}
		var once, twice api.Group
		if p.Apply(before, &once) != nil {
			return
		}
		if err := p.Apply(once, &twice); err != nil || !reflect.DeepEqual(once, twice) {
			t.Fatalf("%s makes %+v, and of that %+v: %v", data, once, twice, err)
		}
		if _, named := p["selector"]; !named && !reflect.DeepEqual(once.Selector, before.Selector) {
			t.Fatalf("%s changes the selector to %+v", data, once.Selector)
		}
	})
}

// FuzzNaming: what the name of a file says is valid, and fits the name.
func FuzzNaming(f *testing.F) {
	for _, s := range []string{"falcon-agent-5.1.3.tar.gz", "linux_amd64/a-1.tar.gz", "a-b-c.tgz", "-1.tar.gz", "a-linux_amd64-1.tar.gz", "../a-1.tar.gz", "a-1.0-2.tar.gz"} {
		f.Add(s)
	}
	nobody := func(string) (bool, error) { return false, nil }
	f.Fuzz(func(t *testing.T, file string) {
		n, err := (api.Naming{}).Complete(file, nobody)
		if err != nil {
			if ambiguous := (*api.AmbiguousName)(nil); errors.As(err, &ambiguous) && err.Error() == "" {
				t.Fatalf("%q is refused without words", file)
			}
			return
		}
		if !meta.ValidName(n.Agent) || !meta.ValidName(n.Version) || n.Arch != "" && !meta.ValidArch(n.Arch) {
			t.Fatalf("%q is read as %+v", file, n)
		}
		if again, err := n.Complete(file, nobody); err != nil || again != n {
			t.Fatalf("%q is read as %+v, and with that said as %+v, %v", file, n, again, err)
		}
	})
}

// FuzzFetchAs: a header of strangers is read or refused, and survives its way.
func FuzzFetchAs(f *testing.F) {
	f.Add("e30=")
	f.Add("")
	f.Add("bm90IGpzb24=")
	f.Fuzz(func(t *testing.T, text string) {
		fetch, err := api.FetchAsOf(http.Header{"Ops-Meta-Fetch-As": {text}})
		if err != nil && api.KindOf(err) != api.KindInvalid {
			t.Fatalf("%q: %+v, %v", text, fetch, err)
		}
	})
}

// FuzzSelector: a selector that is valid is the same after a round trip, and valid still.
func FuzzSelector(f *testing.F) {
	f.Add([]byte(`{"hosts":["a"],"globs":["web-[0-9]*"],"regexps":["web-.*"],"cidrs":["10.0.0.0/8","::1"],"arches":["linux_amd64"],"labels":{"a":"b"}}`))
	f.Add([]byte(`{"regexps":["(((((a*)*)*)*)*)*"]}`))
	f.Add([]byte(`{"globs":["["],"cidrs":["10/8"]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var g, again api.Group
		g.Name = "canary"
		if json.Unmarshal(data, &g.Selector) != nil || g.Validate() != nil {
			return
		}
		said, err := json.Marshal(g)
		if err != nil || json.Unmarshal(said, &again) != nil || again.Validate() != nil {
			t.Fatalf("%s is said as %s: %v, %v", data, said, err, again.Validate())
		}
	})
}

// FuzzNearest: a hint is one of the words that there are.
func FuzzNearest(f *testing.F) {
	f.Add("intervall")
	f.Add("")
	f.Add("\xff")
	known := []string{"interval", "server", "labels"}
	f.Fuzz(func(t *testing.T, name string) {
		for _, hint := range []string{api.Nearest(name, known), api.Slip(name, known)} {
			if hint != "" && hint != known[0] && hint != known[1] && hint != known[2] {
				t.Fatalf("%q is nearest to %q", name, hint)
			}
		}
	})
}
