//go:build privileged

package netdev

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/shoal-net/shoal/internal/cluster"
)

func TestLink(t *testing.T) {
	_, peer := pair(t)
	got := info(t, "eth1")
	if got.Name != "eth1" || got.Type != "veth" || got.MTU != 1500 || got.MAC == (cluster.MAC{}) || !got.Up || !got.Carrier {
		t.Errorf("Link(eth1) = %+v", got)
	}
	peer.on(t, func() { netlink.LinkSetDown(device(t, "eth1")) })
	if got := info(t, "eth1"); !got.Up || got.Carrier {
		t.Errorf("with the other end down: Up %v, Carrier %v; want up without carrier", got.Up, got.Carrier)
	}
	if _, err := Link("eth9"); !errors.Is(err, ErrNoLink) || !strings.Contains(err.Error(), "eth9") {
		t.Errorf("Link(eth9) = %v; want ErrNoLink with the name", err)
	}
	if _, err := Link("lo"); err == nil || errors.Is(err, ErrNoLink) {
		t.Errorf("Link(lo) = %v; want: not Ethernet", err)
	}
}

func TestAddress(t *testing.T) {
	for _, text := range []string{"192.0.2.10", "2001:db8::10", "fe80::10"} {
		t.Run(text, func(t *testing.T) {
			pair(t)
			index, addr := info(t, "eth1").Index, netip.MustParseAddr(text)
			for _, want := range []bool{true, false} {
				if added, err := AddAddress(index, addr); err != nil || added != want {
					t.Fatalf("AddAddress = %v, %v; want %v", added, err, want)
				}
			}
			if has, err := HasAddress(index, addr); err != nil || !has {
				t.Fatalf("HasAddress = %v, %v; want true", has, err)
			}
			checkForm(t, index, addr)
			for range 2 {
				if err := RemoveAddress(index, addr); err != nil {
					t.Fatal(err)
				}
				if has, err := HasAddress(index, addr); err != nil || has {
					t.Fatalf("after removal HasAddress = %v, %v; want false", has, err)
				}
			}
		})
	}
}

func checkForm(t *testing.T, index int, addr netip.Addr) {
	t.Helper()
	addrs, err := listAddresses(addr.Is4())
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if a.LinkIndex != index || netIP(a.IP) != addr {
			continue
		}
		const forever = 1<<32 - 1
		if ones, bits := a.Mask.Size(); ones != bits || a.ValidLft != forever || a.Broadcast != nil {
			t.Errorf("address is %v, valid %d s, broadcast %v", a.IPNet, a.ValidLft, a.Broadcast)
		}
		if addr.Is4() && a.Scope != unix.RT_SCOPE_HOST {
			t.Errorf("scope is %d, want host", a.Scope)
		}
		if addr.Is6() && a.PreferedLft != 0 {
			t.Errorf("preferred for %d s, want 0", a.PreferedLft)
		}
		return
	}
	t.Errorf("%s is not there", addr)
}

func TestOwnAddressIsRefused(t *testing.T) {
	for _, test := range []struct{ iface, own, cluster, want string }{
		{"eth1", "192.0.2.10/24", "192.0.2.10", "ip address del 192.0.2.10/24 dev eth1"},
		{"eth1", "192.0.2.10/32", "192.0.2.10", "ip address del 192.0.2.10/32 dev eth1"},
		{"eth2", "192.0.2.10/24", "192.0.2.10", "ip address del 192.0.2.10/24 dev eth2"},
		{"lo", "192.0.2.10/32", "192.0.2.10", "ip address del 192.0.2.10/32 dev lo"},
		{"eth1", "2001:db8::10/64", "2001:db8::10", "ip address del 2001:db8::10/64 dev eth1"},
		{"eth1", "2001:db8::10/128", "2001:db8::10", "ip address del 2001:db8::10/128 dev eth1"},
		{"eth1", "fe80::10/64", "fe80::10", "ip address del fe80::10/64 dev eth1"},
		{"eth2", "fe80::10/64", "fe80::10", ""},
		{"eth1", "192.0.2.11/24", "192.0.2.10", ""},
	} {
		t.Run(test.own+" on "+test.iface, func(t *testing.T) {
			node, peer := pair(t)
			cable(t, node, "eth2", peer, "eth2")
			own(t, test.iface, test.own)
			index, addr := info(t, "eth1").Index, netip.MustParseAddr(test.cluster)
			added, err := AddAddress(index, addr)
			if test.want == "" {
				if err != nil || !added {
					t.Fatalf("AddAddress = %v, %v; want it added", added, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("AddAddress = %v; want an error with %q", err, test.want)
			}
			if err := RemoveAddress(index, addr); err != nil {
				t.Fatal(err)
			}
			a, _ := netlink.ParseAddr(test.own)
			if err := netlink.AddrDel(device(t, test.iface), a); err != nil {
				t.Errorf("the own address did not survive RemoveAddress: %v", err)
			}
		})
	}
}

func TestIPv6Disabled(t *testing.T) {
	pair(t)
	write(t, "net/ipv6/conf/eth1/disable_ipv6", "1")
	_, err := AddAddress(info(t, "eth1").Index, netip.MustParseAddr("2001:db8::10"))
	if err == nil || !strings.Contains(err.Error(), "net/ipv6/conf/eth1/disable_ipv6") {
		t.Errorf("AddAddress = %v; want an error that names the sysctl", err)
	}
}

// The cluster address is added first: order must not matter.
func TestClusterAddressIsNoSource(t *testing.T) {
	for _, test := range []struct {
		name           string
		cluster        string
		iface, own, to string
		want           string
	}{
		{"IPv4, same prefix", "192.0.2.10", "eth1", "192.0.2.1/24", "192.0.2.99", "192.0.2.1"},
		{"IPv4, off link", "192.0.2.10", "eth1", "192.0.2.1/24", "203.0.113.9", "192.0.2.1"},
		{"IPv4, own address elsewhere", "198.51.100.10", "eth2", "192.0.2.1/24", "203.0.113.9", "192.0.2.1"},
		{"IPv6, same prefix", "2001:db8::10", "eth1", "2001:db8::1/64", "2001:db8::99", "2001:db8::1"},
		{"IPv6, off link", "2001:db8::10", "eth1", "2001:db8::1/64", "2001:db8:9::9", "2001:db8::1"},
		{"IPv6, own address elsewhere", "2001:db8::10", "eth2", "2001:db8:2::1/64", "2001:db8:9::9", "2001:db8:2::1"},
		{"IPv6, link-local", "fe80::10", "eth1", "fe80::1/64", "fe80::99%eth1", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			node, peer := pair(t)
			cable(t, node, "eth2", peer, "eth2")
			add(t, "eth1", test.cluster)
			own(t, test.iface, test.own)
			defaultRoute(t, "eth1", netip.MustParseAddr(test.to).Is4())
			got := source(t, test.to)
			if test.want == "" && strings.HasPrefix(got, test.cluster+"%") {
				t.Errorf("the source towards %s is the cluster address", test.to)
			}
			if test.want != "" && got != test.want {
				t.Errorf("the source towards %s is %q, want %s", test.to, got, test.want)
			}
		})
	}
}

// With no other address at all, IPv4 has no source; IPv6 takes the cluster
// address for destinations beyond the link, and the link-local one on it.
func TestClusterAddressAlone(t *testing.T) {
	pair(t)
	add(t, "eth1", "192.0.2.10")
	add(t, "eth1", "2001:db8::10")
	defaultRoute(t, "eth1", true)
	defaultRoute(t, "eth1", false)
	for _, to := range []string{"192.0.2.99", "203.0.113.9"} {
		if got := source(t, to); got == "192.0.2.10" {
			t.Errorf("the source towards %s is the cluster address", to)
		}
	}
	if got := source(t, "fe80::99%eth1"); !strings.HasPrefix(got, "fe80:") {
		t.Errorf("the source towards a link-local address is %s", got)
	}
	if got := source(t, "2001:db8:9::9"); got != "2001:db8::10" {
		t.Errorf("the source is %s: the kernel no longer falls back to a deprecated address; say so in AddAddress", got)
	}
}

func defaultRoute(t *testing.T, name string, v4 bool) {
	t.Helper()
	_, dst, _ := net.ParseCIDR("::/0")
	if v4 {
		_, dst, _ = net.ParseCIDR("0.0.0.0/0")
	}
	if err := netlink.RouteAdd(&netlink.Route{Dst: dst, LinkIndex: device(t, name).Attrs().Index, Scope: unix.RT_SCOPE_LINK}); err != nil {
		t.Fatalf("default route: %v", err)
	}
}

// source tells the address that the kernel picks to connect to another; "" if
// it finds none.
func source(t *testing.T, to string) string {
	t.Helper()
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(to), 9)))
	if err != nil {
		t.Logf("connect to %s: %v", to, err)
		return ""
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().String()
}

func TestAddressIsAnswered(t *testing.T) {
	_, peer := pair(t)
	add(t, "eth1", "192.0.2.10")
	add(t, "eth1", "2001:db8::10")
	own(t, "eth1", "192.0.2.1/24")
	own(t, "eth1", "2001:db8::1/64")
	echo(t, "192.0.2.10:7")
	echo(t, "[2001:db8::10]:7")
	peer.on(t, func() {
		own(t, "eth1", "192.0.2.99/24")
		own(t, "eth1", "2001:db8::99/64")
		checkEcho(t, "192.0.2.10:7", "[2001:db8::10]:7")
	})
}

// The group of an address's solicitations is joined when AddAddress returns.
func TestAddressIsInService(t *testing.T) {
	pair(t)
	index := info(t, "eth1").Index
	for _, test := range []struct{ addr, group string }{
		{"2001:db8::10", "ff0200000000000000000001ff000010"},
		{"fe80::11", "ff0200000000000000000001ff000011"},
	} {
		for range 20 {
			addr := netip.MustParseAddr(test.addr)
			if _, err := AddAddress(index, addr); err != nil {
				t.Fatal(err)
			}
			groups, err := os.ReadFile("/proc/thread-self/net/igmp6")
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(groups), test.group) {
				t.Fatalf("%s: in these groups only:\n%s", addr, groups)
			}
			if err := RemoveAddress(index, addr); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestAddressOnLinkThatIsDown(t *testing.T) {
	pair(t)
	if err := netlink.LinkSetDown(device(t, "eth1")); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	index, addr := info(t, "eth1").Index, netip.MustParseAddr("2001:db8::10")
	if added, err := AddAddress(index, addr); err != nil || !added {
		t.Errorf("AddAddress = %v, %v; want true", added, err)
	}
	if took := time.Since(began); took > answersPatience/2 {
		t.Errorf("it took %v", took)
	}
}

func TestVanishedLink(t *testing.T) {
	pair(t)
	link := info(t, "eth1")
	filter, err := OpenFilter(link.Index, cluster.IGMP, cluster.MAC{1, 0, 0x5e, 0x7f, 2, 10}, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkDel(device(t, "eth1")); err != nil {
		t.Fatal(err)
	}
	filter.Close()
	filter.Close()
	addr := netip.MustParseAddr("192.0.2.10")
	for name, act := range map[string]func() error{
		"AddAddress":    func() error { _, err := AddAddress(link.Index, addr); return err },
		"RemoveAddress": func() error { return RemoveAddress(link.Index, addr) },
		"HasAddress":    func() error { _, err := HasAddress(link.Index, addr); return err },
		"OpenFilter": func() error {
			_, err := OpenFilter(link.Index, cluster.Unicast, cluster.MAC{2}, false)
			return err
		},
		"Announce": func() error { return Announce(link, clusterMAC, []netip.Addr{addr}) },
		"SendRouterAdvertisement": func() error {
			return SendRouterAdvertisement(link, nil, true, true, false)
		},
		"Set": func() error {
			_, _, err := new(Sysctls).Set(Sysctl{Key: "net/ipv4/conf/eth1/forwarding", Value: "1"})
			return err
		},
	} {
		if err := act(); !errors.Is(err, ErrNoLink) {
			t.Errorf("%s = %v; want ErrNoLink", name, err)
		}
	}
}
