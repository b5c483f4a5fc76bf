//go:build privileged

package dataplane

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/shoal-net/shoal/internal/cluster"
)

// Whatever the gateways of a moving bucket have tracked, one of them takes each
// packet, whichever side it comes from.
func TestGateways(t *testing.T) {
	for _, f := range families {
		for _, translated := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s translated=%t", f.name, translated), func(t *testing.T) {
				g := gateways{twins: newTwins(t, setup{mode: cluster.Gateway, handover: byConntrack}), f: f, to: f.server, port: 80}
				if translated {
					g.to = f.vip
					for _, n := range []*node{g.old, g.new} {
						n.in(func() { g.translate() })
					}
				}
				g.established(4001)
				g.handshakes(4002)
				g.repeatedHandshakes(4003)
				g.ended(4005)
				g.forgotten(4006)
				g.udp(4007)
			})
		}
	}
}

// gateways are twins between clients and a server that the test plays.
type gateways struct {
	*twins
	f    family
	to   netip.Addr // that clients ask for
	port uint16
}

// translate sends clients of the cluster address on to the server.
func (g gateways) translate() {
	iptables := "iptables"
	if g.f.v6 {
		iptables = "ip6tables"
	}
	for _, proto := range []string{"tcp", "udp"} {
		run(g.t, "", iptables, "-t", "nat", "-A", "PREROUTING", "-d", g.f.vip.String(), "-p", proto, "--dport", fmt.Sprint(g.port),
			"-j", "DNAT", "--to-destination", g.f.server.String())
	}
}

// tcpFrame is a segment of either end, with the side that it comes from.
type tcpFrame struct {
	side  cluster.Side
	port  uint16 // that its receiver has
	seq   uint32
	frame []byte
}

func (g gateways) fromClient(port uint16, flags byte, seq, acked uint32) tcpFrame {
	return tcpFrame{cluster.ClientSide, g.port, seq, eth(toCluster, ip(g.f.client, g.to, tcpWith(port, g.port, flags, seq, acked)))}
}

func (g gateways) fromServer(port uint16, flags byte, seq, acked uint32) tcpFrame {
	return tcpFrame{cluster.ServerSide, port, seq, eth(toCluster, ip(g.f.server, g.f.client, tcpWith(g.port, port, flags, seq, acked)))}
}

// errors are ICMP errors, one from each side, about the other side's segments.
func (g gateways) errors(port uint16, clientSeq, serverSeq uint32) []tcpFrame {
	return []tcpFrame{
		{side: cluster.ClientSide, frame: eth(toCluster, ip(g.f.router, g.to, tooBig(ip(g.to, g.f.client, tcpWith(g.port, port, ack, serverSeq, 0)), -1)))},
		{side: cluster.ServerSide, frame: eth(toCluster, ip(g.f.router, g.f.client, tooBig(ip(g.f.client, g.f.server, tcpWith(port, g.port, ack, clientSeq, 0)), -1)))},
	}
}

// takes checks segments.
func (g gateways) takes(want expect, what string, segments ...tcpFrame) {
	g.t.Helper()
	for i, s := range segments {
		g.check(fmt.Sprintf("%s (%d)", what, i), s.side, s.frame, want)
	}
}

// forwards puts segments through one of the nodes, each after the other.
func (g gateways) forwards(n *node, segments ...tcpFrame) {
	g.t.Helper()
	for _, s := range segments {
		n.wires[s.side].send(toStack(s.frame))
		n.wires[1-s.side].await(s.port, func(got *layers.TCP) bool { return got.Seq == s.seq })
	}
}

// forwarded checks segments and puts them through the node that takes them.
func (g gateways) forwarded(want expect, what string, segments ...tcpFrame) {
	g.t.Helper()
	for i, s := range segments {
		g.check(fmt.Sprintf("%s (%d)", what, i), s.side, s.frame, want)
		g.forwards(map[expect]*node{theOld: g.old, theNew: g.new}[want], s)
	}
}

// opened is a handshake.
func (g gateways) opened(port uint16, client, server uint32) []tcpFrame {
	return []tcpFrame{g.fromClient(port, syn, client, 0), g.fromServer(port, syn|ack, server, client+1), g.fromClient(port, ack, client+1, server+1)}
}

// flow is what the ends send while a connection stands.
func (g gateways) flow(port uint16, client, server uint32) []tcpFrame {
	return append(g.errors(port, client, server), g.fromClient(port, psh|ack, client, server), g.fromServer(port, psh|ack, server, client),
		g.fromClient(port, fin|ack, client, server), g.fromServer(port, fin|ack, server, client),
		g.fromClient(port, rst, client, 0), g.fromServer(port, rst, server, 0), g.fromServer(port, rst|ack, server, client))
}

func (g gateways) established(port uint16) {
	g.t.Helper()
	g.takes(nobody, "unknown", g.flow(port, 101, 201)...)
	g.forwards(g.old, g.opened(port, 100, 200)...)
	g.takes(theOld, "established", g.flow(port, 101, 201)...)
	g.takes(nobody, "established, other numbers", g.flow(port, 101+1<<30, 201+1<<30)...)
	g.takes(theNew, "syn", g.fromClient(port, syn, 1<<20, 0))
	g.takes(theOld, "established, and a SYN came", g.flow(port, 101, 201)...)
	g.forwarded(theNew, "another", g.opened(port+1000, 100, 200)...)
	g.takes(theNew, "another", g.flow(port+1000, 101, 201)...)
}

// handshakes that began at the old owner end there.
func (g gateways) handshakes(port uint16) {
	g.t.Helper()
	s := g.opened(port, 100, 200)
	g.forwards(g.old, s[0])
	g.takes(nobody, "syn sent, other answers", g.fromServer(port, syn|ack, 200, 102), g.fromServer(port, rst|ack, 0, 102))
	g.takes(theOld, "refused", g.fromServer(port, rst|ack, 0, 101))
	g.forwarded(theOld, "syn ack", s[1])
	g.takes(nobody, "syn ack, other answers", g.fromClient(port, ack, 101, 200), g.fromClient(port, rst, 102, 0))
	g.takes(theOld, "syn ack", s[1], g.fromClient(port, rst, 101, 0))
	g.forwarded(theOld, "last ack", s[2])
	g.takes(theOld, "established", g.flow(port, 101, 201)...)
}

// repeatedHandshakes: with a SYN that comes again the handshake is the new owner's.
func (g gateways) repeatedHandshakes(port uint16) {
	g.t.Helper()
	for i := range uint16(2) {
		port := port + i
		s := g.opened(port, 100, 200)
		g.forwards(g.old, s[:1+i]...)
		if taken, counted := g.old.handles(cluster.ClientSide, s[0].frame); taken || counted != "drop_new_flow yielded" {
			g.t.Errorf("syn again: the old owner counts %s", counted)
		}
		g.forwarded(theNew, "syn again", s...)
		g.takes(theNew, "established", g.flow(port, 101, 201)...)
	}
}

// ended: what is left of a connection takes what belongs to it, until a SYN comes.
func (g gateways) ended(port uint16) {
	g.t.Helper()
	g.forwards(g.old, g.opened(port, 100, 200)...)
	g.forwarded(theOld, "closing", g.fromClient(port, fin|ack, 101, 201), g.fromServer(port, fin|ack, 201, 102), g.fromClient(port, ack, 102, 202))
	g.takes(theOld, "time wait", g.fromServer(port, fin|ack, 201, 102), g.fromClient(port, ack, 102, 202))
	g.forwarded(theNew, "opened again", g.opened(port, 1<<20, 1<<28)...)
	g.takes(theNew, "opened again", g.flow(port, 1<<20+1, 1<<28+1)...)
	g.moveBack()
	g.takes(theOld, "opened again, moved back", g.flow(port, 1<<20+1, 1<<28+1)...)
	g.moveBack()
}

// forgotten: a client opens a connection again that the server still has. The
// server's word on that is about the old connection.
func (g gateways) forgotten(port uint16) {
	g.t.Helper()
	g.forwards(g.old, g.opened(port, 100, 200)...)
	again := g.opened(port, 1<<20, 1<<28)
	g.forwarded(theNew, "syn", again[0])
	g.forwarded(theOld, "the server's challenge", g.fromServer(port, ack, 201, 101))
	g.forwarded(theOld, "the client's reset", g.fromClient(port, rst, 101, 0))
	g.forwarded(theNew, "opened again", again...)
	g.takes(theNew, "opened again", g.flow(port, 1<<20+1, 1<<28+1)...)
}

// udp: the old owner keeps the flows that it tracks, both ways, and the new one
// what is not among them.
func (g gateways) udp(port uint16) {
	g.t.Helper()
	ask := eth(toCluster, ip(g.f.client, g.to, udp(port, g.port)))
	answer := eth(toCluster, ip(g.f.server, g.f.client, udp(g.port, port)))
	tooBigAnswer := eth(toCluster, ip(g.f.router, g.to, tooBig(ip(g.to, g.f.client, udp(g.port, port)), -1)))
	tooBigAsk := eth(toCluster, ip(g.f.router, g.f.client, tooBig(ip(g.f.client, g.f.server, udp(port, g.port)), -1)))
	both := func(when string, want expect) {
		g.t.Helper()
		g.check("ask, "+when, cluster.ClientSide, ask, want)
		g.check("answer, "+when, cluster.ServerSide, answer, want)
		g.check("error about the answer, "+when, cluster.ClientSide, tooBigAnswer, want)
		g.check("error about the question, "+when, cluster.ServerSide, tooBigAsk, want)
	}
	g.new.become(AcquiringHeld)
	both("held, unknown", nobody)
	g.old.wires[cluster.ClientSide].send(toStack(ask))
	g.old.wires[cluster.ServerSide].frame("the question", func(p gopacket.Packet) bool {
		d, ok := p.Layer(layers.LayerTypeUDP).(*layers.UDP)
		return ok && uint16(d.SrcPort) == port
	})
	both("held", theOld)
	for _, server := range []netip.Addr{g.to, g.f.server} {
		g.new.freeze(FrozenFlow{UDPFlow: UDPFlow{netip.AddrPortFrom(g.f.client, port), netip.AddrPortFrom(server, g.port)}})
	}
	g.new.become(Acquiring)
	both("frozen", theOld)
	g.check("another", cluster.ClientSide, eth(toCluster, ip(g.f.client, g.to, udp(port+1000, g.port))), theNew)
	g.moveBack()
	g.new.become(AcquiringHeld)
	both("moved back, held", theNew)
	g.moveBack()
}

// plane is the agent's view of a rig's maps.
func (r *rig) plane() *Plane { return &Plane{cluster: r.cluster, maps: r.maps} }

func (n *node) freeze(flows ...FrozenFlow) {
	n.t.Helper()
	for _, r := range n.rigs {
		must(n.t, r.plane().Freeze(1, flows))
	}
}

// Gateways that keep no flows hand over at once.
func TestGatewaysWithoutFlows(t *testing.T) {
	enterNamespace(t)
	for _, f := range families {
		track(t, 6, f.client, 4000, f.server, 80, f.server, f.client)
	}
	for _, side := range []cluster.Side{cluster.ClientSide, cluster.ServerSide} {
		r := newRig(t, setup{mode: cluster.Gateway, side: side})
		for _, f := range families {
			src, dst := f.client, f.server
			if side == cluster.ServerSide {
				src, dst = dst, src
			}
			for _, m := range []moving{
				opens("syn", eth(toCluster, ip(src, dst, tcp(4000, 80, syn)))),
				opens("ack", eth(toCluster, ip(src, dst, tcp(4000, 80, ack)))),
				held(opens("udp", eth(toCluster, ip(src, dst, udp(4000, 80))))),
				opens("error", eth(toCluster, ip(f.router, src, tooBig(ip(dst, src, tcp(80, 4000, ack)), -1)))),
			} {
				m.name = f.name + " " + m.name
				m.check(t, r, r.bucket(by(f.client)))
			}
		}
	}
}
