// Package match decides which node of a load-sharing cluster handles a
// packet, as the iptables match "cluster" does (iptables-extensions(8),
// net/netfilter/xt_cluster.c in Linux): every node sees every packet, and
// takes those whose source address hashes to it.
//
// A Match is the iptables match with its four options. Hash and Bucket are the
// general form, for other numbers of buckets and other things to hash.
//
// It differs from the kernel where the kernel is at fault: an IPv6 address is
// hashed whole, and not only its first 32 bits, unless IPv6FirstWord says so;
// and from the iptables program: node masks may have any bit up to bit 31.
package match

import (
	"fmt"
	"net/netip"
)

// MaxNodes is the largest number of nodes that a Match can have.
const MaxNodes = 32

// Match is the iptables match "cluster". Parse and Validate say what its
// values may be.
type Match struct {
	TotalNodes int    // 1 to MaxNodes
	NodeMask   uint32 // bit i stands for node i+1; not 0, and no bit at or above TotalNodes
	Inverted   bool   // matches what the nodes of NodeMask do not handle
	Seed       uint32
	// IPv6FirstWord hashes only the first 32 bits of IPv6 addresses, as the
	// kernel does, for clusters that mix shoal and iptables.
	IPv6FirstWord bool
}

// Index returns the index, 0 to TotalNodes-1, of the node that handles packets
// from addr.
func (m Match) Index(addr netip.Addr) int {
	hash := Hash{Seed: m.Seed, IPv6FirstWord: m.IPv6FirstWord}.Client(addr)
	return Bucket(hash, m.TotalNodes)
}

// Owner returns the number, 1 to TotalNodes, of the node that handles packets
// from addr.
func (m Match) Owner(addr netip.Addr) int { return m.Index(addr) + 1 }

// Matches reports whether the match matches packets from addr. The zero Addr
// is never matched, not even inverted: so the kernel treats packets of which
// it knows no source.
func (m Match) Matches(addr netip.Addr) bool {
	if !addr.IsValid() {
		return false
	}
	return (m.NodeMask>>m.Index(addr)&1 != 0) != m.Inverted
}

// Validate reports the first value that is out of range, by the name of its
// option.
func (m Match) Validate() error {
	switch {
	case m.TotalNodes < 1 || m.TotalNodes > MaxNodes:
		return fmt.Errorf("%s: %d is out of range (1-%d)", optTotalNodes, m.TotalNodes, MaxNodes)
	case m.NodeMask == 0:
		return ErrNoLocalNode
	case m.NodeMask > m.wholeMask():
		return fmt.Errorf("%s: %#x is too big for %s %d (allowed: 0x1-%#x)",
			optNodeMask, m.NodeMask, optTotalNodes, m.TotalNodes, m.wholeMask())
	}
	return nil
}

// wholeMask has the bits of all nodes.
func (m Match) wholeMask() uint32 { return uint32(1<<m.TotalNodes - 1) }

// String returns the options as iptables -S prints them, for a valid Match.
func (m Match) String() string {
	var not, firstWord string
	if m.Inverted {
		not = "! "
	}
	if m.IPv6FirstWord {
		firstWord = " " + optFirstWord
	}
	return fmt.Sprintf("%s%s 0x%08x %s %d %s 0x%08x%s",
		not, optNodeMask, m.NodeMask, optTotalNodes, m.TotalNodes, optSeed, m.Seed, firstWord)
}
