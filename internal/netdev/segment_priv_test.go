//go:build privileged

package netdev

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/shoal-net/shoal/internal/cluster"
)

func TestFilter(t *testing.T) {
	for _, test := range []struct {
		l2  cluster.L2
		mac cluster.MAC
		in  func(t *testing.T, mac cluster.MAC) bool
	}{
		{cluster.Unicast, cluster.MAC{0x02, 0xbf, 0xc0, 0, 2, 10}, inUnicastFilter},
		{cluster.Multicast, cluster.MAC{0x03, 0xbf, 0xc0, 0, 2, 10}, inMulticastFilter},
		{cluster.Multicast, cluster.MAC{0x01, 0, 0x5e, 0, 1, 1}, inMulticastFilter},
		{cluster.IGMP, cluster.MAC{0x01, 0, 0x5e, 0x7f, 2, 10}, inMulticastFilter},
	} {
		t.Run(test.l2.String()+" "+test.mac.String(), func(t *testing.T) {
			pair(t)
			index := info(t, "eth1").Index
			if test.in(t, test.mac) {
				t.Fatal("the MAC is in the filter before")
			}
			var filters []*Filter
			for range 2 {
				f, err := OpenFilter(index, test.l2, test.mac, true)
				if err != nil {
					t.Fatal(err)
				}
				filters = append(filters, f)
			}
			for _, f := range filters {
				if !test.in(t, test.mac) {
					t.Error("the MAC is not in the filter")
				}
				f.Close()
			}
			// Leaving a group is finished by the kernel in its own time.
			eventually(t, "the MAC leaves the filter", func() bool { return !test.in(t, test.mac) })
		})
	}
}

func inMulticastFilter(t *testing.T, mac cluster.MAC) bool {
	t.Helper()
	table, err := os.ReadFile("/proc/thread-self/net/dev_mcast")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(table), strings.ReplaceAll(mac.String(), ":", ""))
}

// inUnicastFilter asks for the device's own forwarding entries, which are what
// its unicast filter holds (rtnl_fdb_dump).
func inUnicastFilter(t *testing.T, mac cluster.MAC) bool {
	t.Helper()
	entries, err := netlink.NeighList(device(t, "eth1").Attrs().Index, unix.AF_BRIDGE)
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(entries, func(n netlink.Neigh) bool { return bytes.Equal(n.HardwareAddr, mac[:]) })
}

func TestFilterReceivesNothing(t *testing.T) {
	_, peer := pair(t)
	mac := cluster.MAC{0x03, 0xbf, 0xc0, 0, 2, 10}
	f, err := OpenFilter(info(t, "eth1").Index, cluster.Multicast, mac, false)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	arrived := newTap(t, "eth1")
	peer.on(t, func() {
		from := info(t, "eth1")
		if err := send(from.Index, [][]byte{append(ethernet(mac, from.MAC, 0x88b5), make([]byte, 50)...)}); err != nil {
			t.Fatal(err)
		}
	})
	arrived.wait(t, "to the cluster MAC", func(frame []byte) bool { return bytes.HasPrefix(frame, mac[:]) })
	if n, _, err := unix.Recvfrom(f.fds[0], make([]byte, 100), unix.MSG_DONTWAIT); err != unix.EAGAIN {
		t.Errorf("the filter's socket has received %d bytes, %v", n, err)
	}
}

func TestGroupsAreReported(t *testing.T) {
	_, peer := pair(t)
	own(t, "eth1", "192.0.2.1/24")
	mac := cluster.MAC{0x01, 0, 0x5e, 0x7f, 2, 10}
	var wire tap
	peer.on(t, func() { wire = newTap(t, "eth1") })
	f, err := OpenFilter(info(t, "eth1").Index, cluster.IGMP, mac, true)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	// Version 3 reports go to 224.0.0.22, MLD version 2's to ff02::16.
	report := func(group netip.Addr, to cluster.MAC) func([]byte) bool {
		return func(frame []byte) bool {
			return bytes.HasPrefix(frame, to[:]) && bytes.Contains(frame[38:], group.AsSlice())
		}
	}
	wire.wait(t, "an IGMP report", report(cluster.GroupIPv4(mac), groupMAC(netip.MustParseAddr("224.0.0.22"))))
	wire.wait(t, "an MLD report", report(cluster.GroupIPv6(mac), groupMAC(netip.MustParseAddr("ff02::16"))))
}

func TestRouterAdvertisement(t *testing.T) {
	sw, node := newHost(t), newHost(t)
	sw.on(t, func() {
		if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}); err != nil {
			t.Fatal(err)
		}
		up(t, "br0")
	})
	cable(t, node, "eth1", sw, "port1")
	sw.on(t, func() {
		if err := netlink.LinkSetMaster(device(t, "port1"), device(t, "br0")); err != nil {
			t.Fatal(err)
		}
	})
	own(t, "eth1", "192.0.2.1/24")
	link := info(t, "eth1")
	router := func(v4 bool) (is bool) {
		sw.on(t, func() { is = isRouterPort(t, device(t, "port1").Attrs().Index, v4) })
		return is
	}
	for _, v4 := range []bool{true, false} {
		if router(v4) {
			t.Fatalf("a router port before (v4 %v)", v4)
		}
		eventually(t, "the port becomes a router port", func() bool { // once the bridge forwards
			if err := SendRouterAdvertisement(link, nil, v4, !v4, false); err != nil {
				t.Fatal(err)
			}
			return router(v4)
		})
		if v4 && router(false) {
			t.Error("an IPv4 advertisement counts for IPv6")
		}
	}
}

// isRouterPort reads the bridge's list of multicast router ports
// (include/uapi/linux/if_bridge.h, MDBA_ROUTER).
func isRouterPort(t *testing.T, port int, v4 bool) bool {
	t.Helper()
	const (
		mdbaRouter, mdbaRouterPort = 2, 1
		inetTimer, inet6Timer      = 3, 4
		sizeofPortMsg              = 8
	)
	req := nl.NewNetlinkRequest(unix.RTM_GETMDB, unix.NLM_F_DUMP)
	req.AddRawData([]byte{unix.AF_BRIDGE, 0, 0, 0, 0, 0, 0, 0})
	messages, err := req.Execute(unix.NETLINK_ROUTE, 0)
	if err != nil {
		t.Fatalf("read the bridge's multicast database: %v", err)
	}
	attrs := func(b []byte) map[uint16][]byte {
		list, err := nl.ParseRouteAttr(b)
		if err != nil {
			t.Fatal(err)
		}
		m := map[uint16][]byte{}
		for _, a := range list {
			m[a.Attr.Type&^unix.NLA_F_NESTED] = a.Value
		}
		return m
	}
	for _, m := range messages {
		entry, ok := attrs(attrs(m[sizeofPortMsg:])[mdbaRouter])[mdbaRouterPort]
		if !ok || int(binary.NativeEndian.Uint32(entry)) != port {
			continue
		}
		timer := attrs(entry[4:])[inet6Timer]
		if v4 {
			timer = attrs(entry[4:])[inetTimer]
		}
		return len(timer) == 4 && binary.NativeEndian.Uint32(timer) != 0
	}
	return false
}

func TestRouterAdvertisementNeedsOwnAddress(t *testing.T) {
	pair(t)
	link := info(t, "eth1")
	add(t, "eth1", "192.0.2.10")
	own(t, "eth1", "192.0.2.11/24")
	exclude := []netip.Addr{netip.MustParseAddr("192.0.2.11")}
	err := SendRouterAdvertisement(link, exclude, true, false, false)
	if err == nil || !strings.Contains(err.Error(), "IPv4 address of its own") {
		t.Errorf("without an own IPv4 address: %v", err)
	}
	exclude = nil
	addrs, _ := listAddresses(false)
	for _, a := range addrs {
		exclude = append(exclude, netIP(a.IP))
	}
	err = SendRouterAdvertisement(link, exclude, false, true, false)
	if err == nil || !strings.Contains(err.Error(), "link-local") {
		t.Errorf("without an own IPv6 address: %v", err)
	}
}

func TestTermination(t *testing.T) {
	_, peer := pair(t)
	own(t, "eth1", "192.0.2.1/24")
	add(t, "eth1", "fe80::10")
	var wire tap
	peer.on(t, func() { wire = newTap(t, "eth1") })
	link := info(t, "eth1")
	if err := SendRouterAdvertisement(link, nil, true, true, true); err != nil {
		t.Fatal(err)
	}
	own4, err := ownAddress(link, nil, true)
	if err != nil {
		t.Fatal(err)
	}
	own6, err := ownAddress(link, nil, false)
	if err != nil || own6 == netip.MustParseAddr("fe80::10") {
		t.Fatalf("own link-local address %v, %v", own6, err)
	}
	for _, want := range [][]byte{
		routerAdvertisementIPv4(link.MAC, own4, true),
		routerAdvertisementIPv6(link.MAC, own6, true),
	} {
		wire.wait(t, "a termination", func(frame []byte) bool { return bytes.Equal(frame, want) })
	}
}

func TestAnnounce(t *testing.T) {
	_, peer := pair(t)
	link := info(t, "eth1")
	addrs := []netip.Addr{netip.MustParseAddr("192.0.2.10"), netip.MustParseAddr("2001:db8::10")}
	var wire tap
	peer.on(t, func() {
		own(t, "eth1", "192.0.2.99/24")
		own(t, "eth1", "2001:db8::99/64")
		wire = newTap(t, "eth1")
		for _, a := range addrs {
			err := netlink.NeighAdd(&netlink.Neigh{
				LinkIndex:    device(t, "eth1").Attrs().Index,
				State:        netlink.NUD_STALE,
				IP:           a.AsSlice(),
				HardwareAddr: []byte{2, 0, 0, 0, 0, 0x66},
			})
			if err != nil {
				t.Fatalf("neighbour %s: %v", a, err)
			}
		}
	})
	for range 2 {
		if err := Announce(link, clusterMAC, addrs); err != nil {
			t.Fatal(err)
		}
	}
	for _, a := range addrs {
		wire.wait(t, "an announcement", func(frame []byte) bool {
			return bytes.Contains(frame[14:], clusterMAC[:]) && bytes.Contains(frame[14:], a.AsSlice()) &&
				bytes.Equal(frame[6:12], link.MAC[:])
		})
	}
	peer.on(t, func() {
		for _, a := range addrs {
			eventually(t, "the neighbour entry has the cluster MAC", func() bool {
				entries, err := netlink.NeighList(device(t, "eth1").Attrs().Index, 0)
				if err != nil {
					t.Fatal(err)
				}
				return slices.ContainsFunc(entries, func(n netlink.Neigh) bool {
					return netIP(n.IP) == a && bytes.Equal(n.HardwareAddr, clusterMAC[:])
				})
			})
		}
	})
}
