//go:build privileged

package e2e

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/shoal-net/shoal/internal/cluster"
	"golang.org/x/sys/unix"
)

// A packet is what these tests look at in a frame or an IP packet. Fields that
// it has not are zero; parsing stops where a captured packet was cut off.
type packet struct {
	ethTo, ethFrom cluster.MAC // unknown in prerouting
	ethType        uint16

	from, to         netip.Addr
	ttl, proto       uint8
	length           int // of the IP packet, in bytes
	id               uint32
	offset           int  // of a fragment, in bytes
	fragment         bool // and not the whole of a datagram
	fromPort, toPort uint16
	tcpFlags         uint8
	seq, ack         uint32 // of TCP

	icmpType, icmpCode uint8
	echoID, echoSeq    uint16
	mtu                int     // that a path-MTU error tells
	quote              *packet // what an ICMP error is about

	arpOp    uint16 // ARP: from and to are sender and target
	arpMAC   cluster.MAC
	ndTarget netip.Addr // of a neighbour solicitation or advertisement
	ndMAC    cluster.MAC
	payload  []byte // of UDP
	iface    string // in prerouting: where it came in
}

// Numbers of protocols, ICMP types and TCP flags.
const (
	echo4, echoReply4, unreachable4, exceeded4 = 8, 0, 3, 11
	echo6, echoReply6                          = 128, 129
	unreachable6, tooBig6, exceeded6           = 1, 2, 3
	solicitation, advertisement                = 135, 136
	fragNeeded4, portUnreachable4              = 4, 3
	portUnreachable6                           = 4
	tcpFIN, tcpSYN, tcpRST, tcpACK             = 0x01, 0x02, 0x04, 0x10
	arpRequest, arpReply                       = 1, 2
)

func (p *packet) isEcho() bool {
	return p.proto == unix.IPPROTO_ICMP && p.icmpType == echo4 || p.proto == unix.IPPROTO_ICMPV6 && p.icmpType == echo6
}

func (p *packet) isEchoReply() bool {
	return p.proto == unix.IPPROTO_ICMP && p.icmpType == echoReply4 || p.proto == unix.IPPROTO_ICMPV6 && p.icmpType == echoReply6
}

func (p *packet) isTooBig() bool {
	return p.proto == unix.IPPROTO_ICMP && p.icmpType == unreachable4 && p.icmpCode == fragNeeded4 ||
		p.proto == unix.IPPROTO_ICMPV6 && p.icmpType == tooBig6
}

func (p *packet) isPortUnreachable() bool {
	return p.proto == unix.IPPROTO_ICMP && p.icmpType == unreachable4 && p.icmpCode == portUnreachable4 ||
		p.proto == unix.IPPROTO_ICMPV6 && p.icmpType == unreachable6 && p.icmpCode == portUnreachable6
}

func (p *packet) isExceeded() bool {
	return p.proto == unix.IPPROTO_ICMP && p.icmpType == exceeded4 || p.proto == unix.IPPROTO_ICMPV6 && p.icmpType == exceeded6
}

func (p packet) String() string {
	s := fmt.Sprintf("%s>%s %d %d>%d", p.from, p.to, p.proto, p.fromPort, p.toPort)
	switch {
	case p.ethType == unix.ETH_P_ARP:
		return fmt.Sprintf("arp op %d %s is-at %s asks %s", p.arpOp, p.from, p.arpMAC, p.to)
	case p.fragment:
		s += fmt.Sprintf(" fragment %x@%d", p.id, p.offset)
	case p.quote != nil:
		s += fmt.Sprintf(" icmp %d/%d about [%s]", p.icmpType, p.icmpCode, p.quote)
	case p.proto == unix.IPPROTO_ICMP || p.proto == unix.IPPROTO_ICMPV6:
		s += fmt.Sprintf(" icmp %d/%d id %d seq %d", p.icmpType, p.icmpCode, p.echoID, p.echoSeq)
	case p.proto == unix.IPPROTO_TCP:
		s += fmt.Sprintf(" flags %02x seq %d ack %d length %d", p.tcpFlags, p.seq, p.ack, p.length)
	}
	return s
}

func parseFrame(b []byte) (p packet) {
	if len(b) < 14 {
		return p
	}
	copy(p.ethTo[:], b)
	copy(p.ethFrom[:], b[6:])
	p.ethType = binary.BigEndian.Uint16(b[12:])
	switch p.ethType {
	case unix.ETH_P_ARP:
		parseARP(b[14:], &p)
	case unix.ETH_P_IP, unix.ETH_P_IPV6:
		parseIP(b[14:], &p)
	}
	return p
}

func parseARP(b []byte, p *packet) {
	if len(b) < 28 {
		return
	}
	p.arpOp = binary.BigEndian.Uint16(b[6:])
	copy(p.arpMAC[:], b[8:])
	p.from, p.to = netip.AddrFrom4([4]byte(b[14:])), netip.AddrFrom4([4]byte(b[24:]))
}

func parseIP(b []byte, p *packet) {
	switch {
	case len(b) >= 20 && b[0]>>4 == 4:
		parseIPv4(b, p)
	case len(b) >= 40 && b[0]>>4 == 6:
		parseIPv6(b, p)
	}
}

func parseIPv4(b []byte, p *packet) {
	p.length, p.id = int(binary.BigEndian.Uint16(b[2:])), uint32(binary.BigEndian.Uint16(b[4:]))
	frag := binary.BigEndian.Uint16(b[6:])
	p.offset, p.fragment = int(frag&0x1fff)*8, frag&0x3fff != 0
	p.ttl, p.proto = b[8], b[9]
	p.from, p.to = netip.AddrFrom4([4]byte(b[12:])), netip.AddrFrom4([4]byte(b[16:]))
	if header := int(b[0]&0xf) * 4; header <= len(b) {
		parseUpper(b[header:], p)
	}
}

func parseIPv6(b []byte, p *packet) {
	p.length = 40 + int(binary.BigEndian.Uint16(b[4:]))
	p.proto, p.ttl = b[6], b[7]
	p.from, p.to = netip.AddrFrom16([16]byte(b[8:])), netip.AddrFrom16([16]byte(b[24:]))
	b = b[40:]
	if p.proto == unix.IPPROTO_HOPOPTS && len(b) >= 8 { // of MLD
		p.proto, b = b[0], b[min(len(b), int(b[1]+1)*8):]
	}
	if p.proto == unix.IPPROTO_FRAGMENT && len(b) >= 8 {
		frag := binary.BigEndian.Uint16(b[2:])
		p.proto, p.offset, p.fragment = b[0], int(frag&^7), frag&^6 != 0
		p.id = binary.BigEndian.Uint32(b[4:])
		b = b[8:]
	}
	parseUpper(b, p)
}

func parseUpper(b []byte, p *packet) {
	if p.offset != 0 || len(b) < 8 {
		return
	}
	switch p.proto {
	case unix.IPPROTO_TCP:
		p.fromPort, p.toPort = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
		if len(b) >= 20 {
			p.seq, p.ack, p.tcpFlags = binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:]), b[13]
		}
	case unix.IPPROTO_UDP:
		p.fromPort, p.toPort = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
		p.payload = append([]byte(nil), b[8:]...)
	case unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6:
		parseICMP(b, p)
	}
}

func parseICMP(b []byte, p *packet) {
	p.icmpType, p.icmpCode = b[0], b[1]
	v6 := p.proto == unix.IPPROTO_ICMPV6
	switch {
	case p.isEcho() || p.isEchoReply():
		p.echoID, p.echoSeq = binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint16(b[6:])
	case v6 && (p.icmpType == solicitation || p.icmpType == advertisement) && len(b) >= 24:
		p.ndTarget = netip.AddrFrom16([16]byte(b[8:]))
		if len(b) >= 32 { // the link-layer address is the only option that Linux sends
			copy(p.ndMAC[:], b[26:])
		}
	case p.isTooBig() || p.isExceeded() || p.icmpType == unreachable4 && !v6 || p.icmpType == unreachable6 && v6:
		if p.mtu = int(binary.BigEndian.Uint16(b[6:])); v6 {
			p.mtu = int(binary.BigEndian.Uint32(b[4:]))
		}
		p.quote = &packet{}
		parseIP(b[8:], p.quote)
	}
}
