//go:build privileged

package netdev

import (
	"errors"
	"net"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Neighbours that are being asked for are forgotten with what waits for them, so
// that they are asked for anew; the others stay.
func TestForgetUnresolved(t *testing.T) {
	pair(t)
	own(t, "eth1", "10.77.0.1/24")
	own(t, "eth1", "fd77::1/64")
	// Until then errors about what is forgotten go to the host as to a neighbour.
	eventually(t, "the host's own address is local", func() bool {
		routes, err := netlink.RouteGet(net.ParseIP("fd77::1"))
		return err == nil && routes[0].Type == unix.RTN_LOCAL
	})
	link := device(t, "eth1").Attrs().Index
	known := &netlink.Neigh{LinkIndex: link, Family: unix.AF_INET, State: netlink.NUD_PERMANENT,
		IP: net.ParseIP("10.77.0.8"), HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 8}}
	if err := netlink.NeighAdd(known); err != nil {
		t.Fatal(err)
	}
	for _, nobody := range []string{"10.77.0.9:9", "[fd77::9]:9"} {
		c, err := net.Dial("udp", nobody)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Write([]byte("who is there?")); err != nil {
			t.Fatal(err)
		}
	}
	in := func(state int) (n int) {
		all, err := netlink.NeighList(link, netlink.FAMILY_ALL)
		if err != nil {
			t.Fatal(err)
		}
		for _, neighbour := range all {
			if neighbour.State == state {
				n++
			}
		}
		return n
	}
	if n := in(netlink.NUD_INCOMPLETE); n != 2 {
		t.Fatalf("%d neighbours are being asked for, want 2", n)
	}
	if err := ForgetUnresolved("eth1"); err != nil {
		t.Fatal(err)
	}
	if asked, stay := in(netlink.NUD_INCOMPLETE), in(netlink.NUD_PERMANENT); asked != 0 || stay != 1 {
		t.Errorf("%d neighbours are being asked for, %d are known; want 0 and 1", asked, stay)
	}
	if err := ForgetUnresolved("eth9"); !errors.Is(err, ErrNoLink) {
		t.Errorf("of an interface that is not there: %v", err)
	}
}
