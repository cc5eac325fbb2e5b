package meta_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/ops-updater/ops-updater/meta"
)

func TestTarballIsLookedForAtItsPlaceAndThenAtEachMirror(t *testing.T) {
	a := meta.DesiredAgent{
		Name: "falcon-agent", Version: "5.1.3", Tarball: "http://r.example/falcon/",
		Mirrors: meta.AddressesOf("http://m1.example/falcon", "http://r.example/falcon", "https://m2.example/"),
	}
	cases := map[string]struct {
		change  func(*meta.DesiredAgent)
		dialect meta.Dialect
		want    []string
	}{
		"this contract": {func(*meta.DesiredAgent) {}, meta.DialectV1, []string{
			"http://r.example/falcon/linux_386/falcon-agent-5.1.3.tar.gz", "http://m1.example/falcon/linux_386/falcon-agent-5.1.3.tar.gz",
			"https://m2.example/linux_386/falcon-agent-5.1.3.tar.gz",
		}},
		"the older dialect": {func(*meta.DesiredAgent) {}, meta.DialectLegacy, []string{
			"http://r.example/falcon/falcon-agent-5.1.3.tar.gz", "http://m1.example/falcon/falcon-agent-5.1.3.tar.gz",
			"https://m2.example/falcon-agent-5.1.3.tar.gz",
		}},
		"mirrors alone": {func(a *meta.DesiredAgent) { a.Tarball, a.Mirrors = "", meta.AddressesOf("http://m1.example") }, meta.DialectV1, []string{
			"http://m1.example/linux_386/falcon-agent-5.1.3.tar.gz",
		}},
		"nowhere": {func(a *meta.DesiredAgent) { a.Tarball, a.Mirrors = "", "" }, meta.DialectV1, nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			a := a
			c.change(&a)
			if got := a.TarballURLs(c.dialect, "linux_386"); !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestMirrorsOfAReply(t *testing.T) {
	cases := map[string]struct {
		mirrors string // JSON
		refused string // part of the error
	}{
		"some":            {`["http://a.example/x","https://bob:s3cr3t@b.example/?sig=s1gn4tur3"]`, ""},
		"none":            {`null`, ""},
		"another scheme":  {`["http://a.example","file:///etc/shadow?sig=s1gn4tur3"]`, "is not an http or https URL"},
		"not an address":  {`["a"]`, "is not an http or https URL"},
		"too many":        {`["http://a.example"` + strings.Repeat(`,"http://a.example"`, meta.MaxMirrors) + `]`, "at most 8"},
		"an empty one":    {`["http://a.example",""]`, "an empty one"},
		"two in one":      {`["http://a.example\nhttp://b.example"]`, "several lines"},
		"no list":         {`"http://a.example"`, "cannot unmarshal"},
		"numbers in it":   {`[1]`, "cannot unmarshal"},
		"an endless name": {`["http://` + strings.Repeat("a", 3000) + `/?s=s1gn4tur3"]`, "is not an http or https URL"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var a meta.DesiredAgent
			err := json.Unmarshal([]byte(`{"name":"a","version":"1","cmd":"start","mirrors":`+c.mirrors+`}`), &a)
			if err == nil {
				err = a.Validate()
			}
			switch {
			case c.refused == "" && err != nil || c.refused != "" && (err == nil || !strings.Contains(err.Error(), c.refused)):
				t.Errorf("got %v, want %q", err, c.refused)
			case err != nil && strings.Contains(err.Error(), "s1gn4tur3"):
				t.Errorf("a secret is told: %v", err)
			}
			shown, err := json.Marshal(meta.HeartbeatResponse{DesiredAgents: []meta.DesiredAgent{a}}.Redacted())
			if err != nil || strings.Contains(string(shown), "s3cr3t") || strings.Contains(string(shown), "s1gn4tur3") {
				t.Errorf("a log would show %s, %v", shown, err)
			}
		})
	}
}
