package match

import (
	"encoding/binary"
	"net/netip"
)

// MaxBuckets is the largest number of buckets that a hash is divided into.
const MaxBuckets = 65536

// Protocols that have ports (IANA protocol numbers).
const (
	protoTCP  = 6
	protoUDP  = 17
	protoSCTP = 132
)

// Hash says how addresses are hashed. All nodes of a cluster must agree on
// it. The results do not depend on the byte order of the host.
//
// IPv4-mapped IPv6 addresses (::ffff:192.0.2.1) are hashed as the IPv4
// addresses that they stand for, since that is what is on the wire. Zones are
// ignored.
type Hash struct {
	Seed uint32
	// IPv6FirstWord hashes only the first 32 bits of a client's IPv6 address,
	// as the Linux kernel's xt_cluster does: all clients of one /32 are one.
	IPv6FirstWord bool
}

// Flow is what is hashed where a cluster shares out flows and not clients.
// Client and Server are of the same family.
type Flow struct {
	Client, Server         netip.Addr
	Protocol               uint8  // IANA protocol number
	ClientPort, ServerPort uint16 // 0 for fragments; ignored for protocols other than TCP, UDP and SCTP
}

// Client returns the hash of a client's address: for IPv4 the kernel's
// jhash_1word, for IPv6 its jhash2, of the address's 32-bit words, each read
// as little-endian from network order.
func (h Hash) Client(addr netip.Addr) uint32 {
	addr = addr.Unmap()
	var words [4]uint32
	if addr.Is4() {
		b := addr.As4()
		words[0] = binary.LittleEndian.Uint32(b[:])
		return jhash2(words[:1], h.Seed)
	}
	loadWords(words[:], addr)
	if h.IPv6FirstWord {
		return jhash2(words[:1], h.Seed)
	}
	return jhash2(words[:], h.Seed)
}

// Network returns the hash of a client's network: its address with all but
// the first 24 bits (IPv4) or 64 bits (IPv6) zero, hashed as Client does.
func (h Hash) Network(addr netip.Addr) uint32 {
	addr = addr.Unmap().WithZone("")
	bits := 64
	if addr.Is4() {
		bits = 24
	}
	network, err := addr.Prefix(bits)
	if err != nil { // only the zero Addr has no prefixes
		return h.Client(addr)
	}
	return h.Client(network.Addr())
}

// Flow returns the hash of a flow: the kernel's jhash2 of the client's
// address, the server's address, the ports (client's first, both in network
// order, read as one little-endian word) and the protocol number. It is
// always taken over whole addresses.
func (h Hash) Flow(f Flow) uint32 {
	client, server := f.Client.Unmap(), f.Server.Unmap()
	var words [10]uint32
	n := 4
	if client.Is4() && server.Is4() {
		n = 1
	}
	loadWords(words[:n], client)
	loadWords(words[n:2*n], server)
	switch f.Protocol {
	case protoTCP, protoUDP, protoSCTP:
		var ports [4]byte
		binary.BigEndian.PutUint16(ports[:2], f.ClientPort)
		binary.BigEndian.PutUint16(ports[2:], f.ServerPort)
		words[2*n] = binary.LittleEndian.Uint32(ports[:])
	}
	words[2*n+1] = uint32(f.Protocol)
	return jhash2(words[:2*n+2], h.Seed)
}

// loadWords reads the last len(words) words of addr's 128-bit form, which
// ends in the IPv4 address where addr is one.
func loadWords(words []uint32, addr netip.Addr) {
	b := addr.As16()
	from := b[16-4*len(words):]
	for i := range words {
		words[i] = binary.LittleEndian.Uint32(from[4*i:])
	}
}

// Bucket returns the bucket, 0 to buckets-1, that a hash falls into, where
// buckets is 1 to MaxBuckets: hash × buckets >> 32, the kernel's
// reciprocal_scale. It divides the hash space into runs of equal length.
func Bucket(hash uint32, buckets int) int {
	return int(uint64(hash) * uint64(buckets) >> 32)
}
