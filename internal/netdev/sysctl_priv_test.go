//go:build privileged

package netdev

import (
	"encoding/json"
	"errors"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/shoal-net/shoal/internal/cluster"
)

func TestSysctlsSetAndRestore(t *testing.T) {
	node, peer := newHost(t), newHost(t)
	cable(t, peer, "eth1", node, "eth1.7")
	node.on(t, func() {
		const forwarding, mtu = "net/ipv4/conf/eth1.7/forwarding", "net/ipv6/conf/eth1.7/mtu"
		const kept, same = "net/ipv4/conf/eth1.7/rp_filter", "net/ipv4/conf/all/forwarding"
		var s Sysctls
		set := func(want Sysctl, old string, changed bool) {
			t.Helper()
			gotOld, gotChanged, err := s.Set(want)
			if err != nil || gotOld != old || gotChanged != changed {
				t.Errorf("Set(%v) = %q, %v, %v; want %q, %v", want, gotOld, gotChanged, err, old, changed)
			}
		}
		write(t, kept, "0")
		s.Save = func() error {
			last := s.Changes[len(s.Changes)-1]
			if now := read(t, last.Key); now != last.Old && last.Key != mtu {
				t.Errorf("%s is %s when %v is to be kept: too late", last.Key, now, last)
			}
			return nil
		}
		set(Sysctl{Key: forwarding, Value: "1"}, "0", true)
		set(Sysctl{Key: forwarding, Value: "1"}, "1", false)
		set(Sysctl{Key: mtu, Value: "1400", If: "9000"}, "1500", false)
		set(Sysctl{Key: mtu, Value: "1400", If: "1500"}, "1500", true)
		set(Sysctl{Key: mtu, Value: "1300"}, "1400", true)
		set(Sysctl{Key: kept, Value: "2"}, "0", true)
		set(Sysctl{Key: same, Value: "0"}, "0", false)
		write(t, kept, "1")

		saved, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var later Sysctls
		if err := json.Unmarshal(saved, &later); err != nil {
			t.Fatal(err)
		}
		got, err := later.Restore()
		if err != nil || len(later.Changes) != 0 {
			t.Errorf("Restore: %v; left: %v", err, later.Changes)
		}
		if diff := cmp.Diff([]Change{{Key: kept, Old: "0", New: "1"}}, got); diff != "" {
			t.Errorf("kept (-want +got):\n%s", diff)
		}
		for key, want := range map[string]string{forwarding: "0", mtu: "1500", kept: "1", same: "0"} {
			if got := read(t, key); got != want {
				t.Errorf("%s is %s after Restore, want %s", key, got, want)
			}
		}
	})
}

func TestSysctlsAreTheThreadsNamespace(t *testing.T) {
	_, peer := pair(t)
	var s Sysctls
	key := "net/ipv4/conf/eth1/forwarding"
	if _, changed, err := s.Set(Sysctl{Key: key, Value: "1"}); err != nil || !changed {
		t.Fatalf("Set = %v, %v", changed, err)
	}
	peer.on(t, func() {
		if got := read(t, key); got != "0" {
			t.Errorf("the other namespace has %s", got)
		}
	})
	if got := read(t, key); got != "1" {
		t.Errorf("this namespace has %s", got)
	}
}

func TestSysctlsOfVanishedLink(t *testing.T) {
	pair(t)
	var s Sysctls
	if _, _, err := s.Set(Sysctl{Key: "net/ipv4/conf/eth1/forwarding", Value: "1"}); err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkDel(device(t, "eth1")); err != nil {
		t.Fatal(err)
	}
	if kept, err := s.Restore(); err != nil || len(kept) != 0 || len(s.Changes) != 0 {
		t.Errorf("Restore = %v, %v; left %v", kept, err, s.Changes)
	}
	if _, _, err := s.Set(Sysctl{Key: "net/ipv6/conf/eth1/no_such", Value: "1"}); !errors.Is(err, ErrNoLink) {
		t.Errorf("Set = %v; want ErrNoLink", err)
	}
}

// A gateway with a third interface, which learned its default route from a
// router advertisement: nothing of that may suffer.
func TestGatewaySysctls(t *testing.T) {
	server, client, router, node := newHost(t), newHost(t), newHost(t), newHost(t)
	cable(t, node, "eth1", client, "eth1")
	cable(t, node, "eth2", server, "eth1")
	cable(t, node, "eth3", router, "eth1")
	learnDefaultRoute(t, router)
	before := settings(t)

	c := &cluster.Cluster{Mode: cluster.Gateway}
	for _, name := range []string{"eth1", "eth2"} {
		c.Interfaces = append(c.Interfaces, cluster.Interface{Name: name, Addresses: []netip.Addr{
			netip.MustParseAddr("192.0.2.10"), netip.MustParseAddr("2001:db8::10")}})
	}
	var s Sysctls
	for _, want := range Needed(c) {
		if _, _, err := s.Set(want); err != nil {
			t.Fatal(err)
		}
	}
	if !hasDefaultRoute(t) {
		t.Error("the default route is gone")
	}
	want := map[string]string{
		"net/ipv6/conf/all/forwarding":  "1",
		"net/ipv4/conf/eth1/forwarding": "1", "net/ipv4/conf/eth2/forwarding": "1",
		"net/ipv6/conf/eth1/forwarding": "1", "net/ipv6/conf/eth2/forwarding": "1",
		"net/ipv6/conf/eth1/accept_ra": "2", "net/ipv6/conf/eth2/accept_ra": "2",
	}
	for key, value := range before {
		if _, set := want[key]; !set {
			want[key] = value
		}
	}
	if diff := cmp.Diff(want, settings(t)); diff != "" {
		t.Errorf("settings while up (-want +got):\n%s", diff)
	}
	checkForwarding(t, client, server)

	if kept, err := s.Restore(); err != nil || len(kept) != 0 {
		t.Errorf("Restore = %v, %v", kept, err)
	}
	if diff := cmp.Diff(before, settings(t)); diff != "" {
		t.Errorf("settings afterwards (-want +got):\n%s", diff)
	}
	if !hasDefaultRoute(t) {
		t.Error("the default route is gone after Restore")
	}
}

// What writeForwarding is for: if this fails, it can go.
func TestKernelResetsOtherInterfaces(t *testing.T) {
	router, node := newHost(t), newHost(t)
	cable(t, node, "eth3", router, "eth1")
	learnDefaultRoute(t, router)
	write(t, "net/ipv6/conf/all/forwarding", "1")
	if hasDefaultRoute(t) {
		t.Error("the default route is still there")
	}
	if got := read(t, "net/ipv6/conf/eth3/forwarding"); got != "1" {
		t.Errorf("eth3 has forwarding %s", got)
	}
}

// settings reads every sysctl of the interfaces.
func settings(t *testing.T) map[string]string {
	t.Helper()
	got := map[string]string{}
	for _, name := range []string{"all", "default", "lo", "eth1", "eth2", "eth3"} {
		for _, key := range []string{conf(4, name, "forwarding"), conf(4, name, "accept_redirects"),
			conf(4, name, "drop_unicast_in_l2_multicast"), conf(6, name, "forwarding"), conf(6, name, "force_forwarding"),
			conf(6, name, "accept_ra"), conf(6, name, "accept_redirects")} {
			if value, err := readSysctl(key); err == nil {
				got[key] = value
			}
		}
	}
	return got
}

// learnDefaultRoute has a router advertise itself to eth3, which is set to
// force_forwarding besides, where there is such a thing.
func learnDefaultRoute(t *testing.T, router host) {
	t.Helper()
	if _, err := readSysctl("net/ipv6/conf/eth3/force_forwarding"); err == nil {
		write(t, "net/ipv6/conf/eth3/force_forwarding", "1")
	}
	router.on(t, func() {
		link := info(t, "eth1")
		src, err := ownAddress(link, nil, false)
		if err != nil {
			t.Fatal(err)
		}
		// RFC 4861, section 4.2: hop limit 64, lifetime 1800 s.
		body := []byte{134, 0, 0, 0, 64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0}
		if err := send(link.Index, [][]byte{ipv6Frame(link.MAC, src, allNodes, 255, nil, body)}); err != nil {
			t.Fatal(err)
		}
	})
	eventually(t, "the default route is learned", func() bool { return hasDefaultRoute(t) })
}

func hasDefaultRoute(t *testing.T) bool {
	t.Helper()
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_V6, &netlink.Route{Protocol: unix.RTPROT_RA}, netlink.RT_FILTER_PROTOCOL)
	if err != nil {
		t.Fatal(err)
	}
	return len(routes) > 0
}

func checkForwarding(t *testing.T, client, server host) {
	t.Helper()
	own(t, "eth1", "192.0.2.1/24")
	own(t, "eth1", "2001:db8::1/64")
	own(t, "eth2", "198.51.100.1/24")
	own(t, "eth2", "2001:db8:2::1/64")
	server.on(t, func() {
		own(t, "eth1", "198.51.100.9/24")
		own(t, "eth1", "2001:db8:2::9/64")
		route(t, "0.0.0.0/0", "198.51.100.1")
		route(t, "::/0", "2001:db8:2::1")
		echo(t, "198.51.100.9:7")
		echo(t, "[2001:db8:2::9]:7")
	})
	client.on(t, func() {
		own(t, "eth1", "192.0.2.99/24")
		own(t, "eth1", "2001:db8::99/64")
		route(t, "0.0.0.0/0", "192.0.2.1")
		route(t, "::/0", "2001:db8::1")
		checkEcho(t, "198.51.100.9:7", "[2001:db8:2::9]:7")
	})
}
