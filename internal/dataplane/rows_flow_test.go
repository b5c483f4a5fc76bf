//go:build privileged

package dataplane

import (
	"github.com/shoal-net/shoal/internal/cluster"
)

// handled is a row of a packet that the owner of its bucket handles.
func handled(name string, with setup, k key, frame []byte) row {
	return row{name: name, with: with, frame: frame, key: k, want: "handle_owned", foreign: "drop_foreign", out: toHostMAC}
}

var (
	clientSide  = setup{}
	serverSide  = setup{side: cluster.ServerSide}
	network     = setup{affinity: cluster.ByNetwork}
	networkBack = setup{affinity: cluster.ByNetwork, side: cluster.ServerSide}
	flow        = setup{affinity: cluster.ByFlow}
	flowBack    = setup{affinity: cluster.ByFlow, side: cluster.ServerSide}
)

func flowRows() []row {
	return append(both(func(f family) []row {
		in := func(p payload, opts ...ipOption) []byte { return eth(toCluster, ip(f.client, f.vip, p, opts...)) }
		back := func(p payload, opts ...ipOption) []byte { return eth(toCluster, ip(f.server, f.client, p, opts...)) }
		return []row{
			handled("tcp", clientSide, by(f.client), in(tcp(4000, 80, syn))),
			handled("udp", clientSide, by(f.client), in(udp(4000, 53))),
			handled("udp without data", clientSide, by(f.client), in(udpWith(4000, 53, nil))),
			handled("padded", clientSide, by(f.client), pad(in(udpWith(4000, 53, nil)))),
			handled("sctp", clientSide, by(f.client), in(sctp(4000, 80))),
			handled("echo", clientSide, by(f.client), in(echo(f.v6))),
			handled("echo reply", clientSide, by(f.client), in(echoReply(f.v6))),
			handled("gre", clientSide, by(f.client), in(other(47, 20))),
			handled("protocol without data", clientSide, by(f.client), in(other(59, 0))),
			handled("forwarded by a gateway", clientSide, by(f.client), eth(toCluster, ip(f.client, f.server, tcp(4000, 80, syn)))),
			handled("ttl 1", clientSide, by(f.client), in(udp(4000, 53), ttl(1))),
			handled("heartbeat port, no heartbeats", clientSide, by(f.client), in(udp(4000, cluster.HeartbeatPort), ttl(255))),

			handled("server side: tcp", serverSide, by(f.client), back(tcp(80, 4000, syn|ack))),
			handled("server side: udp", serverSide, by(f.client), back(udp(53, 4000))),
			handled("server side: echo reply", serverSide, by(f.client), back(echoReply(f.v6))),
			handled("server side: echo", serverSide, by(f.client), back(echo(f.v6))),

			handled("network: udp", network, byNetwork(f.client), in(udp(4000, 53))),
			handled("network, server side: udp", networkBack, byNetwork(f.client), back(udp(53, 4000))),

			handled("flow: tcp", flow, byFlow(6, f.client, 4000, f.vip, 80), in(tcp(4000, 80, ack))),
			handled("flow: udp", flow, byFlow(17, f.client, 4000, f.vip, 53), in(udp(4000, 53))),
			handled("flow: sctp", flow, byFlow(132, f.client, 4000, f.vip, 80), in(sctp(4000, 80))),
			handled("flow: echo", flow, byFlow(icmpProto(f.v6), f.client, 0, f.vip, 0), in(echo(f.v6))),
			handled("flow: gre", flow, byFlow(47, f.client, 0, f.vip, 0), in(other(47, 20))),
			handled("flow, server side: tcp", flowBack, byFlow(6, f.client, 4000, f.server, 80), back(tcp(80, 4000, ack))),
			handled("flow, server side: udp", flowBack, byFlow(17, f.client, 4000, f.server, 53), back(udp(53, 4000))),
			handled("flow, server side: echo reply", flowBack, byFlow(icmpProto(f.v6), f.client, 0, f.server, 0), back(echoReply(f.v6))),

			handled("1 bucket", setup{buckets: 1}, by(f.client), in(udp(4000, 53))),
			handled("2 buckets", setup{buckets: 2}, by(f.client), in(udp(4000, 53))),
			handled("3 buckets", setup{buckets: 3}, by(f.client), in(udp(4000, 53))),
			handled("65536 buckets", setup{buckets: 65536}, by(f.client), in(udp(4000, 53))),
			handled("jumbo", clientSide, by(f.client), in(udpWith(4000, 53, make([]byte, 8900)))),
			handled("flow: jumbo", flow, byFlow(17, f.client, 4000, f.vip, 53), in(udpWith(4000, 53, make([]byte, 8900)))),
		}
	}), []row{
		handled("v4 options", clientSide, by(client4), eth(toCluster, ipv4(client4, vip4, tcp(4000, 80, syn), options4(4)))),
		handled("v4 40 bytes of options, flow", flow, byFlow(6, client4, 4000, vip4, 80), eth(toCluster, ipv4(client4, vip4, tcp(4000, 80, syn), options4(40)))),
		handled("v4 don't fragment, flow", flow, byFlow(6, client4, 4000, vip4, 80), eth(toCluster, ipv4(client4, vip4, tcp(4000, 80, syn), dontFragment))),
		handled("v6 first word", setup{firstWord: true}, by(client6), eth(toCluster, ipv6(client6, vip6, udp(4000, 53)))),
		handled("v6 first word: same /32", setup{firstWord: true}, by(addr("2001:db8:1:2:3::4")), eth(toCluster, ipv6(client6, vip6, udp(4000, 53)))),
		handled("v4 first word", setup{firstWord: true}, by(client4), eth(toCluster, ipv4(client4, vip4, udp(4000, 53)))),
		handled("v6 hop-by-hop, flow", flow, byFlow(17, client6, 4000, vip6, 53), eth(toCluster, ipv6(client6, vip6, extension(0, 0, udp(4000, 53))))),
		handled("v6 destination options, flow", flow, byFlow(17, client6, 4000, vip6, 53), eth(toCluster, ipv6(client6, vip6, extension(60, 2, udp(4000, 53))))),
		handled("v6 routing, flow", flow, byFlow(17, client6, 4000, vip6, 53), eth(toCluster, ipv6(client6, vip6, extension(43, 1, udp(4000, 53))))),
		handled("v6 authentication, flow", flow, byFlow(17, client6, 4000, vip6, 53), eth(toCluster, ipv6(client6, vip6, authentication(udp(4000, 53))))),
		handled("v6 eight extensions, flow", flow, byFlow(17, client6, 4000, vip6, 53), eth(toCluster, ipv6(client6, vip6, chain(8, udp(4000, 53))))),
		handled("v6 link-local client", clientSide, by(addr("fe80::c1")), eth(toCluster, ipv6(addr("fe80::c1"), vip6, udp(4000, 53)))),
		handled("v6 echo behind extensions", clientSide, by(client6), eth(toCluster, ipv6(client6, vip6, chain(2, echo(true))))),
	}...)
}

func icmpProto(v6 bool) uint8 {
	if v6 {
		return 58
	}
	return 1
}

func fragmentRows() []row {
	cut := func(p payload, from, to int) payload { p.data = p.data[from:to]; p.sum = 0; return p }
	datagram := udpWith(4000, 53, make([]byte, 64))
	echo4, echo6 := echo(false), echo(true)
	rows := []row{}
	for _, c := range []struct {
		name   string
		with   setup
		k4, k6 key
	}{
		{"client", clientSide, by(client4), by(client6)},
		{"network", network, byNetwork(client4), byNetwork(client6)},
		{"flow", flow, byFlow(17, client4, 0, vip4, 0), byFlow(17, client6, 0, vip6, 0)},
	} {
		in4 := func(p payload, opts ...ipOption) []byte { return eth(toCluster, ipv4(client4, vip4, p, opts...)) }
		in6 := func(p payload) []byte { return eth(toCluster, ipv6(client6, vip6, p)) }
		rows = append(rows,
			handled("v4 first fragment, "+c.name, c.with, c.k4, in4(cut(datagram, 0, 24), piece(0, true))),
			handled("v4 middle fragment, "+c.name, c.with, c.k4, in4(cut(datagram, 24, 48), piece(24, true))),
			handled("v4 last fragment, "+c.name, c.with, c.k4, in4(cut(datagram, 48, 72), piece(48, false))),
			handled("v4 first fragment of 8 bytes, "+c.name, c.with, c.k4, in4(cut(datagram, 0, 8), piece(0, true))),
			handled("v6 first fragment, "+c.name, c.with, c.k6, in6(fragment6(0, true, cut(datagram, 0, 24)))),
			handled("v6 middle fragment, "+c.name, c.with, c.k6, in6(fragment6(24, true, cut(datagram, 24, 48)))),
			handled("v6 last fragment, "+c.name, c.with, c.k6, in6(fragment6(48, false, cut(datagram, 48, 72)))),
			handled("v6 last fragment behind options, "+c.name, c.with, c.k6, in6(extension(0, 0, fragment6(48, false, cut(datagram, 48, 72))))),
		)
	}
	optioned := extension(60, 0, datagram) // the fragmentable part begins with an extension header
	flowKey := byFlow(60, client6, 0, vip6, 0)
	return append(rows,
		handled("v6 atomic fragment, flow", flow, byFlow(17, client6, 4000, vip6, 53), eth(toCluster, ipv6(client6, vip6, fragment6(0, false, datagram)))),
		handled("v6 options in the first fragment, flow", flow, flowKey, eth(toCluster, ipv6(client6, vip6, fragment6(0, true, cut(optioned, 0, 24))))),
		handled("v6 options in the first fragment: last, flow", flow, flowKey, eth(toCluster, ipv6(client6, vip6, fragment6(24, false, cut(optioned, 24, 80))))),
		handled("v4 echo, first fragment", clientSide, by(client4), eth(toCluster, ipv4(client4, vip4, cut(echo4, 0, 16), piece(0, true)))),
		handled("v4 echo, last fragment", clientSide, by(client4), eth(toCluster, ipv4(client4, vip4, cut(echo4, 16, 24), piece(16, false)))),
		handled("v6 echo, first fragment", clientSide, by(client6), eth(toCluster, ipv6(client6, vip6, fragment6(0, true, cut(echo6, 0, 16))))),
		handled("v6 echo, last fragment", clientSide, by(client6), eth(toCluster, ipv6(client6, vip6, fragment6(16, false, cut(echo6, 16, 24))))),
		handled("v4 server side: last fragment", serverSide, by(client4), eth(toCluster, ipv4(server4, client4, cut(datagram, 48, 72), piece(48, false)))),
		handled("v6 server side: last fragment", serverSide, by(client6), eth(toCluster, ipv6(server6, client6, fragment6(48, false, cut(datagram, 48, 72))))),
	)
}

// errorRows are ICMP errors: they go to the node that has the quoted flow.
func errorRows() []row {
	return append(quoteRows(), both(func(f family) []row {
		header := 20
		if f.v6 {
			header = 40
		}
		sent := func(p payload, opts ...ipOption) payload { return ip(f.vip, f.client, p, opts...) }
		in := func(p payload, opts ...ipOption) []byte { return eth(toCluster, ip(f.router, f.vip, p, opts...)) }
		forwarded := func(p payload) payload { return ip(f.client, f.server, p) }
		back := func(p payload) []byte { return eth(toCluster, ip(f.router, f.client, p)) }
		malformed := func(name string, with setup, frame []byte) row {
			return row{name: name, with: with, frame: frame, want: "drop_malformed"}
		}
		return []row{
			handled("too big, tcp", clientSide, by(f.client), in(tooBig(sent(tcp(80, 4000, ack)), -1))),
			handled("too big, tcp, 8 bytes quoted", clientSide, by(f.client), in(tooBig(sent(tcp(80, 4000, ack)), header+8))),
			handled("too big, udp", clientSide, by(f.client), in(tooBig(sent(udp(53, 4000)), -1))),
			handled("too big, echo reply", clientSide, by(f.client), in(tooBig(sent(echoReply(f.v6)), -1))),
			handled("too big, gre", clientSide, by(f.client), in(tooBig(sent(other(47, 8)), -1))),
			handled("port unreachable from the client", clientSide, by(f.client), eth(toCluster, ip(f.client, f.vip, unreachable(sent(udp(53, 4000)))))),
			handled("network: too big", network, byNetwork(f.client), in(tooBig(sent(udp(53, 4000)), -1))),
			handled("flow: too big, tcp", flow, byFlow(6, f.client, 4000, f.vip, 80), in(tooBig(sent(tcp(80, 4000, ack)), header+8))),
			handled("flow: too big, echo reply", flow, byFlow(icmpProto(f.v6), f.client, 0, f.vip, 0), in(tooBig(sent(echoReply(f.v6)), -1))),
			handled("flow: too big, ports just there", flow, byFlow(17, f.client, 4000, f.vip, 53), in(tooBig(sent(udp(53, 4000)), header+4))),

			handled("server side: too big, tcp", serverSide, by(f.client), back(tooBig(forwarded(tcp(4000, 80, ack)), -1))),
			handled("server side: too big, udp", serverSide, by(f.client), back(tooBig(forwarded(udp(4000, 53)), -1))),
			handled("server side: too big, echo", serverSide, by(f.client), back(tooBig(forwarded(echo(f.v6)), -1))),
			handled("flow, server side: too big, tcp", flowBack, byFlow(6, f.client, 4000, f.server, 80), back(tooBig(forwarded(tcp(4000, 80, ack)), header+8))),

			malformed("error without a quote", clientSide, in(tooBig(sent(udp(53, 4000)), 0))),
			malformed("error, quote a byte short", clientSide, in(tooBig(sent(udp(53, 4000)), header-1))),
			malformed("error, quoted echo without its type", clientSide, in(tooBig(sent(echoReply(f.v6)), header))),
			malformed("error, quote of another IP version", clientSide, in(tooBig(sent(udp(53, 4000), setByte(0, 0x50)), -1))),
			malformed("flow: error, quote without ports", flow, in(tooBig(sent(udp(53, 4000)), header+3))),
			malformed("error, quote in the padding only", clientSide, append(in(tooBig(sent(udp(53, 4000)), 0)), sent(udp(53, 4000)).data...)),
			handled("error, quoted header alone", clientSide, by(f.client), in(tooBig(sent(udp(53, 4000)), header))),
		}
	})...)
}

// quoteRows are errors of every type, and about packets with more than a header.
func quoteRows() []row {
	quote4 := ipv4(vip4, client4, tcp(80, 4000, ack), options4(8))
	quote6 := ipv6(vip6, client6, chain(3, tcp(80, 4000, ack)))
	flow4, flow6 := byFlow(6, client4, 4000, vip4, 80), byFlow(6, client6, 4000, vip6, 80)
	piece4 := ipv4(vip4, client4, payload{proto: 17, data: someData}, piece(64, true))
	piece6 := ipv6(vip6, client6, fragment6(64, true, payload{proto: 17, data: someData}))
	return []row{
		handled("v4 flow: error, options quoted", flow, flow4, eth(toCluster, ipv4(router4, vip4, tooBig(quote4, -1)))),
		handled("v4 flow: error, options in both", flow, flow4, eth(toCluster, ipv4(router4, vip4, tooBig(quote4, -1), options4(12)))),
		handled("v6 flow: error, extensions quoted", flow, flow6, eth(toCluster, ipv6(router6, vip6, tooBig(quote6, -1)))),
		handled("v6 flow: error, extensions in both", flow, flow6, eth(toCluster, ipv6(router6, vip6, chain(2, tooBig(quote6, -1))))),
		handled("v6 error, quoted extensions cut off", clientSide, by(client6), eth(toCluster, ipv6(router6, vip6, tooBig(quote6, 50)))),
		handled("v6 error, nine extensions quoted", clientSide, by(client6), eth(toCluster, ipv6(router6, vip6, tooBig(ipv6(vip6, client6, chain(9, udp(53, 4000))), -1)))),
		handled("v4 flow: error about a fragment", flow, byFlow(17, client4, 0, vip4, 0), eth(toCluster, ipv4(router4, vip4, tooBig(piece4, -1)))),
		handled("v6 flow: error about a fragment", flow, byFlow(17, client6, 0, vip6, 0), eth(toCluster, ipv6(router6, vip6, tooBig(piece6, -1)))),
		handled("v4 redirect", clientSide, by(client4), eth(toCluster, ipv4(router4, vip4, icmp(false, 5, 1, u32(0), ipv4(vip4, client4, udp(53, 4000)).data)))),
		handled("v4 time exceeded", clientSide, by(client4), eth(toCluster, ipv4(router4, vip4, icmp(false, 11, 0, u32(0), ipv4(vip4, client4, udp(53, 4000)).data)))),
		handled("v4 source quench", clientSide, by(client4), eth(toCluster, ipv4(router4, vip4, icmp(false, 4, 0, u32(0), ipv4(vip4, client4, udp(53, 4000)).data)))),
		handled("v4 parameter problem", clientSide, by(client4), eth(toCluster, ipv4(router4, vip4, icmp(false, 12, 0, u32(0), ipv4(vip4, client4, udp(53, 4000)).data)))),
		handled("v4 timestamp request", clientSide, by(router4), eth(toCluster, ipv4(router4, vip4, icmp(false, 13, 0, u32(0), make([]byte, 12))))),
		handled("v6 time exceeded", clientSide, by(client6), eth(toCluster, ipv6(router6, vip6, icmp(true, 3, 0, u32(0), ipv6(vip6, client6, udp(53, 4000)).data)))),
		handled("v6 parameter problem", clientSide, by(client6), eth(toCluster, ipv6(router6, vip6, icmp(true, 4, 0, u32(0), ipv6(vip6, client6, udp(53, 4000)).data)))),
		handled("v6 router advertisement", clientSide, by(router6), eth(toCluster, ipv6(router6, vip6, icmp(true, 134, 0, make([]byte, 12))))),
		row{name: "v4 error, quoted header too short", frame: eth(toCluster, ipv4(router4, vip4, tooBig(ipv4(vip4, client4, udp(53, 4000), setByte(0, 0x44)), -1))), want: "drop_malformed"},
	}
}
