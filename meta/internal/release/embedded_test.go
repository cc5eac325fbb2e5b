package release_test

import (
	"net"
	"testing"

	"github.com/ops-updater/ops-updater/meta/internal/release"
)

// A refused address stays refused in every form that leads to it.
func TestAddressesThatCarryARefusedOneAreRefused(t *testing.T) {
	guard := release.DenyNetworks(release.DefaultDeny())
	for name, c := range map[string]struct {
		address string
		refused bool
	}{
		"plain":                  {"169.254.169.254", true},
		"mapped":                 {"::ffff:169.254.169.254", true},
		"compatible":             {"::169.254.169.254", true},
		"translated":             {"::ffff:0:169.254.169.254", true},
		"NAT64":                  {"64:ff9b::a9fe:a9fe", true},
		"NAT64 of its own":       {"64:ff9b:1::a9fe:a9fe", true},
		"NAT64 of its own, /48":  {"64:ff9b:1:a9fe:a9:fe00::", true},
		"NAT64 of its own, /56":  {"64:ff9b:1:aaa9:fe:a9fe::", true},
		"NAT64 of its own, /64":  {"64:ff9b:1:aaaa:a9:fea9:fe00:0", true},
		"6to4":                   {"2002:a9fe:a9fe::1", true},
		"Teredo's client":        {"2001:0:102:304:0:0:5601:5601", true},
		"Teredo's server":        {"2001:0:a9fe:a9fe::", true},
		"ISATAP":                 {"2001:db8::5efe:a9fe:a9fe", true},
		"the clouds' other one":  {"64:ff9b::6464:64c8", true},
		"multicast in NAT64":     {"64:ff9b::e000:1", true},
		"loopback":               {"::1", false},
		"a mirror in NAT64":      {"64:ff9b::c000:201", false},
		"a mirror in NAT64, own": {"64:ff9b:1::c000:201", false},
		"a mirror":               {"2001:db8::1", false},
		"a private one in 6to4":  {"2002:a00:1::1", false},
		"link-local with a zone": {"fe80::1%lo", true},
	} {
		t.Run(name, func(t *testing.T) {
			if err := guard("tcp", net.JoinHostPort(c.address, "80"), nil); (err != nil) != c.refused {
				t.Errorf("%s: got %v, refused: %v", c.address, err, c.refused)
			}
		})
	}
}
