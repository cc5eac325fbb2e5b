package meta_test

import (
	"testing"

	"github.com/ops-updater/ops-updater/meta"
)

func TestHostsThatAreListed(t *testing.T) {
	for _, c := range []struct {
		hosts   []string
		address string
		allowed bool
	}{
		{nil, "http://anything", true},
		{[]string{"a.example"}, "https://A.example:8443/x", true},
		{[]string{"a.example:8443"}, "https://a.example:8443/x", true},
		{[]string{"a.example:8443"}, "https://a.example/x", false},
		{[]string{"*.example"}, "https://a.b.example/x", true},
		{[]string{"*.example"}, "https://example/x", false},
		{[]string{"*.example"}, "https://evilexample/x", false},
		{[]string{"a.example"}, "https://a.example.evil/x", false},
		{[]string{"a.example"}, "https://a.example@evil/x", false},
		{[]string{"[::1]"}, "http://[::1]:80/x", true},
		{[]string{"::1"}, "http://[::1]:80/x", true},
		{[]string{"a.example"}, "://", false},
	} {
		if got := meta.ListsHost(c.hosts, c.address); got != c.allowed {
			t.Errorf("%v, %s: %v", c.hosts, c.address, got)
		}
	}
}
