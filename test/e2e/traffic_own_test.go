//go:build privileged

package e2e

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/shoal-net/shoal/internal/lab"
	"github.com/vishvananda/netlink"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// ownTraffic is what a node does under its own addresses, which is no business
// of the cluster's.
var ownTraffic = []trafficTest{
	{"to own addresses", testOwnAddresses},
	{"from own addresses", testOwnConnections},
	{"multicast", testMulticast},
}

// Every client reaches every node under the node's own addresses.
func testOwnAddresses(t *testing.T, s *site) {
	for _, n := range s.Nodes {
		serveWhoami(t, n.NS)
	}
	for _, n := range s.Nodes {
		s.reset(t)
		each(t, s.ClientAddresses(), func(ctx context.Context, client netip.Addr) error {
			own := sameFamily(n.Addresses(), client)[0]
			seen, err := whoami(ctx, s.Clients, "tcp", client, own)
			if err == nil && seen != client {
				err = fmt.Errorf("%s sees %s", own, seen)
			}
			return err
		})
		checkOnlyNode(t, s.take(t), n, n.Addresses())
		if s.gateway {
			each(t, n.ServerSideAddresses(), func(ctx context.Context, own netip.Addr) error {
				_, err := whoami(ctx, s.Server, "tcp", netip.Addr{}, own)
				return err
			})
		}
		forgetNeighbours(t, n.NS)
	}
}

func checkOnlyNode(t *testing.T, ev events, n *lab.Node, own []netip.Addr) {
	t.Helper()
	seen := 0
	for i, packets := range ev.nodes {
		for _, p := range packets {
			if !slices.Contains(own, p.to) || p.toPort != whoamiPort {
				continue
			}
			if seen++; i+1 != n.ID {
				t.Errorf("%v, of %s, reached node %d", p, n.Name, i+1)
			}
		}
	}
	if seen == 0 {
		t.Errorf("nothing for %v reached prerouting", own)
	}
}

// forgetNeighbours empties a node's neighbour tables, whose entries the kernel
// limits over all namespaces together.
func forgetNeighbours(t *testing.T, ns *lab.Namespace) {
	t.Helper()
	all, err := ns.Netlink().NeighList(0, unix.AF_UNSPEC)
	must(t, err)
	for _, n := range all {
		if n.State&(netlink.NUD_NOARP|netlink.NUD_PERMANENT) == 0 {
			must(t, ns.Netlink().NeighDel(&n))
		}
	}
}

// A node's own connections come from its own addresses and get their answers.
func testOwnConnections(t *testing.T, s *site) {
	serveWhoami(t, s.Clients)
	if s.gateway {
		serveWhoami(t, s.Server)
	}
	const enough = 10 // hosts of each family: each node is to meet clients of others' buckets
	for _, n := range s.Nodes {
		for _, side := range []struct{ hosts, own []netip.Addr }{
			{s.ClientAddresses()[:enough], n.Addresses()},
			{s.ClientAddresses()[len(s.ClientAddresses())-enough:], n.Addresses()},
			{s.serverAddresses(), n.ServerSideAddresses()},
		} {
			each(t, side.hosts, func(ctx context.Context, host netip.Addr) error {
				for _, network := range []string{"tcp", "udp"} {
					seen, err := whoami(ctx, n.NS, network, netip.Addr{}, host)
					if err != nil {
						return fmt.Errorf("%s from %s: %w", network, n.Name, err)
					}
					if own := sameFamily(side.own, host)[0]; seen != own {
						return fmt.Errorf("%s from %s comes from %s, want %s", network, n.Name, seen, own)
					}
				}
				return nil
			})
		}
	}
}

// serverAddresses are those of the server behind a gateway.
func (s *site) serverAddresses() []netip.Addr {
	if !s.gateway {
		return nil
	}
	return s.Targets()
}

// Each node gets each datagram that another one sends to a group, once.
func testMulticast(t *testing.T, s *site) {
	const port = 5353
	for _, group := range []netip.Addr{netip.MustParseAddr("239.1.2.3"), netip.MustParseAddr("ff15::1:2:3")} {
		var members []*net.UDPConn
		for _, n := range s.Nodes {
			members = append(members, join(t, n.NS, group, port))
		}
		s.reset(t)
		for _, m := range members {
			_, err := m.WriteTo([]byte("hello, nodes"), net.UDPAddrFromAddrPort(netip.AddrPortFrom(group, port)))
			must(t, err)
		}
		for i, m := range members {
			must(t, m.SetReadDeadline(time.Now().Add(answerTime)))
			var got, want []string
			for _, n := range s.Nodes {
				if n.ID != i+1 {
					want = append(want, sameFamily(n.Addresses(), group)[0].String())
				}
			}
			for range want {
				_, from, err := m.ReadFromUDPAddrPort(make([]byte, 100))
				if err != nil {
					t.Errorf("node %d got datagrams to %s of %v only: %v", i+1, group, got, err)
					break
				}
				got = append(got, from.Addr().Unmap().String())
			}
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("node %d got datagrams to %s of %v, want %v", i+1, group, got, want)
			}
		}
		for i, seen := range s.take(t).nodes {
			seen = slices.DeleteFunc(seen, func(p packet) bool { return p.to != group || p.proto != unix.IPPROTO_UDP })
			if len(seen) != len(s.Nodes)-1 {
				t.Errorf("datagrams to %s that reached node %d: %v, want one of each other node", group, i+1, seen)
			}
		}
		for _, m := range members {
			m.Close()
		}
	}
}

// join opens a socket that is in a group on the client side and sends to it.
func join(t *testing.T, ns *lab.Namespace, group netip.Addr, port int) *net.UDPConn {
	t.Helper()
	var c *net.UDPConn
	must(t, ns.Do(func() error {
		eth, err := net.InterfaceByName("eth1")
		if err != nil {
			return err
		}
		network := "udp6"
		if group.Is4() {
			network = "udp4"
		}
		if c, err = net.ListenMulticastUDP(network, eth, &net.UDPAddr{IP: group.AsSlice(), Port: port}); err != nil {
			return err
		}
		if group.Is4() {
			return ipv4.NewPacketConn(c).SetMulticastInterface(eth)
		}
		return ipv6.NewPacketConn(c).SetMulticastInterface(eth)
	}))
	t.Cleanup(func() { c.Close() })
	return c
}
