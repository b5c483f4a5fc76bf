package transport

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"github.com/shoal-net/shoal/internal/cluster"
)

// Sizes of headers, in bytes.
const (
	ethernetHeader = 14
	ipv4Header     = 20
	ipv6Header     = 40
	udpHeader      = 8
)

const (
	etherIPv4 = 0x0800
	etherARP  = 0x0806
	etherIPv6 = 0x86dd

	protocolUDP    = 17
	protocolICMP   = 1
	protocolICMPv6 = 58

	// hopLimit shows a receiver that no router was passed (RFC 5082).
	hopLimit = 255
	// trafficClass is DSCP CS6, for what keeps a network together (RFC 4594).
	trafficClass = 0xc0
)

var be = binary.BigEndian

// chooseAddresses picks the addresses that a node's heartbeats carry on a link:
// a source that the interface has and that the others know as the node's, and a
// cluster address of that family. On the same subnet comes first, then IPv4.
func chooseAddresses(ifc cluster.Interface, has []netip.Prefix, listed []netip.Addr) (src, dst netip.Addr, err error) {
	best := 0
	for _, p := range has {
		if !slices.Contains(listed, p.Addr()) {
			continue
		}
		for _, a := range ifc.Addresses {
			if rank := suits(p, a); rank > best {
				best, src, dst = rank, p.Addr(), a
			}
		}
	}
	if best == 0 {
		return src, dst, fmt.Errorf("%s has none of this node's listed addresses in the family of a cluster address there (%v): give it one, and list it under nodes",
			ifc.Name, ifc.Addresses)
	}
	return src, dst, nil
}

// suits ranks a pair of addresses; 0: they are not of one family.
func suits(own netip.Prefix, to netip.Addr) int {
	switch {
	case own.Addr().Is4() != to.Is4():
		return 0
	case own.Contains(to):
		return 4
	case to.Is4():
		return 3
	case own.Addr().IsLinkLocalUnicast() == to.IsLinkLocalUnicast():
		return 2
	default:
		return 1
	}
}

// appendHeader appends the headers of a datagram to the heartbeat port, all but
// lengths and checksums.
func appendHeader(b []byte, from, to cluster.MAC, src, dst netip.Addr) []byte {
	b = append(append(b, to[:]...), from[:]...)
	if src.Is4() {
		b = be.AppendUint16(b, etherIPv4)
		b = append(b, 0x45, trafficClass, 0, 0, 0, 0, 0x40, 0, hopLimit, protocolUDP, 0, 0) // do not fragment
	} else {
		b = be.AppendUint16(b, etherIPv6)
		b = append(b, 0x60|trafficClass>>4, trafficClass&0xf<<4, 0, 0, 0, 0, protocolUDP, hopLimit)
	}
	b = append(append(b, src.AsSlice()...), dst.AsSlice()...)
	b = be.AppendUint16(be.AppendUint16(b, cluster.HeartbeatPort), cluster.HeartbeatPort)
	return append(b, 0, 0, 0, 0)
}

// finish fills in the lengths and checksums of a frame that appendHeader began.
func finish(frame []byte) {
	packet := frame[ethernetHeader:]
	var datagram, addresses []byte
	if be.Uint16(frame[12:]) == etherIPv4 {
		be.PutUint16(packet[2:], uint16(len(packet)))
		be.PutUint16(packet[10:], 0)
		be.PutUint16(packet[10:], ^fold(sum(packet[:ipv4Header])))
		datagram, addresses = packet[ipv4Header:], packet[12:ipv4Header]
	} else {
		be.PutUint16(packet[4:], uint16(len(packet)-ipv6Header))
		datagram, addresses = packet[ipv6Header:], packet[8:ipv6Header]
	}
	be.PutUint16(datagram[4:], uint16(len(datagram)))
	be.PutUint16(datagram[6:], 0)
	// RFC 768, RFC 8200 8.1: a pseudo header counts in, and 0 means no checksum.
	check := ^fold(sum(addresses) + protocolUDP + uint64(len(datagram)) + sum(datagram))
	if check == 0 {
		check = 0xffff
	}
	be.PutUint16(datagram[6:], check)
}

// sum adds the 16-bit words of b (RFC 1071) in pieces of 32 bits.
func sum(b []byte) (s uint64) {
	for ; len(b) >= 4; b = b[4:] {
		s += uint64(be.Uint32(b))
	}
	var last [4]byte
	copy(last[:], b)
	return s + uint64(be.Uint32(last[:]))
}

func fold(s uint64) uint16 {
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

// Payload returns what a Sender put into a frame, from its Ethernet header on.
// Other frames to the heartbeat port may look different: false.
func Payload(frame []byte) ([]byte, bool) {
	if len(frame) < ethernetHeader+ipv4Header {
		return nil, false
	}
	packet := frame[ethernetHeader:]
	header := ipv4Header
	switch etherType := be.Uint16(frame[12:]); {
	case etherType == etherIPv4 && packet[0] == 0x45 && packet[9] == protocolUDP:
	case etherType == etherIPv6 && packet[0]>>4 == 6 && packet[6] == protocolUDP:
		header = ipv6Header
	default:
		return nil, false
	}
	if len(packet) < header+udpHeader {
		return nil, false
	}
	datagram := packet[header:]
	length := int(be.Uint16(datagram[4:]))
	if length < udpHeader || length > len(datagram) {
		return nil, false
	}
	return datagram[udpHeader:length], true
}
