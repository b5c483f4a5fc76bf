package netdev

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/shoal-net/shoal/internal/cluster"
)

// Sysctl is a setting that a cluster needs.
type Sysctl struct {
	// Key is the path below /proc/sys, such as net/ipv4/conf/eth1.7/forwarding:
	// the form with slashes, since interface names may contain dots.
	Key   string
	Value string
	// If, when not empty, restricts the change to hosts where the key has this
	// value.
	If  string
	Why string
}

// Needed lists the sysctls that a cluster needs, in the order to set them.
//
// Multicast MACs: the kernel drops IP packets to a unicast address in frames
// that came as multicast where it is told to (RFC 1122, section 3.3.6); for
// IPv4 if either the interface's switch or that of "all" is on
// (net/ipv4/ip_input.c), for IPv6 if the interface's is (net/ipv6/ip6_input.c).
// Frames to a unicast MAC are not concerned.
//
// Gateways: IPv4 is forwarded if the interface that it came in by forwards, so
// ip_forward, which would make the host a router between all its interfaces
// and overwrites their settings, stays as it is. (Setting an interface's switch
// turns its large receive offload off, as for any router.) IPv6 is forwarded
// only if that of "all" is on; the interface's own makes the node say so in
// neighbour discovery. An interface that forwards ignores router
// advertisements unless accept_ra is 2, and the node's own addresses and routes
// may come from them.
//
// Reverse path filters (rp_filter) are left alone: each node has the same
// routes, so what a filter lets through on one it lets through on all.
func Needed(c *cluster.Cluster) []Sysctl {
	var list []Sysctl
	for _, i := range c.Interfaces {
		list = append(list, neededForL2(i)...)
	}
	if c.Mode == cluster.Gateway {
		list = append(list, neededForGateway(c)...)
	}
	var unique []Sysctl
	for _, s := range list {
		if !slices.ContainsFunc(unique, func(u Sysctl) bool { return u.Key == s.Key }) {
			unique = append(unique, s)
		}
	}
	return unique
}

func neededForL2(i cluster.Interface) []Sysctl {
	if i.L2 == cluster.Unicast {
		return nil
	}
	why := "frames to the multicast MAC of " + i.Name + " carry unicast addresses"
	var list []Sysctl
	if has(i.Addresses, netip.Addr.Is4) {
		list = append(list,
			Sysctl{Key: conf(4, "all", "drop_unicast_in_l2_multicast"), Value: "0", Why: why},
			Sysctl{Key: conf(4, i.Name, "drop_unicast_in_l2_multicast"), Value: "0", Why: why})
	}
	if has(i.Addresses, netip.Addr.Is6) {
		list = append(list, Sysctl{Key: conf(6, i.Name, "drop_unicast_in_l2_multicast"), Value: "0", Why: why})
	}
	return list
}

func neededForGateway(c *cluster.Cluster) []Sysctl {
	var list []Sysctl
	var addrs []netip.Addr
	for _, i := range c.Interfaces {
		addrs = append(addrs, i.Addresses...)
	}
	if has(addrs, netip.Addr.Is4) {
		for _, i := range c.Interfaces {
			list = append(list, Sysctl{Key: conf(4, i.Name, "forwarding"), Value: "1", Why: "the node forwards IPv4 that comes in by " + i.Name})
		}
	}
	if !has(addrs, netip.Addr.Is6) {
		return list
	}
	for _, i := range c.Interfaces {
		list = append(list, Sysctl{Key: conf(6, i.Name, "accept_ra"), Value: "2", If: "1", Why: "an interface that forwards would no longer accept router advertisements"})
	}
	list = append(list, Sysctl{Key: conf(6, "all", "forwarding"), Value: "1", Why: "the node forwards IPv6"})
	for _, i := range c.Interfaces {
		list = append(list, Sysctl{Key: conf(6, i.Name, "forwarding"), Value: "1", Why: "the node is an IPv6 router on " + i.Name})
	}
	return list
}

func has(addrs []netip.Addr, is func(netip.Addr) bool) bool {
	return slices.ContainsFunc(addrs, is)
}

func conf(version int, name, setting string) string {
	return fmt.Sprintf("net/ipv%d/conf/%s/%s", version, name, setting)
}
