package netdev

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shoal-net/shoal/internal/cluster"
)

var (
	ownMAC     = cluster.MAC{0x02, 0, 0, 0, 0, 0x11}
	clusterMAC = cluster.MAC{0x03, 0xbf, 0xc0, 0x00, 0x02, 0x0a}
)

// The frames were written by hand from the RFCs; the checksums were computed
// by another program.
func TestFrames(t *testing.T) {
	v4 := netip.MustParseAddr("192.0.2.10")
	v6 := netip.MustParseAddr("2001:db8::10")
	own4 := netip.MustParseAddr("192.0.2.1")
	own6 := netip.MustParseAddr("fe80::11")
	for _, test := range []struct {
		name string
		got  []byte
		want string
	}{
		{"gratuitous ARP", gratuitousARP(ownMAC, clusterMAC, v4), `
			ffffffffffff 020000000011 0806
			0001 0800 06 04 0001
			03bfc000020a c000020a
			000000000000 c000020a`},
		{"neighbour advertisement of a host", unsolicitedNA(ownMAC, clusterMAC, v6, false), `
			333300000001 020000000011 86dd
			60000000 0020 3a ff
			20010db8000000000000000000000010
			ff020000000000000000000000000001
			88 00 3544 20000000
			20010db8000000000000000000000010
			02 01 03bfc000020a`},
		{"neighbour advertisement of a router", unsolicitedNA(ownMAC, clusterMAC, v6, true), `
			333300000001 020000000011 86dd
			60000000 0020 3a ff
			20010db8000000000000000000000010
			ff020000000000000000000000000001
			88 00 b543 a0000000
			20010db8000000000000000000000010
			02 01 03bfc000020a`},
		{"IGMP router advertisement", routerAdvertisementIPv4(ownMAC, own4, false), `
			01005e00006a 020000000011 0800
			46 c0 0020 0000 0000 01 02 81ac c0000201 e000006a 94040000
			30 14 cfeb 0000 0000`},
		{"IGMP router termination", routerAdvertisementIPv4(ownMAC, own4, true), `
			01005e00006a 020000000011 0800
			46 c0 001c 0000 0000 01 02 81b0 c0000201 e000006a 94040000
			32 00 cdff`},
		{"ICMPv6 router advertisement", routerAdvertisementIPv6(ownMAC, own6, false), `
			33330000006a 020000000011 86dd
			60000000 0010 00 01
			fe800000000000000000000000000011
			ff02000000000000000000000000006a
			3a 00 05020000 0100
			97 14 6aaa 0000 0000`},
		{"ICMPv6 router termination", routerAdvertisementIPv6(ownMAC, own6, true), `
			33330000006a 020000000011 86dd
			60000000 000c 00 01
			fe800000000000000000000000000011
			ff02000000000000000000000000006a
			3a 00 05020000 0100
			99 00 68c2`},
	} {
		t.Run(test.name, func(t *testing.T) {
			want := strings.Join(strings.Fields(test.want), "")
			if diff := cmp.Diff(want, hex.EncodeToString(test.got)); diff != "" {
				t.Errorf("frame (-want +got):\n%s", diff)
			}
		})
	}
}
