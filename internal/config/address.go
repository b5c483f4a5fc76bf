package config

import (
	"fmt"
	"net/netip"
)

// claim is a place in the file that takes an address; link is the interface of
// a cluster address and empty for a node's own.
type claim struct {
	at   value
	link string
}

// addresses reads a list of cluster addresses on a link, or, where link is
// empty, of a node's own.
func (b *builder) addresses(v value, link string, least, most int) []netip.Addr {
	var addresses []netip.Addr
	for _, element := range b.list(v, takesAddress, least, most) {
		text, ok := b.text(element)
		if !ok {
			continue
		}
		addr, why := parseAddress(text)
		if why != "" {
			b.reject(element, why)
			continue
		}
		b.claim(addr, element, link)
		addresses = append(addresses, addr)
	}
	return addresses
}

// claim reports an address that the file gives twice. Only an IPv6 link-local
// cluster address may be on several links: a gateway can be fe80::1 on each.
func (b *builder) claim(addr netip.Addr, at value, link string) {
	for _, other := range b.claims[addr] {
		perLink := addr.Is6() && addr.IsLinkLocalUnicast()
		if perLink && link != "" && other.link != "" && link != other.link {
			continue
		}
		b.fail(at, "%q is given twice, first as %s in line %d; an address belongs to the cluster or to one node",
			addr, other.at.path, other.at.token().Position.Line)
		return
	}
	b.claims[addr] = append(b.claims[addr], claim{at, link})
}

// parseAddress parses an address that a host can have; otherwise it says what
// the text is.
func parseAddress(s string) (addr netip.Addr, why string) {
	if _, err := netip.ParsePrefix(s); err == nil {
		return addr, "has a prefix length: leave it out"
	}
	addr, err := netip.ParseAddr(s)
	switch {
	case err != nil:
		why = "is not an IP address"
	case addr.Zone() != "":
		why = "has a zone: leave it out"
	case addr.Is4In6():
		why = fmt.Sprintf("is an IPv4 address in IPv6 form: write %s", addr.Unmap())
	case addr.IsUnspecified():
		why = "is the unspecified address"
	case addr.IsMulticast():
		why = "is a multicast address"
	case addr.IsLoopback():
		why = "is a loopback address"
	case addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		why = "is the broadcast address"
	case addr.Is4() && addr.As4()[0] == 0:
		why = "is in 0.0.0.0/8, which no host can have (RFC 1122, 3.2.1.3)"
	}
	return addr, why
}

// unique reports a name that the file gives twice; it is false then.
func (b *builder) unique(seen map[string]value, name string, at value) bool {
	if first, twice := seen[name]; twice {
		b.fail(at, "%q is given twice, first as %s in line %d", name, first.path, first.token().Position.Line)
		return false
	}
	seen[name] = at
	return true
}
