//go:build privileged

package netdev

import (
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Only what is on the given interfaces tells whether they are cut off: a gateway on
// a link for management does not.
func TestOutside(t *testing.T) {
	node, peer := pair(t)
	cable(t, node, "mgmt", peer, "mgmt")
	own(t, "eth1", "10.77.0.1/24")
	own(t, "mgmt", "10.78.0.1/24")
	own(t, "eth1", "fd77::1/64")
	route(t, "0.0.0.0/0", "10.78.0.9")
	route(t, "::/0", "fd77::9")
	know := func(name, address string, state int) {
		t.Helper()
		err := netlink.NeighAdd(&netlink.Neigh{LinkIndex: device(t, name).Attrs().Index, State: state,
			IP: net.ParseIP(address), HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 8}})
		if err != nil {
			t.Fatal(err)
		}
	}
	know("eth1", "10.77.0.2", unix.NUD_REACHABLE) // another node
	know("eth1", "10.77.0.8", unix.NUD_STALE)
	know("eth1", "10.77.0.7", unix.NUD_FAILED)
	know("mgmt", "10.78.0.8", unix.NUD_REACHABLE)
	found, err := Outside([]string{"eth1"}, []netip.Addr{netip.MustParseAddr("10.77.0.2")})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, n := range found {
		got = append(got, n.Interface+" "+n.Address.String())
	}
	if want := []string{"eth1 fd77::9", "eth1 10.77.0.8"}; !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
}
