package lab

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/shoal-net/shoal/internal/cluster"
)

// clusterName is the name of every lab's cluster; what tells labs on one
// machine apart is the instance.
const clusterName = "lab"

// Host numbers of a segment. Nodes have their ids.
const (
	hostVIP    = 100
	hostServer = 200
	hostRouter = 250
)

// A segment is one link with its prefixes.
type segment struct {
	v4, v6 netip.Prefix
	mac    byte // second byte of the MACs of its hosts
}

var (
	clientSegment = segment{netip.MustParsePrefix("10.77.0.0/16"), netip.MustParsePrefix("fd77::/64"), 0x77}
	serverSegment = segment{netip.MustParsePrefix("10.78.0.0/16"), netip.MustParsePrefix("fd78::/64"), 0x78}
	behindRouter  = segment{netip.MustParsePrefix("10.79.0.0/16"), netip.MustParsePrefix("fd79::/64"), 0x79}
)

// prefixes returns the segment's prefixes of the given families, IPv4 first.
func (s segment) prefixes(f Families) []netip.Prefix {
	var all []netip.Prefix
	if f.has(IPv4) {
		all = append(all, s.v4)
	}
	if f.has(IPv6) {
		all = append(all, s.v6)
	}
	return all
}

// hosts returns the addresses of host n, 1..65534, one of each family. The
// IPv6 ones read as the IPv4 ones do: fd77::100 beside 10.77.0.100.
func (s segment) hosts(f Families, n int) []netip.Addr {
	var all []netip.Addr
	for _, p := range s.prefixes(f) {
		all = append(all, hostAddr(p, n))
	}
	return all
}

func hostAddr(p netip.Prefix, n int) netip.Addr {
	if p.Addr().Is4() {
		b := p.Addr().As4()
		binary.BigEndian.PutUint16(b[2:], uint16(n))
		return netip.AddrFrom4(b)
	}
	b := p.Addr().As16()
	binary.BigEndian.PutUint16(b[12:], decimalDigits(n>>8))
	binary.BigEndian.PutUint16(b[14:], decimalDigits(n&0xff))
	return netip.AddrFrom16(b)
}

// decimalDigits returns the number whose hexadecimal digits are n's decimal
// ones, for n up to 9999.
func decimalDigits(n int) uint16 {
	return uint16(n%10 | n/10%10<<4 | n/100%10<<8 | n/1000%10<<12)
}

func (s segment) hostMAC(n int) net.HardwareAddr {
	return net.HardwareAddr{0x02, s.mac, 0, 0, byte(n >> 8), byte(n)}
}

// linkLocal is the link-local address of host n on any segment.
func linkLocal(n int) netip.Addr {
	return hostAddr(netip.MustParsePrefix("fe80::/64"), n)
}

// clientHost is the host number of client i, counted from 0: 1.1 and up, so
// that clients never meet nodes; a byte of 0 or 255 is left out.
func clientHost(i int) int { return (1+i/254)<<8 | (1 + i%254) }

// plan says where everything of a lab is. It is pure: the same options give
// the same plan.
type plan struct {
	Options
}

func (p plan) gateway() bool { return p.Mode == cluster.Gateway }
func (p plan) routed() bool  { return p.RouterMTU != 0 }

// clientLink is the segment on which the clients are.
func (p plan) clientLink() segment {
	if p.routed() && !p.gateway() {
		return behindRouter
	}
	return clientSegment
}

// serverLink is the segment on which a gateway's server is.
func (p plan) serverLink() segment {
	if p.routed() {
		return behindRouter
	}
	return serverSegment
}

// routerLink is the segment that the router shares with the nodes.
func (p plan) routerLink() segment {
	if p.gateway() {
		return serverSegment
	}
	return clientSegment
}

func (p plan) clients() []netip.Addr {
	var all []netip.Addr
	for _, prefix := range p.clientLink().prefixes(p.Families) {
		for i := range p.Clients {
			all = append(all, hostAddr(prefix, clientHost(i)))
		}
	}
	return all
}

// targets are the addresses that clients ask, one of each family.
func (p plan) targets() []netip.Addr {
	if p.gateway() {
		return p.serverLink().hosts(p.Families, hostServer)
	}
	return clientSegment.hosts(p.Families, hostVIP)
}

func (p plan) namespace(part string) string { return "shoal-" + p.Name + "-" + part }
func (p plan) instance(node string) string  { return "lab-" + p.Name + "-" + node }

func nodeName(id int) string { return fmt.Sprintf("node%d", id) }

// nodeFile is the configuration file of a node.
func (p plan) nodeFile(id int) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("cluster: %s", clusterName)
	line("mode: %s", p.Mode)
	line("node: %d", id)
	line("interfaces:")
	side := func(name, side string, s segment) {
		line("  - name: %s", name)
		line("    side: %s", side)
		line("    addresses:")
		for _, a := range s.hosts(p.Families, hostVIP) {
			line("      - %q", a)
		}
		line("    l2: %s", p.L2)
		line("    attach: %s", p.Attach)
	}
	side("eth1", "client", clientSegment)
	if p.gateway() {
		side("eth2", "server", serverSegment)
	}
	line("nodes:")
	for n := 1; n <= p.Nodes; n++ {
		if p.Static {
			line("  - {id: %d, name: %s}", n, nodeName(n))
			continue
		}
		line("  - {id: %d, name: %s, addresses: [%s]}", n, nodeName(n), p.heartbeatSources(n))
	}
	line("hash: {seed: 0xdeadbeef, buckets: %d, affinity: client}", cluster.DefaultBuckets)
	return b.String()
}

// heartbeatSources lists, for a file, what a node may send heartbeats from: an
// IPv4 address of each link, and the IPv6 link-local one, the same on all.
func (p plan) heartbeatSources(id int) string {
	var all []string
	add := func(a netip.Addr) { all = append(all, strconv.Quote(a.String())) }
	if p.Families.has(IPv4) {
		add(clientSegment.hosts(IPv4, id)[0])
		if p.gateway() {
			add(serverSegment.hosts(IPv4, id)[0])
		}
	}
	add(linkLocal(id))
	return strings.Join(all, ", ")
}
