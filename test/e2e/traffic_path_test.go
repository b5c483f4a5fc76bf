//go:build privileged

package e2e

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/internal/lab"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// routed puts a router between the nodes and the server (gateway) or the
// clients (backend). Its links have the same MTU as the others.
var routed = lab.Options{RouterMTU: 1500}

// narrow is the MTU of the narrow hop, in bytes; full that of the links.
const (
	narrow = 1400
	full   = 1500
)

// pathTraffic is what routed clusters of both modes carry.
var pathTraffic = []trafficTest{
	{"traceroute", testTraceroute},
}

var backendPathTraffic = []trafficTest{
	{"narrow hop before the clients", testNarrowClients},
}

var gatewayPathTraffic = []trafficTest{
	{"narrow hop behind the nodes", testNarrowServer},
	{"narrow hop at the nodes", testNarrowNodes},
}

func TestBackendPath(t *testing.T) {
	all := func(t *testing.T, s *site) { s.run(t, pathTraffic, backendPathTraffic) }
	eachSize(t, cluster.Backend, routed, all)
	eachWay(t, cluster.Backend, routed, all)
}

// narrowRoutes gives the routes of a link an MTU that holds for forwarded
// packets, too: it is locked. The default routes count where the link is the
// way to all.
func narrowRoutes(t *testing.T, ns *lab.Namespace, link string, mtu int) {
	t.Helper()
	l, err := ns.Netlink().LinkByName(link)
	must(t, err)
	routes, err := ns.Netlink().RouteList(l, netlink.FAMILY_ALL)
	must(t, err)
	n := 0
	for _, r := range routes {
		if r.Dst != nil && r.Dst.IP.IsLinkLocalUnicast() || r.Dst != nil && r.Dst.IP.IsMulticast() {
			continue
		}
		r.MTU, r.MTULock = mtu, true
		must(t, ns.Netlink().RouteReplace(&r))
		n++
	}
	if n < 2 {
		t.Fatalf("%d routes over %s of %s, want one of each family", n, link, ns.Name)
	}
}

// clientsOfAllNodes returns clients of each node and family, several of each,
// and the rest.
func (s *site) clientsOfAllNodes(several int) (some, rest []netip.Addr) {
	type share struct {
		node int
		v4   bool
	}
	have := map[share]int{}
	for _, c := range s.ClientAddresses() {
		k := share{s.owner(c), c.Is4()}
		if have[k]++; have[k] <= several {
			some = append(some, c)
		} else {
			rest = append(rest, c)
		}
	}
	return some, rest
}

const transfer = 500_000 // bytes

// A client sends more than the hop behind the nodes takes. The error comes to
// the cluster's address on the server side and goes to the client through the
// node that has its flow.
func testNarrowServer(t *testing.T, s *site) {
	narrowRoutes(t, s.Router, "eth1", narrow)
	defer func() {
		narrowRoutes(t, s.Router, "eth1", full)
		renewRoutes(t, s.Clients)
	}()
	port := s.nextPort()
	s.reset(t)
	each(t, s.ClientAddresses(), func(ctx context.Context, client netip.Addr) error {
		return s.sendUnfragmented(ctx, netip.AddrPortFrom(client, port))
	})
	ev := s.take(t)
	s.checkOnce(t, ev, s.ClientAddresses(), expectation{forward: 1, back: 1, answers: 1}, func(p *packet) way {
		switch {
		case p.proto == unix.IPPROTO_UDP && p.fromPort == port:
			return fromClient
		case p.isTooBig() && p.mtu == narrow && p.quote.fromPort == port:
			return toClient
		}
		return other
	})
	serveBulk(t, s.Server)
	uploaders, _ := s.clientsOfAllNodes(1)
	for _, client := range uploaders { // one after the other: all share the route to the server
		renewRoutes(t, s.Clients)
		s.reset(t)
		if err := bulk(s.Lab, client, s.target(client), transfer, 0); err != nil {
			t.Errorf("%s: %v", client, err)
		}
		ev := s.take(t)
		s.checkOnce(t, ev, []netip.Addr{client}, bothWays(some), bulkOf)
		s.checkOnce(t, ev, []netip.Addr{client}, expectation{back: some, answers: some}, func(p *packet) way {
			if p.isTooBig() && p.quote.toPort == bulkPort {
				return toClient
			}
			return other
		})
	}
}

// bulkOf picks bulk transfers.
func bulkOf(p *packet) way {
	switch {
	case p.proto != unix.IPPROTO_TCP:
	case p.toPort == bulkPort:
		return fromClient
	case p.fromPort == bulkPort:
		return toClient
	}
	return other
}

// sendUnfragmented sends a datagram as long as the links carry, which may not
// be fragmented, whatever is known of the path.
func (s *site) sendUnfragmented(ctx context.Context, client netip.AddrPort) error {
	c, err := s.Clients.Dial(ctx, "udp", client, netip.AddrPortFrom(s.target(client.Addr()), lab.EchoPort))
	if err != nil {
		return err
	}
	defer c.Close()
	raw, err := c.(*net.UDPConn).SyscallConn()
	if err != nil {
		return err
	}
	e := raw.Control(func(fd uintptr) {
		if client.Addr().Is4() {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE)
		} else {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_PROBE)
		}
	})
	if e != nil || err != nil {
		return fmt.Errorf("set path MTU discovery: %v, %v", e, err)
	}
	_, err = c.Write(make([]byte, longest(client.Addr())))
	return err
}

// longest is the length of the longest UDP payload that fits in one packet to
// a host of this family.
func longest(a netip.Addr) int {
	if a.Is4() {
		return full - 20 - 8
	}
	return full - 40 - 8
}

// renewRoutes makes a host forget what it learned of paths over its routers.
func renewRoutes(t *testing.T, ns *lab.Namespace) {
	t.Helper()
	routes, err := ns.Netlink().RouteList(nil, netlink.FAMILY_ALL)
	must(t, err)
	n := 0
	for _, r := range routes {
		if r.Gw == nil {
			continue
		}
		must(t, ns.Netlink().RouteDel(&r))
		must(t, ns.Netlink().RouteAdd(&r))
		n++
	}
	if n != 2 {
		t.Fatalf("%d routes over routers in %s, want one of each family", n, ns.Name)
	}
}

// download lets clients download at the same time, each through its node.
func (s *site) download(t *testing.T, clients []netip.Addr) events {
	t.Helper()
	s.reset(t)
	each(t, clients, func(_ context.Context, client netip.Addr) error {
		return bulk(s.Lab, client, s.target(client), 0, transfer)
	})
	ev := s.take(t)
	s.checkOnce(t, ev, clients, bothWays(some), bulkOf)
	return ev
}

// tooBigDownload picks errors about segments of downloads.
func tooBigDownload(p *packet) bool { return p.isTooBig() && p.quote.fromPort == bulkPort }

// The server sends more than the nodes can send on: the node that has the flow
// says so, under its own address.
func testNarrowNodes(t *testing.T, s *site) {
	for _, n := range s.Nodes {
		narrowRoutes(t, n.NS, "eth1", narrow)
		defer narrowRoutes(t, n.NS, "eth1", full)
	}
	defer renewRoutes(t, s.Server)
	serveBulk(t, s.Server)
	downloaders, rest := s.clientsOfAllNodes(3)
	ev := s.download(t, downloaders)
	s.checkErrorSource(t, ev, tooBigDownload, some)

	port := s.nextPort()
	ev = s.askInVain(t, rest, port)
	s.checkOnce(t, ev, rest, expectation{forward: 1, arrivals: 1, back: 1}, clientPort(unix.IPPROTO_UDP, port))
	s.checkErrorSource(t, ev, tooBigFor(port), 1)
	s.askAgain(t, rest, port)
}

// checkErrorSource fails the test where an error to the server came from
// another address than the own one of the node that has the flow, or not as
// often as wanted.
func (s *site) checkErrorSource(t *testing.T, ev events, pick func(*packet) bool, want int) {
	t.Helper()
	count := map[netip.Addr]int{}
	for _, p := range ev.server {
		if !pick(&p) {
			continue
		}
		client := p.quote.to
		count[client]++
		node := s.Nodes[s.owner(client)-1]
		if own := sameFamily(node.ServerSideAddresses(), client)[0]; p.from != own {
			t.Errorf("error about %s comes from %s, want %s", client, p.from, own)
		}
	}
	if len(count) == 0 {
		t.Error("no errors came")
	}
	for client, n := range count {
		if !came(n, want) {
			t.Errorf("%d errors about a packet to %s", n, client)
		}
	}
}

// askInVain lets clients send datagrams whose answers are too long for the
// narrow hop: nobody knows that yet, and they are lost. It returns what came in
// when there was an error about each: as many clients ask at a time as the
// services have room for.
func (s *site) askInVain(t *testing.T, clients []netip.Addr, port uint16) (ev events) {
	t.Helper()
	s.reset(t)
	sent := 0
	for batch := range slices.Chunk(clients, 30) {
		for _, client := range batch {
			c, err := s.Clients.Dial(t.Context(), "udp", netip.AddrPortFrom(client, port), netip.AddrPortFrom(s.target(client), lab.EchoPort))
			must(t, err)
			_, err = c.Write(make([]byte, longQuestion(client)))
			must(t, err)
			c.Close()
		}
		sent += len(batch)
		s.takeUntil(t, &ev, func() bool {
			return countPackets(tooBigFor(port), append(ev.nodes, ev.server)...) >= sent
		})
	}
	return ev
}

// longQuestion is the length of a question whose answer, which adds a name, is too
// long for the narrow hop, but not for the links.
func longQuestion(client netip.Addr) int { return longest(client) - 10 }

// askAgain lets clients do what they did in vain when the path was not known.
func (s *site) askAgain(t *testing.T, clients []netip.Addr, port uint16) {
	t.Helper()
	each(t, clients, func(ctx context.Context, client netip.Addr) error {
		return s.askUDP(ctx, netip.AddrPortFrom(client, port), longQuestion(client))
	})
}

// tooBigFor picks errors about packets that were too long for the narrow hop
// and went to a port.
func tooBigFor(port uint16) func(*packet) bool {
	return func(p *packet) bool { return p.isTooBig() && p.quote.toPort == port && p.mtu == narrow }
}

// Clients behind a narrow hop: its errors come to the cluster's address, and
// reach the node that has the connection.
func testNarrowClients(t *testing.T, s *site) {
	narrowRoutes(t, s.Router, "eth1", narrow)
	defer narrowRoutes(t, s.Router, "eth1", full)
	for _, n := range s.Nodes {
		serveBulk(t, n.NS)
		defer renewRoutes(t, n.NS)
	}
	downloaders, rest := s.clientsOfAllNodes(3)
	ev := s.download(t, downloaders)
	s.checkErrorNode(t, ev, downloaders, tooBigDownload, some)

	port := s.nextPort()
	ev = s.askInVain(t, rest, port)
	s.checkOnce(t, ev, rest, expectation{forward: 1}, clientPort(unix.IPPROTO_UDP, port))
	s.checkErrorNode(t, ev, rest, tooBigFor(port), 1)
	s.askAgain(t, rest, port)
}

// checkErrorNode fails the test where an error about packets to a client
// reached another node than the client's, or not as many errors as wanted.
func (s *site) checkErrorNode(t *testing.T, ev events, clients []netip.Addr, pick func(*packet) bool, want int) {
	t.Helper()
	nodes := map[netip.Addr][]int{}
	for i, seen := range ev.nodes {
		for _, p := range seen {
			if pick(&p) {
				nodes[p.quote.to] = append(nodes[p.quote.to], i+1)
			}
		}
	}
	var faults []string
	for _, c := range clients {
		if !handledBy(nodes[c], s.owner(c), want) {
			faults = append(faults, fmt.Sprintf("errors about packets to %s, of node %d, reached nodes %v", c, s.owner(c), nodes[c]))
		}
	}
	fail(t, faults)
}
