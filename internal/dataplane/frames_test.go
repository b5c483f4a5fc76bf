//go:build privileged

package dataplane

import (
	"encoding/binary"
	"net/netip"

	"github.com/shoal-net/shoal/internal/cluster"
)

// Frames are built by calls that read as the frame does, from the outside in:
//
//	eth(toCluster, ipv4(client4, vip4, udp(4000, 53)))
//
// Lengths and checksums are right unless an option says otherwise.

// payload is what one layer hands to the one around it.
type payload struct {
	proto uint16 // EtherType, or IP protocol
	data  []byte
	// sum is where the checksum over the pseudo header goes; 0: none
	sum int
}

var be = binary.BigEndian

func cat(parts ...[]byte) []byte {
	var all []byte
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

func u16(v uint16) []byte { return be.AppendUint16(nil, v) }
func u32(v uint32) []byte { return be.AppendUint32(nil, v) }

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// eth is a frame from the client's MAC.
func eth(dst cluster.MAC, p payload) []byte { return ethFrom(clientMAC, dst, p) }

func ethFrom(src, dst cluster.MAC, p payload) []byte {
	return cat(dst[:], src[:], u16(p.proto), p.data)
}

// tagged puts a VLAN tag of the given EtherType around a payload.
func tagged(tpid uint16, p payload) payload {
	return payload{proto: tpid, data: cat(u16(100), u16(p.proto), p.data)}
}

// pad fills a frame up to the shortest that Ethernet sends.
func pad(frame []byte) []byte {
	return append(frame, make([]byte, max(0, 60-len(frame)))...)
}

// ipOption changes a finished IP packet, or its parts before that.
type ipOption func(*ipParts)

type ipParts struct {
	ttl      byte
	options  []byte // IPv4
	fragment uint16 // IPv4: flags and offset
	edit     []func(ip []byte)
}

func ttl(n byte) ipOption { return func(p *ipParts) { p.ttl = n } }

// options4 adds IPv4 options: no-operations, to the given length.
func options4(n int) ipOption {
	return func(p *ipParts) {
		for range n {
			p.options = append(p.options, 1)
		}
	}
}

// piece makes an IPv4 packet a fragment; offset in bytes.
func piece(offset int, more bool) ipOption {
	return func(p *ipParts) {
		p.fragment = uint16(offset / 8)
		if more {
			p.fragment |= 0x2000
		}
	}
}

func dontFragment(p *ipParts) { p.fragment = 0x4000 }

// setByte and setLength make a header contradict itself.
func setByte(at int, v byte) ipOption {
	return func(p *ipParts) { p.edit = append(p.edit, func(ip []byte) { ip[at] = v }) }
}

func setLength4(n int) ipOption {
	return func(p *ipParts) { p.edit = append(p.edit, func(ip []byte) { be.PutUint16(ip[2:], uint16(n)) }) }
}

func setLength6(n int) ipOption {
	return func(p *ipParts) { p.edit = append(p.edit, func(ip []byte) { be.PutUint16(ip[4:], uint16(n)) }) }
}

func ipv4(src, dst netip.Addr, p payload, opts ...ipOption) payload {
	parts := ipParts{ttl: 64}
	for _, o := range opts {
		o(&parts)
	}
	s, d := src.As4(), dst.As4()
	header := 20 + len(parts.options)
	ip := cat([]byte{0x40 | byte(header/4), 0}, u16(uint16(header+len(p.data))), u16(7), u16(parts.fragment),
		[]byte{parts.ttl, byte(p.proto)}, u16(0), s[:], d[:], parts.options, p.data)
	be.PutUint16(ip[10:], checksum(0, ip[:header]))
	p.addChecksum(ip[header:], s[:], d[:])
	for _, edit := range parts.edit {
		edit(ip)
	}
	return payload{proto: 0x0800, data: ip}
}

func ipv6(src, dst netip.Addr, p payload, opts ...ipOption) payload {
	parts := ipParts{ttl: 64}
	for _, o := range opts {
		o(&parts)
	}
	s, d := src.As16(), dst.As16()
	ip := cat(u32(6<<28), u16(uint16(len(p.data))), []byte{byte(p.proto), parts.ttl}, s[:], d[:], p.data)
	p.addChecksum(ip[40:], s[:], d[:])
	for _, edit := range parts.edit {
		edit(ip)
	}
	return payload{proto: 0x86dd, data: ip}
}

// ip is ipv4 or ipv6, by the addresses.
func ip(src, dst netip.Addr, p payload, opts ...ipOption) payload {
	if src.Is4() {
		return ipv4(src, dst, p, opts...)
	}
	return ipv6(src, dst, p, opts...)
}

// addChecksum is for payloads without extension headers around them.
func (p payload) addChecksum(data, src, dst []byte) {
	if p.sum == 0 {
		return
	}
	pseudo := cat(src, dst, u32(uint32(len(data))), u32(uint32(p.proto)))
	be.PutUint16(data[p.sum:], checksum(0, cat(pseudo, data)))
}

func checksum(sum uint32, b []byte) uint16 {
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(be.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// extension puts an IPv6 extension header of 8+8*more bytes before a payload.
func extension(proto byte, more int, p payload) payload {
	body := make([]byte, 6+8*more)
	body[0], body[1] = 1, byte(len(body)-2) // PadN
	return payload{proto: uint16(proto), data: cat([]byte{byte(p.proto), byte(more)}, body, p.data)}
}

// authentication puts an authentication header, 24 bytes, before a payload.
func authentication(p payload) payload {
	return payload{proto: 51, data: cat([]byte{byte(p.proto), 4}, make([]byte, 22), p.data)}
}

// fragment6 puts an IPv6 fragment header before a payload; offset in bytes.
func fragment6(offset int, more bool, p payload) payload {
	field := uint16(offset)
	if more {
		field |= 1
	}
	return payload{proto: 44, data: cat([]byte{byte(p.proto), 0}, u16(field), u32(99), p.data)}
}

func chain(n int, p payload) payload {
	for range n {
		p = extension(60, 0, p)
	}
	return p
}

var someData = []byte("0123456789abcdef")

func udp(sport, dport uint16) payload { return udpWith(sport, dport, someData) }

func udpWith(sport, dport uint16, data []byte) payload {
	return payload{proto: 17, sum: 6, data: cat(u16(sport), u16(dport), u16(uint16(8+len(data))), u16(0), data)}
}

// TCP flags.
const (
	fin = 1 << iota
	syn
	rst
	psh
	ack
)

func tcp(sport, dport uint16, flags byte) payload { return tcpWith(sport, dport, flags, 1, 1) }

func tcpWith(sport, dport uint16, flags byte, seq, acked uint32) payload {
	return payload{proto: 6, sum: 16, data: cat(u16(sport), u16(dport), u32(seq), u32(acked),
		[]byte{5 << 4, flags}, u16(1024), u16(0), u16(0))}
}

func sctp(sport, dport uint16) payload {
	return payload{proto: 132, data: cat(u16(sport), u16(dport), make([]byte, 24))}
}

// other is a payload of some protocol without ports.
func other(proto byte, n int) payload { return payload{proto: uint16(proto), data: make([]byte, n)} }

// icmp is an ICMP or ICMPv6 message: what follows the checksum is given.
func icmp(v6 bool, typ, code byte, rest ...[]byte) payload {
	data := cat([]byte{typ, code, 0, 0}, cat(rest...))
	if v6 {
		return payload{proto: 58, data: data, sum: 2}
	}
	be.PutUint16(data[2:], checksum(0, data))
	return payload{proto: 1, data: data}
}

func echo(v6 bool) payload {
	if v6 {
		return icmp(true, 128, 0, u32(0x00070001), someData)
	}
	return icmp(false, 8, 0, u32(0x00070001), someData)
}

func echoReply(v6 bool) payload {
	if v6 {
		return icmp(true, 129, 0, u32(0x00070001), someData)
	}
	return icmp(false, 0, 0, u32(0x00070001), someData)
}

// tooBig is the error of path-MTU discovery about a packet, cut to the first n
// bytes of it (-1: whole).
func tooBig(about payload, n int) payload {
	quoted := about.data
	if n >= 0 && n < len(quoted) {
		quoted = quoted[:n]
	}
	if about.proto == 0x86dd {
		return icmp(true, 2, 0, u32(1280), quoted)
	}
	return icmp(false, 3, 4, u32(576), quoted)
}

func unreachable(about payload) payload {
	if about.proto == 0x86dd {
		return icmp(true, 1, 4, u32(0), about.data)
	}
	return icmp(false, 3, 3, u32(0), about.data)
}

// arp is an ARP packet for IPv4 over Ethernet.
func arp(op uint16, senderMAC cluster.MAC, sender netip.Addr, targetMAC cluster.MAC, target netip.Addr) payload {
	return payload{proto: 0x0806, data: cat(u16(1), u16(0x0800), []byte{6, 4}, u16(op),
		senderMAC[:], sender.AsSlice(), targetMAC[:], target.AsSlice())}
}

const (
	request = 1
	reply   = 2
)

// Options of neighbour discovery messages.
func sourceMAC(m cluster.MAC) []byte { return cat([]byte{1, 1}, m[:]) }
func targetMAC(m cluster.MAC) []byte { return cat([]byte{2, 1}, m[:]) }
func nonce() []byte                  { return []byte{14, 1, 1, 2, 3, 4, 5, 6} }

func solicit(target netip.Addr, options ...[]byte) payload {
	return icmp(true, 135, 0, u32(0), target.AsSlice(), cat(options...))
}

func advertise(target netip.Addr, options ...[]byte) payload {
	return icmp(true, 136, 0, u32(0x60000000), target.AsSlice(), cat(options...))
}

// group is the solicited-node group of an address, and its MAC (RFC 4291, 2.7.1).
func group(a netip.Addr) (netip.Addr, cluster.MAC) {
	b := a.As16()
	g := addr("ff02::1:ff00:0").As16()
	copy(g[13:], b[13:])
	return netip.AddrFrom16(g), cluster.MAC{0x33, 0x33, 0xff, b[13], b[14], b[15]}
}
