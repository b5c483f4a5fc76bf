//go:build privileged

package dataplane

import (
	"net/netip"
	"slices"
)

// packetOf is an IP packet, or what an ICMP error quotes of one.
type packetOf struct {
	v6       bool
	src, dst netip.Addr
	ttl      byte
	proto    byte
	l4       []byte
	fragment bool
	later    bool   // and not the first
	id       uint32 // of a fragment
	quoted   bool
}

func parse4(b []byte) (packetOf, bool) {
	if len(b) < 20 || b[0]>>4 != 4 {
		return packetOf{}, false
	}
	header, total := int(b[0]&15)*4, int(be.Uint16(b[2:]))
	if header < 20 || total < header || total > len(b) {
		return packetOf{}, false
	}
	p := header4(b)
	p.l4 = b[header:total]
	return p, p.fragment || len(p.l4) >= needs(p.proto)
}

// header4 reads the fields of an IPv4 header.
func header4(b []byte) packetOf {
	return packetOf{src: netip.AddrFrom4([4]byte(b[12:16])), dst: netip.AddrFrom4([4]byte(b[16:20])),
		ttl: b[8], proto: b[9], fragment: be.Uint16(b[6:])&0x3fff != 0, later: be.Uint16(b[6:])&0x1fff != 0, id: uint32(be.Uint16(b[4:]))}
}

func header6(b []byte) packetOf {
	return packetOf{v6: true, src: netip.AddrFrom16([16]byte(b[8:24])), dst: netip.AddrFrom16([16]byte(b[24:40])),
		ttl: b[7], proto: b[6]}
}

// needs is the least length of a protocol's header.
func needs(proto byte) int {
	return map[byte]int{6: 20, 17: 8, 132: 12, 1: 8, 58: 8}[proto]
}

func parse6(b []byte) (packetOf, bool) {
	if len(b) < 40 || b[0]>>4 != 6 || 40+int(be.Uint16(b[4:])) > len(b) {
		return packetOf{}, false
	}
	p := header6(b)
	p.l4 = b[40 : 40+int(be.Uint16(b[4:]))]
	if !p.skipExtensions() || p.l4 == nil {
		return p, false
	}
	return p, p.fragment || len(p.l4) >= needs(p.proto)
}

// skipExtensions leaves l4 nil where the last extension reaches beyond the packet.
func (p *packetOf) skipExtensions() bool {
	for n := 0; slices.Contains([]byte{0, 43, 44, 51, 60}, p.proto); n++ {
		if n == 8 || len(p.l4) < 4 {
			return false
		}
		next, length := p.l4[0], 8+int(p.l4[1])*8
		switch p.proto {
		case 44:
			p.fragment, p.later = be.Uint16(p.l4[2:])&0xfff9 != 0, be.Uint16(p.l4[2:])&0xfff8 != 0
			if length = 8; len(p.l4) >= length {
				p.id = be.Uint32(p.l4[4:])
			}
		case 51:
			length = 8 + int(p.l4[1])*4
		}
		p.proto = next
		if length > len(p.l4) {
			p.l4 = nil
		} else {
			p.l4 = p.l4[length:]
		}
		if p.fragment {
			break
		}
	}
	return true
}

func (p packetOf) isICMP() bool { return !p.fragment && p.proto == icmpProto(p.v6) }

func isError(p packetOf) bool {
	if p.v6 {
		return p.l4[0] < 128
	}
	return slices.Contains([]byte{3, 4, 5, 11, 12}, p.l4[0])
}

func quotedIn(p packetOf) (packetOf, bool) {
	b := p.l4[8:]
	var q packetOf
	if p.v6 {
		if len(b) < 40 || b[0]>>4 != 6 {
			return q, false
		}
		q = header6(b)
		q.l4 = b[40:]
		if !q.skipExtensions() {
			q.proto, q.l4 = 59, nil
		}
	} else {
		header := 0
		if len(b) >= 20 {
			header = int(b[0]&15) * 4
		}
		if header < 20 || b[0]>>4 != 4 {
			return q, false
		}
		q = header4(b)
		q.l4 = b[min(header, len(b)):]
	}
	q.quoted = true
	return q, !q.isICMP() || len(q.l4) > 0
}
