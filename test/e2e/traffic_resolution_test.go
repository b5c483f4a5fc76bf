//go:build privileged

package e2e

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"

	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/internal/lab"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A segment is one link of a site, seen from the host that is no node.
type segment struct {
	name    string // of the nodes' interfaces
	host    *lab.Namespace
	tap     *tap
	askers  []netip.Addr
	vips    []netip.Addr
	mac     cluster.MAC // the cluster's
	hostMAC cluster.MAC
	nodes   []cluster.MAC // the nodes' own
}

func (s *site) segments(t *testing.T) []segment {
	t.Helper()
	all := []segment{{name: "eth1", host: s.Clients, tap: s.clients, askers: s.ClientAddresses(), vips: s.ClusterAddresses()}}
	if s.gateway {
		// Who asks there need not exist: answers go to the MAC that asks.
		var askers []netip.Addr
		for i := 1; i <= 50; i++ {
			askers = append(askers, netip.AddrFrom4([4]byte{10, 78, 1, byte(i)}), netip.MustParseAddr(fmt.Sprintf("fd78::1:%d", i)))
		}
		all = append(all, segment{name: "eth2", host: s.Server, tap: s.server, askers: askers, vips: s.ServerSideAddresses()})
	}
	for i := range all {
		g := &all[i]
		g.mac, g.hostMAC = s.clusterMACs()[i], ownMACOf(t, g.host, "eth0")
		for _, n := range s.Nodes {
			g.nodes = append(g.nodes, ownMACOf(t, n.NS, g.name))
		}
	}
	return all
}

func ownMACOf(t *testing.T, ns *lab.Namespace, link string) cluster.MAC {
	t.Helper()
	l, err := ns.Netlink().LinkByName(link)
	must(t, err)
	return cluster.MAC(l.Attrs().HardwareAddr)
}

var resolution = []trafficTest{{"resolution", testResolution}}

// Each request for a cluster address is answered once, by the node of the
// asker's bucket, with the cluster MAC.
func testResolution(t *testing.T, s *site) {
	for _, g := range s.segments(t) {
		for _, toCluster := range []bool{false, true} {
			s.reset(t)
			for _, asker := range g.askers {
				g.send(t, g.request(asker, toCluster))
			}
			s.settle(t)
			g.checkAnswers(t, s, toCluster)
		}
		g.checkProbe(t, s)
		g.checkEntries(t)
	}
}

// checkAnswers fails the test where an asker had not one right answer. Of IPv6
// those to solicitations that came to the cluster MAC need not repeat it (RFC
// 4861, section 7.2.4).
func (g segment) checkAnswers(t *testing.T, s *site, toCluster bool) {
	t.Helper()
	got := map[netip.Addr][]packet{}
	for _, p := range g.tap.take(t) {
		if p.isAnswer() && p.to != allNodes { // announcements go to all
			got[p.to] = append(got[p.to], p)
		}
	}
	var faults []string
	for _, asker := range g.askers {
		vip, answers := sameFamily(g.vips, asker)[0], got[asker]
		delete(got, asker)
		if len(answers) != 1 {
			faults = append(faults, fmt.Sprintf("%d answers to %s: %v", len(answers), asker, answers))
			continue
		}
		answer := answers[0]
		if toCluster && vip.Is6() && answer.ndMAC == (cluster.MAC{}) {
			answer.ndMAC = g.mac
		}
		if fault := g.wrong(answer, vip, g.nodes[s.owner(asker)-1]); fault != "" {
			faults = append(faults, fmt.Sprintf("answer to %s, of node %d: %s", asker, s.owner(asker), fault))
		}
	}
	for to, answers := range got {
		faults = append(faults, fmt.Sprintf("answers to %s, which did not ask: %v", to, answers))
	}
	fail(t, faults)
}

// wrong says what is wrong with an answer, if anything.
func (g segment) wrong(p packet, vip netip.Addr, from cluster.MAC) string {
	mac, about := p.arpMAC, p.from
	if vip.Is6() {
		mac, about = p.ndMAC, p.ndTarget
	}
	switch {
	case about != vip:
		return "it is about " + about.String()
	case mac != g.mac:
		return "it says " + mac.String()
	case p.ethFrom != from:
		return "it comes from " + p.ethFrom.String()
	}
	return ""
}

var allNodes = netip.MustParseAddr("ff02::1")

// isAnswer says whether a packet tells the MAC of its sender.
func (p *packet) isAnswer() bool {
	return p.arpOp == arpReply || p.icmpType == advertisement && p.proto == unix.IPPROTO_ICMPV6
}

// checkProbe fails the test where who asks whether the address is free, before
// he takes it, is not told once that it is not.
func (g segment) checkProbe(t *testing.T, s *site) {
	t.Helper()
	for _, nobody := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
		vip := sameFamily(g.vips, nobody)[0]
		answers := g.probe(t, s, nobody)
		// The answer of IPv6 looks as the announcements do, of which there are
		// three in the first seconds.
		for range 2 {
			if len(answers) == 2 && nobody.Is6() {
				answers = g.probe(t, s, nobody)
			}
		}
		if len(answers) != 1 {
			t.Errorf("%d answers to a probe for %s: %v", len(answers), vip, answers)
			continue
		}
		if fault := g.wrong(answers[0], vip, g.nodes[s.owner(nobody)-1]); fault != "" {
			t.Errorf("answer to a probe for %s: %s", vip, fault)
		}
	}
}

// probe asks on behalf of nobody and returns the answers.
func (g segment) probe(t *testing.T, s *site, nobody netip.Addr) (answers []packet) {
	t.Helper()
	s.reset(t)
	g.send(t, g.request(nobody, false))
	s.settle(t)
	for _, p := range g.tap.take(t) {
		if p.isAnswer() && (p.arpOp == arpReply) == nobody.Is4() {
			answers = append(answers, p)
		}
	}
	return answers
}

// checkEntries fails the test where the host knows a cluster address by
// another MAC than the cluster's.
func (g segment) checkEntries(t *testing.T) {
	t.Helper()
	for _, vip := range g.vips {
		n := neighbour(t, g.host, "eth0", vip)
		if n == nil || n.HardwareAddr.String() != g.mac.String() {
			t.Errorf("%s has %v for %s, want %s", g.host.Name, n, vip, g.mac)
		}
	}
}

// neighbour is what a host knows of another one; nil: nothing.
func neighbour(t *testing.T, ns *lab.Namespace, link string, addr netip.Addr) *netlink.Neigh {
	t.Helper()
	for a, n := range neighbours(t, ns, link) {
		if a == addr {
			return &n
		}
	}
	return nil
}

func neighbours(t *testing.T, ns *lab.Namespace, link string) map[netip.Addr]netlink.Neigh {
	t.Helper()
	all := map[netip.Addr]netlink.Neigh{}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		list, err := ns.Netlink().NeighList(linkIndex(t, ns, link), family)
		must(t, err)
		for _, n := range list {
			a, _ := netip.AddrFromSlice(n.IP)
			all[a.Unmap()] = n
		}
	}
	return all
}

func (g segment) send(t *testing.T, frame []byte) {
	t.Helper()
	to := &unix.SockaddrLinklayer{Ifindex: linkIndex(t, g.host, "eth0"), Protocol: htons(unix.ETH_P_ALL)}
	must(t, unix.Sendto(g.tap.fd, frame, 0, to))
}

// request asks for the cluster address, as asker, in a frame to all or to the
// cluster MAC.
func (g segment) request(asker netip.Addr, toCluster bool) []byte {
	vip := sameFamily(g.vips, asker)[0]
	if asker.Is4() {
		to := cluster.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
		if toCluster {
			to = g.mac
		}
		b := ethernet(to, g.hostMAC, unix.ETH_P_ARP)
		b = append(b, 0, 1, 8, 0, 6, 4, 0, arpRequest)
		b = append(append(b, g.hostMAC[:]...), asker.AsSlice()...)
		b = append(b, make([]byte, 6)...)
		return append(b, vip.AsSlice()...)
	}
	return g.solicitation(asker, vip, toCluster)
}

// solicitation is a neighbour solicitation (RFC 4861, section 4.3): to the
// group of the target's solicitations, or as a probe of a known neighbour.
func (g segment) solicitation(asker, target netip.Addr, toCluster bool) []byte {
	t := target.As16()
	mac, to := cluster.MAC{0x33, 0x33, 0xff, t[13], t[14], t[15]},
		netip.AddrFrom16([16]byte{0: 0xff, 1: 2, 11: 1, 12: 0xff, 13: t[13], 14: t[14], 15: t[15]})
	if toCluster {
		mac, to = g.mac, target
	}
	body := append([]byte{solicitation, 0, 0, 0, 0, 0, 0, 0}, t[:]...)
	if !asker.IsUnspecified() {
		body = append(append(body, 1, 1), g.hostMAC[:]...)
	}
	pseudo := append(asker.AsSlice(), to.AsSlice()...)
	pseudo = append(pseudo, 0, 0, 0, byte(len(body)), 0, 0, 0, unix.IPPROTO_ICMPV6)
	binary.BigEndian.PutUint16(body[2:], internetChecksum(append(pseudo, body...)))
	b := ethernet(mac, g.hostMAC, unix.ETH_P_IPV6)
	b = append(b, 0x60, 0, 0, 0, 0, byte(len(body)), unix.IPPROTO_ICMPV6, 255)
	b = append(append(b, asker.AsSlice()...), to.AsSlice()...)
	return append(b, body...)
}

func ethernet(to, from cluster.MAC, etherType uint16) []byte {
	return binary.BigEndian.AppendUint16(append(to[:], from[:]...), etherType)
}

// internetChecksum is that of RFC 1071, of an even number of bytes.
func internetChecksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) > 0; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// A frame from a cluster MAC would teach switches where to send the cluster's
// frames: every lab of these tests is watched for one. This is that the watch
// sees it.
func TestRogueFrameIsSeen(t *testing.T) {
	l := startLab(t, lab.Options{Nodes: 1, Clients: 1, NoAgents: true, Mode: cluster.Gateway})
	s := &site{Lab: l, gateway: true}
	for i, host := range []*lab.Namespace{l.Clients, l.Server} {
		watch := openTap(t, l.Switch, "", sourceFilter(s.clusterMACs())...)
		mac := s.clusterMACs()[i]
		g := segment{host: host, tap: openTap(t, host, "eth0"), hostMAC: ownMACOf(t, host, "eth0"), mac: mac,
			vips: [][]netip.Addr{l.ClusterAddresses(), l.ServerSideAddresses()}[i]}
		asker := netip.MustParseAddr("192.0.2.1")
		g.send(t, g.request(asker, false))
		g.hostMAC = mac
		g.send(t, g.request(asker, false))
		await(t, "the frame", func() bool {
			seen := watch.take(t)
			return len(seen) > 0 && seen[0].ethFrom == mac && seen[0].arpMAC == mac
		})
	}
}
