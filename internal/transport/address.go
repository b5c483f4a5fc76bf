package transport

import (
	"fmt"
	"net"
	"net/netip"
)

// prefixes returns the addresses of an interface.
func prefixes(link *net.Interface) ([]netip.Prefix, error) {
	addrs, err := link.Addrs()
	if err != nil {
		return nil, fmt.Errorf("list the addresses of %s: %w", link.Name, err)
	}
	var list []netip.Prefix
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok {
			ip, _ := netip.AddrFromSlice(n.IP)
			bits, _ := n.Mask.Size()
			list = append(list, netip.PrefixFrom(ip.Unmap(), bits))
		}
	}
	return list, nil
}
