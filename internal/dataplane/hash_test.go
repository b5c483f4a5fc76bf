//go:build privileged

package dataplane

import (
	"encoding/binary"
	"math/bits"
	"net/netip"

	"github.com/shoal-net/shoal/match"
)

// Package match takes ::ffff:a.b.c.d for the IPv4 address. In an IPv6 packet
// it is an IPv6 address like any: it is hashed here, from its words.

func wholeHash(h match.Hash, a netip.Addr, network bool) uint32 {
	words := wordsOf(a)
	if h.IPv6FirstWord {
		return jhash2(words[:1], h.Seed)
	}
	if network {
		words[2], words[3] = 0, 0
	}
	return jhash2(words, h.Seed)
}

func flowHash(h match.Hash, p packetOf, client, server netip.Addr, ported, flip bool) uint32 {
	var ports [4]byte
	if ported {
		copy(ports[:], p.l4)
		if flip {
			ports = [4]byte{ports[2], ports[3], ports[0], ports[1]}
		}
	}
	words := append(wordsOf(client), wordsOf(server)...)
	return jhash2(append(words, binary.LittleEndian.Uint32(ports[:]), uint32(p.proto)), h.Seed)
}

func wordsOf(a netip.Addr) []uint32 {
	var words []uint32
	for b := a.AsSlice(); len(b) > 0; b = b[4:] {
		words = append(words, binary.LittleEndian.Uint32(b))
	}
	return words
}

// jhash2 is the kernel's (include/linux/jhash.h).
func jhash2(k []uint32, seed uint32) uint32 {
	a := 0xdeadbeef + uint32(len(k))*4 + seed
	b, c := a, a
	for ; len(k) > 3; k = k[3:] {
		a, b, c = a+k[0], b+k[1], c+k[2]
		a, c = (a-c)^bits.RotateLeft32(c, 4), c+b
		b, a = (b-a)^bits.RotateLeft32(a, 6), a+c
		c, b = (c-b)^bits.RotateLeft32(b, 8), b+a
		a, c = (a-c)^bits.RotateLeft32(c, 16), c+b
		b, a = (b-a)^bits.RotateLeft32(a, 19), a+c
		c, b = (c-b)^bits.RotateLeft32(b, 4), b+a
	}
	for i, v := range k {
		switch i {
		case 0:
			a += v
		case 1:
			b += v
		case 2:
			c += v
		}
	}
	c = (c ^ b) - bits.RotateLeft32(b, 14)
	a = (a ^ c) - bits.RotateLeft32(c, 11)
	b = (b ^ a) - bits.RotateLeft32(a, 25)
	c = (c ^ b) - bits.RotateLeft32(b, 16)
	a = (a ^ c) - bits.RotateLeft32(c, 4)
	b = (b ^ a) - bits.RotateLeft32(a, 14)
	return (c ^ b) - bits.RotateLeft32(b, 24)
}
