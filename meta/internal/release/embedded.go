package release

import "net/netip"

// carrier is a network whose addresses carry IPv4 addresses: what connects
// to one reaches the other.
type carrier struct {
	prefix netip.Prefix
	at     [][4]int // the bytes of the IPv4 address, of several forms where there are
	mask   byte     // what they are hidden by
}

var carriers = []carrier{
	{prefix: netip.MustParsePrefix("::/96"), at: [][4]int{{12, 13, 14, 15}}},           // IPv4-compatible (RFC 4291)
	{prefix: netip.MustParsePrefix("::ffff:0:0:0/96"), at: [][4]int{{12, 13, 14, 15}}}, // IPv4-translated (RFC 2765)
	{prefix: netip.MustParsePrefix("64:ff9b::/96"), at: [][4]int{{12, 13, 14, 15}}},    // NAT64 (RFC 6052)
	{ // NAT64 of a network's own (RFC 8215), with prefixes of 48, 56, 64 and 96 bits
		prefix: netip.MustParsePrefix("64:ff9b:1::/48"),
		at:     [][4]int{{6, 7, 9, 10}, {7, 9, 10, 11}, {9, 10, 11, 12}, {12, 13, 14, 15}},
	},
	{prefix: netip.MustParsePrefix("2002::/16"), at: [][4]int{{2, 3, 4, 5}}},                 // 6to4 (RFC 3056)
	{prefix: netip.MustParsePrefix("2001::/32"), at: [][4]int{{12, 13, 14, 15}}, mask: 0xff}, // Teredo's client (RFC 4380)
	{prefix: netip.MustParsePrefix("2001::/32"), at: [][4]int{{4, 5, 6, 7}}},                 // and its server
}

// meantBy is an address and those that it carries.
func meantBy(addr netip.Addr) []netip.Addr {
	addr = addr.Unmap().WithZone("")
	meant := []netip.Addr{addr}
	if addr.Is4() {
		return meant
	}
	b := addr.As16()
	carry := func(at [4]int, mask byte) {
		v4 := [4]byte{b[at[0]] ^ mask, b[at[1]] ^ mask, b[at[2]] ^ mask, b[at[3]] ^ mask}
		if v4[0] != 0 { // 0.0.0.0/8 is no host; ::1 is not 0.0.0.1
			meant = append(meant, netip.AddrFrom4(v4))
		}
	}
	for _, c := range carriers {
		if !c.prefix.Contains(addr) {
			continue
		}
		for _, at := range c.at {
			carry(at, c.mask)
		}
	}
	if isatap := b[8]&^3 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe; isatap { // RFC 5214
		carry([4]int{12, 13, 14, 15}, 0)
	}
	return meant
}
