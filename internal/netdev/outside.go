package netdev

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Neighbour is a host on the link of an interface.
type Neighbour struct {
	Interface string
	Address   netip.Addr
	Link      string // the interface's index and MAC
}

// maxOutside is how many neighbours beside gateways are named.
const maxOutside = 4

// Outside returns hosts that can tell whether this one is cut off on the given
// interfaces: the default gateways there, and some neighbours that have answered of
// late and are none of those excluded.
func Outside(ifnames []string, excluded []netip.Addr) ([]Neighbour, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	byIndex := make(map[int]Neighbour) // without addresses
	for _, l := range links {
		if a := l.Attrs(); slices.Contains(ifnames, a.Name) {
			byIndex[a.Index] = Neighbour{Interface: a.Name, Link: fmt.Sprint(a.Index, " ", a.HardwareAddr)}
		}
	}
	found, err := gateways(byIndex)
	if err != nil {
		return nil, err
	}
	neighbours, err := netlink.NeighList(0, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("list neighbours: %w", err)
	}
	limit := len(found) + maxOutside
	for _, n := range neighbours {
		addr, ok := netip.AddrFromSlice(n.IP)
		one, here := byIndex[n.LinkIndex]
		one.Address = addr.Unmap()
		known := n.State&(unix.NUD_REACHABLE|unix.NUD_STALE|unix.NUD_DELAY|unix.NUD_PROBE|unix.NUD_PERMANENT) != 0
		if ok && here && known && !addr.IsMulticast() &&
			!slices.Contains(excluded, one.Address) && !slices.Contains(found, one) && len(found) < limit {
			found = append(found, one)
		}
	}
	return found, nil
}

func gateways(byIndex map[int]Neighbour) (found []Neighbour, err error) {
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	for _, r := range routes {
		if r.Dst != nil {
			if ones, _ := r.Dst.Mask.Size(); ones != 0 {
				continue
			}
		}
		one, here := byIndex[r.LinkIndex]
		if addr, ok := netip.AddrFromSlice(r.Gw); ok && here {
			one.Address = addr.Unmap()
			found = append(found, one)
		}
	}
	return found, nil
}
