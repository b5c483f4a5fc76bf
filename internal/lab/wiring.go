package lab

import (
	"net"
	"net/netip"
)

// Names of the parts of a lab, and of links inside them.
const (
	partSwitch  = "switch"
	partClients = "clients"
	partServer  = "server"
	partRouter  = "router"

	clientBridge = "br-client"
	serverBridge = "br-server"
	clientEth    = "eth1" // of nodes, towards clients
	serverEth    = "eth2" // of nodes, towards servers
	leafEth      = "eth0" // of clients and server; of the router towards the nodes
	farEth       = "eth1" // of the router, away from the nodes
)

// An end is one end of a cable.
type end struct {
	part, link string
	mac        net.HardwareAddr // nil: the kernel's choice
}

// A cable is a veth pair. If bridge is set, a is a port of it.
type cable struct {
	a, b   end
	bridge string
	mtu    int // of both ends, in bytes
}

// An iface is what one interface of a part has.
type iface struct {
	part, link string
	addrs      []netip.Prefix
	routes     []route
}

type route struct {
	to  netip.Prefix
	via netip.Addr
}

var everywhere = segment{v4: netip.MustParsePrefix("0.0.0.0/0"), v6: netip.MustParsePrefix("::/0")}

// parts lists the namespaces of the lab.
func (p plan) parts() []string {
	all := []string{partSwitch, partClients}
	if p.gateway() {
		all = append(all, partServer)
	}
	if p.routed() {
		all = append(all, partRouter)
	}
	for id := 1; id <= p.Nodes; id++ {
		all = append(all, nodeName(id))
	}
	return all
}

func (p plan) bridges() []string {
	if p.gateway() {
		return []string{clientBridge, serverBridge}
	}
	return []string{clientBridge}
}

// forwards says whether a part is a router.
func (p plan) forwards(part string) bool {
	switch part {
	case partRouter:
		return true
	case partSwitch, partClients, partServer:
		return false
	default:
		return p.gateway()
	}
}

func (p plan) cables() []cable {
	var all []cable
	port := func(bridge, name, part, link string, s segment, number int) {
		all = append(all, cable{a: end{part: partSwitch, link: name}, b: end{part, link, s.hostMAC(number)},
			bridge: bridge, mtu: p.MTU})
	}
	for id := 1; id <= p.Nodes; id++ {
		port(clientBridge, nodeName(id)+"-c", nodeName(id), clientEth, clientSegment, id)
		if p.gateway() {
			port(serverBridge, nodeName(id)+"-s", nodeName(id), serverEth, serverSegment, id)
		}
	}
	leaf := func(bridge, part string, s segment, number int) {
		if s != behindRouter {
			port(bridge, part, part, leafEth, s, number)
			return
		}
		port(bridge, partRouter, partRouter, leafEth, p.routerLink(), hostRouter)
		all = append(all, cable{a: end{partRouter, farEth, s.hostMAC(hostRouter)},
			b: end{part, leafEth, s.hostMAC(number)}, mtu: p.RouterMTU})
	}
	leaf(clientBridge, partClients, p.clientLink(), clientHost(0))
	if p.gateway() {
		leaf(serverBridge, partServer, p.serverLink(), hostServer)
	}
	return all
}

func (p plan) ifaces() []iface {
	var all []iface
	add := func(part, link string, s segment, number int, routes ...route) {
		all = append(all, iface{part, link, p.own(s, number), routes})
	}
	var far []route // of the nodes, to what is behind the router
	if p.routed() {
		far = p.routes(behindRouter, p.routerLink(), hostRouter)
	}
	for id := 1; id <= p.Nodes; id++ {
		if p.gateway() {
			add(nodeName(id), clientEth, clientSegment, id)
			add(nodeName(id), serverEth, serverSegment, id, far...)
		} else {
			add(nodeName(id), clientEth, clientSegment, id, far...)
		}
	}
	add(partClients, leafEth, p.clientLink(), clientHost(0), p.wayOut(p.clientLink())...)
	for _, a := range p.clients() {
		c := &all[len(all)-1]
		if own := netip.PrefixFrom(a, a.BitLen()); !containsAddr(c.addrs, a) {
			c.addrs = append(c.addrs, own)
		}
	}
	if p.gateway() {
		add(partServer, leafEth, p.serverLink(), hostServer, p.wayOut(p.serverLink())...)
	}
	if p.routed() {
		add(partRouter, leafEth, p.routerLink(), hostRouter, p.wayOut(p.routerLink())...)
		add(partRouter, farEth, behindRouter, hostRouter)
	}
	return all
}

// wayOut is the default route of who is not a node: the router, or else the
// cluster's address if the nodes are gateways.
func (p plan) wayOut(s segment) []route {
	switch {
	case s == behindRouter:
		return p.routes(everywhere, s, hostRouter)
	case p.gateway():
		return p.routes(everywhere, s, hostVIP)
	default:
		return nil
	}
}

// routes leads to a segment via a host on another one.
func (p plan) routes(to, from segment, hop int) []route {
	via := from.hosts(p.Families, hop)
	var all []route
	for i, prefix := range to.prefixes(p.Families) {
		all = append(all, route{prefix, via[i]})
	}
	return all
}

// own are the addresses of one host on its segment, the link-local one first.
func (p plan) own(s segment, number int) []netip.Prefix {
	all := []netip.Prefix{netip.PrefixFrom(linkLocal(number), 64)}
	for _, prefix := range s.prefixes(p.Families) {
		all = append(all, netip.PrefixFrom(hostAddr(prefix, number), prefix.Bits()))
	}
	return all
}

func containsAddr(prefixes []netip.Prefix, a netip.Addr) bool {
	for _, p := range prefixes {
		if p.Addr() == a {
			return true
		}
	}
	return false
}
