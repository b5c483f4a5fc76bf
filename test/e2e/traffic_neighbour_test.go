//go:build privileged

package e2e

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/shoal-net/shoal/internal/lab"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// neighbourTraffic is what keeps hosts knowing each other's MACs: solicitations
// to the host itself again and again, while traffic flows; nothing fails, and
// nobody asks all again.
var neighbourTraffic = []trafficTest{
	{"reachable", testReachable},
	{"duplicates", testDuplicates},
}

// quickly makes a host doubt what it knows after a third of a second, and ask
// at once.
var quickly = map[string]string{"base_reachable_time_ms": "300", "delay_first_probe_time": "0", "retrans_time_ms": "500"}

func setNeighbours(t *testing.T, ns *lab.Namespace, link string, settings map[string]string) {
	t.Helper()
	for setting, value := range settings {
		for _, version := range []string{"ipv4", "ipv6"} {
			must(t, ns.Sysctl(version+"/neigh/"+link+"/"+setting, value))
		}
	}
}

func testReachable(t *testing.T, s *site) {
	known := s.neighbourhoods()
	for _, k := range known {
		setNeighbours(t, k.ns, k.link, quickly)
		forgetNeighbours(t, k.ns) // their timers are set
	}
	port := s.nextPort()
	ask := func() {
		each(t, s.ClientAddresses(), func(ctx context.Context, client netip.Addr) error {
			return s.askUDP(ctx, netip.AddrPortFrom(client, port), 100)
		})
	}
	ask()
	s.reset(t)
	probes := map[netip.Addr]int{}
	await(t, "all hosts to be probed twice", func() bool {
		ask()
		for _, k := range known {
			k.check(t)
		}
		countProbes(t, s.take(t), probes)
		return !slices.ContainsFunc(s.ClientAddresses(), func(c netip.Addr) bool { return probes[c] < 2 }) &&
			!slices.ContainsFunc(s.serverAddresses(), func(a netip.Addr) bool { return probes[a] < 2 })
	})
	// What is confirmed from now on stays so.
	for _, k := range known {
		setNeighbours(t, k.ns, k.link, map[string]string{"base_reachable_time_ms": "60000"})
	}
	await(t, "all neighbours to be reachable", func() bool {
		ask()
		return !slices.ContainsFunc(known, func(k neighbourhood) bool { return !k.check(t) })
	})
}

// A neighbourhood is what one host has to know about others while traffic
// flows.
type neighbourhood struct {
	ns     *lab.Namespace
	link   string
	others []netip.Addr
	mac    string // of all others
}

func (s *site) neighbourhoods() []neighbourhood {
	var all []neighbourhood
	clientMAC, serverMAC := ownMACOf(s.t, s.Clients, "eth0").String(), ""
	if s.gateway {
		serverMAC = ownMACOf(s.t, s.Server, "eth0").String()
	}
	for _, n := range s.Nodes {
		var own []netip.Addr
		for _, c := range s.ClientAddresses() {
			if s.owner(c) == n.ID {
				own = append(own, c)
			}
		}
		all = append(all, neighbourhood{n.NS, "eth1", own, clientMAC})
		if s.gateway {
			all = append(all, neighbourhood{n.NS, "eth2", s.serverAddresses(), serverMAC})
		}
	}
	macs := s.clusterMACs()
	all = append(all, neighbourhood{s.Clients, "eth0", s.ClusterAddresses(), macs[0].String()})
	if s.gateway {
		all = append(all, neighbourhood{s.Server, "eth0", s.ServerSideAddresses(), macs[1].String()})
	}
	return all
}

// check fails the test where an entry is missing, failed, or has a wrong MAC,
// and says whether all are reachable.
func (k neighbourhood) check(t *testing.T) bool {
	t.Helper()
	entries := neighbours(t, k.ns, k.link)
	reachable := true
	for _, a := range k.others {
		n, ok := entries[a]
		bad := !ok || n.State&(netlink.NUD_INCOMPLETE|netlink.NUD_FAILED|netlink.NUD_NONE) != 0 || n.HardwareAddr.String() != k.mac
		if bad {
			t.Errorf("%s of %s knows %s as %v in state %#x, want %s", k.link, k.ns.Name, a, n.HardwareAddr, n.State, k.mac)
		}
		reachable = reachable && n.State == netlink.NUD_REACHABLE
	}
	return reachable
}

// countProbes adds solicitations that came to the host itself, and fails the
// test where one came to all.
func countProbes(t *testing.T, ev events, probes map[netip.Addr]int) {
	t.Helper()
	for _, p := range append(ev.clients, ev.server...) {
		asked := p.ndTarget
		switch {
		case p.arpOp == arpRequest && p.from != p.to: // and not an announcement
			asked = p.to
		case p.proto == unix.IPPROTO_ICMPV6 && p.icmpType == solicitation:
		default:
			continue
		}
		if p.ethTo[0]&1 != 0 {
			t.Errorf("%s asks all: %v %s", p.ethFrom, p, p.ndTarget)
		}
		probes[asked]++
	}
}

// No node takes another one's cluster address for a duplicate of its own; the
// nodes' detection works; and who would take a cluster address is told.
func testDuplicates(t *testing.T, s *site) {
	for _, n := range s.Nodes {
		if on := in(t, n.NS, "cat", "/proc/sys/net/ipv6/conf/eth1/accept_dad"); strings.TrimSpace(on) != "1" {
			t.Fatalf("%s does not detect duplicates", n.Name)
		}
		addAddress(t, n.NS, "eth1", second(n))
	}
	for _, n := range s.Nodes {
		awaitAddress(t, n.NS, "eth1", second(n), 0)
		all, err := n.NS.Netlink().AddrList(nil, netlink.FAMILY_V6)
		must(t, err)
		for _, a := range all {
			if a.Flags&(unix.IFA_F_DADFAILED|unix.IFA_F_TENTATIVE) != 0 {
				t.Errorf("%s has %s with flags %#x", n.Name, a.IPNet, a.Flags)
			}
		}
		removeAddress(t, n.NS, "eth1", second(n))
	}
	vip := sameFamily(s.ClusterAddresses(), netip.IPv6Unspecified())[0]
	addAddress(t, s.Clients, "eth0", vip)
	awaitAddress(t, s.Clients, "eth0", vip, unix.IFA_F_DADFAILED)
	removeAddress(t, s.Clients, "eth0", vip)
}

// second is another own address of a node's.
func second(n *lab.Node) netip.Addr { return netip.MustParseAddr(fmt.Sprintf("fd77::2:%d", n.ID)) }

// addAddress adds an IPv6 address with duplicate address detection, without
// its random delay.
func addAddress(t *testing.T, ns *lab.Namespace, name string, a netip.Addr) {
	t.Helper()
	must(t, ns.Sysctl("ipv6/neigh/"+name+"/retrans_time_ms", "100"))
	must(t, ns.Sysctl("ipv6/conf/"+name+"/router_solicitation_delay", "0"))
	link, err := ns.Netlink().LinkByName(name)
	must(t, err)
	must(t, ns.Netlink().AddrAdd(link, hostAddress(a)))
}

func removeAddress(t *testing.T, ns *lab.Namespace, name string, a netip.Addr) {
	t.Helper()
	link, err := ns.Netlink().LinkByName(name)
	must(t, err)
	must(t, ns.Netlink().AddrDel(link, hostAddress(a)))
}

func hostAddress(a netip.Addr) *netlink.Addr {
	return &netlink.Addr{IPNet: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())}}
}

// awaitAddress waits until the detection for an address has come to an end.
func awaitAddress(t *testing.T, ns *lab.Namespace, link string, a netip.Addr, want int) {
	t.Helper()
	l, err := ns.Netlink().LinkByName(link)
	must(t, err)
	var flags int
	await(t, "the end of duplicate address detection for "+a.String(), func() bool {
		all, err := ns.Netlink().AddrList(l, netlink.FAMILY_V6)
		must(t, err)
		i := slices.IndexFunc(all, func(have netlink.Addr) bool { return have.IP.Equal(a.AsSlice()) })
		if i < 0 {
			t.Fatalf("%s of %s lost %s", link, ns.Name, a)
		}
		flags = all[i].Flags & (unix.IFA_F_DADFAILED | unix.IFA_F_TENTATIVE)
		return flags&unix.IFA_F_DADFAILED != 0 || flags == 0
	})
	if flags&unix.IFA_F_DADFAILED != want {
		t.Errorf("%s of %s has %s with flags %#x, want %#x", link, ns.Name, a, flags, want)
	}
}
