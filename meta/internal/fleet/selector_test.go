package fleet_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/fleet"
)

func TestSelectorPicks(t *testing.T) {
	web := fleet.Facts{Name: "web-01.bj", IP: "10.1.2.3", Arch: "linux_amd64", Labels: map[string]string{"zone": "bj", "tier": "front"}}
	cases := []struct {
		name string
		sel  api.Selector
		want bool
	}{
		{"nothing given matches nothing", api.Selector{}, false},
		{"exact name", api.Selector{Hosts: []string{"db", "web-01.bj"}}, true},
		{"part of the name is not the name", api.Selector{Hosts: []string{"web-01"}}, false},
		{"prefix", api.Selector{Prefixes: []string{"web-"}}, true},
		{"glob", api.Selector{Globs: []string{"web-??.*"}}, true},
		{"glob of another", api.Selector{Globs: []string{"db-*"}}, false},
		{"regexp", api.Selector{Regexps: []string{`web-\d+\.bj`}}, true},
		{"regexp is anchored at its end", api.Selector{Regexps: []string{`web-\d+`}}, false},
		{"regexp is anchored around alternatives", api.Selector{Regexps: []string{`x|eb-01|y`}}, false},
		{"hostname forms are one kind", api.Selector{Hosts: []string{"db"}, Prefixes: []string{"web"}}, true},
		{"network", api.Selector{CIDRs: []string{"10.1.0.0/16"}}, true},
		{"network with host bits", api.Selector{CIDRs: []string{"10.1.9.9/16"}}, true},
		{"other network", api.Selector{CIDRs: []string{"10.2.0.0/16"}}, false},
		{"address", api.Selector{CIDRs: []string{"10.1.2.3"}}, true},
		{"arch", api.Selector{Arches: []string{"linux_arm64", "linux_amd64"}}, true},
		{"labels must all be equal", api.Selector{Labels: map[string]string{"zone": "bj", "tier": "back"}}, false},
		{"labels", api.Selector{Labels: map[string]string{"zone": "bj"}}, true},
		{"a missing label is not an empty one", api.Selector{Labels: map[string]string{"rack": ""}}, false},
		{"kinds must all match", api.Selector{Prefixes: []string{"web"}, Arches: []string{"darwin_arm64"}}, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			sel, err := fleet.CompileSelector(c.sel)
			if err != nil {
				t.Fatal(err)
			}
			if got := sel.Match(web); got != c.want {
				t.Fatalf("match is %v; want %v", got, c.want)
			}
		})
	}
}

func TestSelectorMatchesMappedAddresses(t *testing.T) {
	sel, err := fleet.CompileSelector(api.Selector{CIDRs: []string{"10.0.0.0/8", "fe80::/10"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, ip := range []string{"::ffff:10.0.0.1", "fe80::1%eth0"} {
		if !sel.Match(fleet.Facts{IP: ip}) {
			t.Errorf("%s is not matched", ip)
		}
	}
	if sel.Match(fleet.Facts{IP: "not an address"}) {
		t.Error("what is no address is matched")
	}
}

func TestSelectorRefusesOnEntry(t *testing.T) {
	cases := []struct {
		name  string
		sel   api.Selector
		field string
	}{
		{"regexp", api.Selector{Regexps: []string{"ok", "web-("}}, "regexps[1]"},
		{"regexp with a look-ahead", api.Selector{Regexps: []string{"(?=x)"}}, "regexps[0]"},
		{"regexp that unrolls", api.Selector{Regexps: []string{"((a{9}){9}){99}"}}, "regexps[0]"},
		{"regexp that closes our anchor", api.Selector{Regexps: []string{"a)|(?:b"}}, "regexps[0]"},
		{"glob", api.Selector{Globs: []string{"[a-"}}, "globs[0]"},
		{"glob that fails late", api.Selector{Globs: []string{"abc[", "x*"}}, "globs[0]"},
		{"network", api.Selector{CIDRs: []string{"10.0.0.0/33"}}, "cidrs[0]"},
		{"address", api.Selector{CIDRs: []string{"10.0.0"}}, "cidrs[0]"},
		{"arch", api.Selector{Arches: []string{"amd64"}}, "arches[0]"},
		{"blank prefix", api.Selector{Prefixes: []string{""}}, "prefixes[0]"},
		{"padded host", api.Selector{Hosts: []string{"a", " b"}}, "hosts[1]"},
		{"label without name", api.Selector{Labels: map[string]string{"": "x"}}, "labels"},
		{"endless pattern", api.Selector{Globs: []string{strings.Repeat("*", 2000)}}, "globs[0]"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := fleet.CompileSelector(c.sel)
			var e *api.Error
			if !errors.As(err, &e) || e.Kind != api.KindInvalid || e.Field != c.field {
				t.Fatalf("got %#v; want an invalid %s", err, c.field)
			}
		})
	}
}
