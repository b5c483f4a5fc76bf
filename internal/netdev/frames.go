package netdev

import (
	"encoding/binary"
	"net/netip"

	"github.com/shoal-net/shoal/internal/cluster"
)

// Frames that this package sends. All fields are in network byte order.

const (
	etherIPv4 = 0x0800
	etherARP  = 0x0806
	etherIPv6 = 0x86dd

	protoIGMP   = 2
	protoICMPv6 = 58

	// RFC 4286, sections 3.2 and 4.1 (IGMP) and their ICMPv6 twins.
	igmpRouterAdvertisement   = 0x30
	igmpRouterTermination     = 0x32
	icmpv6RouterAdvertisement = 151
	icmpv6RouterTermination   = 153

	icmpv6NeighbourAdvertisement = 136
)

var (
	broadcastMAC = cluster.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

	allNodes        = netip.MustParseAddr("ff02::1")
	allSnoopersIPv4 = netip.MustParseAddr("224.0.0.106")
	allSnoopersIPv6 = netip.MustParseAddr("ff02::6a")

	// Router alert, value 0: RFC 2113 for IPv4; a hop-by-hop header with the
	// option of RFC 2711 and two bytes of padding for IPv6. RFC 4286 asks for
	// it, and the Linux bridge looks into no IPv6 packet without it.
	routerAlertIPv4 = []byte{0x94, 4, 0, 0}
	routerAlertIPv6 = []byte{protoICMPv6, 0, 5, 2, 0, 0, 1, 0}
)

// gratuitousARP encodes an ARP announcement (RFC 5227, section 2.3): a request
// for addr by addr itself, which hosts take the sender's MAC from. from is the
// Ethernet source, mac the address that is announced.
func gratuitousARP(from, mac cluster.MAC, addr netip.Addr) []byte {
	b := ethernet(broadcastMAC, from, etherARP)
	b = append(b, 0, 1, 0x08, 0, 6, 4, 0, 1) // Ethernet, IPv4, sizes, request
	b = append(b, mac[:]...)
	b = append(b, addr.AsSlice()...)
	b = append(b, 0, 0, 0, 0, 0, 0)
	return append(b, addr.AsSlice()...)
}

// unsolicitedNA encodes a neighbour advertisement (RFC 4861, section 7.2.6) to
// all nodes: override set, solicited not, mac as the target's link-layer
// address, hop limit 255. router tells whether the sender forwards; a host
// that hears a router say otherwise drops it as its gateway.
func unsolicitedNA(from, mac cluster.MAC, addr netip.Addr, router bool) []byte {
	flags := byte(0x20)
	if router {
		flags |= 0x80
	}
	body := append([]byte{icmpv6NeighbourAdvertisement, 0, 0, 0, flags, 0, 0, 0}, addr.AsSlice()...)
	body = append(body, 2, 1) // target link-layer address, in units of 8 bytes
	body = append(body, mac[:]...)
	return ipv6Frame(from, addr, allNodes, 255, nil, body)
}

// routerAdvertisementIPv4 encodes a multicast router advertisement, or the
// message that ends it. Query interval and robustness are 0: the sender is not
// a querier (RFC 4286, sections 3.2.3 and 3.2.4).
func routerAdvertisementIPv4(from cluster.MAC, src netip.Addr, terminate bool) []byte {
	body := []byte{igmpRouterAdvertisement, byte(RouterAdvertisementInterval.Seconds()), 0, 0, 0, 0, 0, 0}
	if terminate {
		body = []byte{igmpRouterTermination, 0, 0, 0}
	}
	binary.BigEndian.PutUint16(body[2:], checksum(body))

	header := []byte{0x46, 0xc0, 0, 0, 0, 0, 0, 0, 1, protoIGMP, 0, 0} // DSCP CS6, TTL 1
	header = append(header, src.AsSlice()...)
	header = append(header, allSnoopersIPv4.AsSlice()...)
	header = append(header, routerAlertIPv4...)
	binary.BigEndian.PutUint16(header[2:], uint16(len(header)+len(body)))
	binary.BigEndian.PutUint16(header[10:], checksum(header))

	b := ethernet(groupMAC(allSnoopersIPv4), from, etherIPv4)
	return append(append(b, header...), body...)
}

// routerAdvertisementIPv6 is routerAdvertisementIPv4's ICMPv6 twin.
func routerAdvertisementIPv6(from cluster.MAC, src netip.Addr, terminate bool) []byte {
	body := []byte{icmpv6RouterAdvertisement, byte(RouterAdvertisementInterval.Seconds()), 0, 0, 0, 0, 0, 0}
	if terminate {
		body = []byte{icmpv6RouterTermination, 0, 0, 0}
	}
	return ipv6Frame(from, src, allSnoopersIPv6, 1, routerAlertIPv6, body)
}

// ipv6Frame wraps an ICMPv6 message to a group and fills in its checksum.
// hopByHop is a hop-by-hop options header that leads to ICMPv6, or nil.
func ipv6Frame(from cluster.MAC, src, group netip.Addr, hopLimit byte, hopByHop, body []byte) []byte {
	pseudo := append(src.AsSlice(), group.AsSlice()...)
	pseudo = append(pseudo, 0, 0, 0, byte(len(body)), 0, 0, 0, protoICMPv6)
	binary.BigEndian.PutUint16(body[2:], checksum(append(pseudo, body...)))

	next := byte(protoICMPv6)
	if hopByHop != nil {
		next = 0
	}
	b := ethernet(groupMAC(group), from, etherIPv6)
	b = append(b, 0x60, 0, 0, 0, 0, byte(len(hopByHop)+len(body)), next, hopLimit)
	b = append(b, src.AsSlice()...)
	b = append(b, group.AsSlice()...)
	return append(append(b, hopByHop...), body...)
}

func ethernet(to, from cluster.MAC, etherType uint16) []byte {
	b := append(to[:], from[:]...)
	return binary.BigEndian.AppendUint16(b, etherType)
}

// groupMAC maps a group to its Ethernet address (RFC 1112, RFC 2464).
func groupMAC(group netip.Addr) cluster.MAC {
	b := group.AsSlice()
	if group.Is4() {
		return cluster.MAC{0x01, 0x00, 0x5e, b[1] & 0x7f, b[2], b[3]}
	}
	return cluster.MAC{0x33, 0x33, b[12], b[13], b[14], b[15]}
}

// checksum is the Internet checksum (RFC 1071) of an even number of bytes.
func checksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	sum = sum>>16 + sum&0xffff
	return ^uint16(sum + sum>>16)
}
