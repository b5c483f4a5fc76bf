//go:build privileged

package dataplane

import (
	"net/netip"

	"github.com/shoal-net/shoal/internal/cluster"
)

// otherRows are the frames that are none of the cluster's business.
func otherRows() []row {
	plain := func(name, want string, frame []byte) row { return row{name: name, want: want, frame: frame} }
	multicastMAC := cluster.MAC{0x01, 0, 0x5e, 0, 0, 0xfb}
	rows := both(func(f family) []row {
		in := ip(f.client, f.vip, udp(4000, 53))
		return []row{
			plain("to the own MAC", "pass_other", eth(ownMAC, ip(f.client, f.own, tcp(4000, 22, syn)))),
			plain("to the own MAC for the cluster address", "pass_other", eth(ownMAC, in)),
			plain("broadcast", "pass_other", eth(broadcast, in)),
			plain("to another multicast MAC", "pass_other", eth(multicastMAC, in)),
			plain("to another host", "pass_other", eth(peerMAC, in)),
			plain("cluster MAC but for one bit", "pass_other", eth(cluster.MAC{0x02, 0xbf, 192, 0, 2, 11}, in)),
			plain("802.1Q, cluster MAC", "pass_vlan", eth(toCluster, tagged(0x8100, in))),
			plain("802.1ad, cluster MAC", "pass_vlan", eth(toCluster, tagged(0x88a8, tagged(0x8100, in)))),
			plain("802.1Q, own MAC", "pass_vlan", eth(ownMAC, tagged(0x8100, in))),
			plain("802.1ad, own MAC", "pass_vlan", eth(ownMAC, tagged(0x88a8, in))),
		}
	})
	group4, group6 := addr("224.0.0.251"), addr("ff02::fb")
	asks := arp(request, clientMAC, client4, noMAC, vip4)
	vipGroup, vipGroupMAC := group(vip6)
	return append(rows,
		plain("802.1Q arp", "pass_vlan", eth(broadcast, tagged(0x8100, asks))),
		plain("802.1ad arp", "pass_vlan", eth(broadcast, tagged(0x88a8, asks))),
		plain("802.1Q nd", "pass_vlan", eth(vipGroupMAC, tagged(0x8100, ipv6(client6, vipGroup, solicit(vip6), ttl(255))))),
		plain("v4 multicast in a frame to the cluster MAC", "pass_multicast", eth(toCluster, ipv4(client4, group4, udp(5353, 5353)))),
		plain("v4 highest multicast", "pass_multicast", eth(toCluster, ipv4(client4, addr("239.255.255.255"), udp(5353, 5353)))),
		plain("v4 broadcast in a frame to the cluster MAC", "pass_multicast", eth(toCluster, ipv4(client4, addr("255.255.255.255"), udp(68, 67)))),
		plain("v6 multicast in a frame to the cluster MAC", "pass_multicast", eth(toCluster, ipv6(client6, group6, udp(5353, 5353)))),
		plain("v6 multicast listener report to the cluster MAC", "pass_multicast", eth(toCluster, ipv6(stranger6, addr("ff02::16"), extension(0, 0, icmp(true, 143, 0, make([]byte, 24)))))),
		handled("v4 just below multicast", clientSide, by(client4), eth(toCluster, ipv4(client4, addr("223.255.255.255"), udp(1, 2)))),
		handled("v4 just above multicast", clientSide, by(client4), eth(toCluster, ipv4(client4, addr("240.0.0.1"), udp(1, 2)))),
		plain("unknown EtherType to the cluster MAC", "drop_unknown_protocol", eth(toCluster, payload{proto: 0x88cc, data: someData})),
		plain("802.3 length to the cluster MAC", "drop_unknown_protocol", eth(toCluster, payload{proto: 16, data: someData})),
		plain("unknown EtherType to the own MAC", "pass_other", eth(ownMAC, payload{proto: 0x88cc, data: someData})),
		plain("header alone to the own MAC", "pass_other", eth(ownMAC, payload{proto: 0x88cc})),
		plain("header alone to the cluster MAC", "drop_unknown_protocol", eth(toCluster, payload{proto: 0x88cc})),
		plain("v4 malformed to the own MAC", "pass_other", eth(ownMAC, ipv4(client4, own4, udp(1, 2), setByte(0, 0x12)))),
		plain("v6 malformed to the own MAC", "pass_other", eth(ownMAC, ipv6(client6, own6, udp(1, 2), setLength6(999)))),
	)
}

// malformedRows are frames to the cluster MAC that contradict themselves.
func malformedRows() []row {
	bad := func(name string, p payload) row {
		return row{name: name, want: "drop_malformed", frame: pad(eth(toCluster, p))}
	}
	in4 := func(p payload, opts ...ipOption) payload { return ipv4(client4, vip4, p, opts...) }
	in6 := func(p payload, opts ...ipOption) payload { return ipv6(client6, vip6, p, opts...) }
	short := func(proto uint16, n int) payload { return payload{proto: proto, data: make([]byte, n)} }
	cutEnd := func(p payload, n int) payload { p.data = p.data[:len(p.data)-n]; return p }
	return []row{
		bad("v4 version 6", in4(udp(1, 2), setByte(0, 0x65))),
		bad("v4 version 0", in4(udp(1, 2), setByte(0, 0x05))),
		bad("v4 header of 16 bytes", in4(udp(1, 2), setByte(0, 0x44))),
		bad("v4 header of 0 bytes", in4(udp(1, 2), setByte(0, 0x40))),
		bad("v4 header longer than the packet", in4(udpWith(1, 2, nil), setByte(0, 0x4f))),
		bad("v4 length beyond the frame", in4(udpWith(1, 2, make([]byte, 40)), setLength4(69))),
		bad("v4 length 65535", in4(udp(1, 2), setLength4(65535))),
		bad("v4 length 0", in4(udp(1, 2), setLength4(0))),
		bad("v4 length below the header's", in4(udp(1, 2), setLength4(19))),
		bad("v4 length without the udp header", in4(udp(1, 2), setLength4(27))),
		bad("v4 tcp of 19 bytes", in4(short(6, 19))),
		bad("v4 udp of 7 bytes", in4(short(17, 7))),
		bad("v4 sctp of 11 bytes", in4(short(132, 11))),
		bad("v4 icmp of 7 bytes", in4(short(1, 7))),
		bad("v6 version 4", in6(udp(1, 2), setByte(0, 0x45))),
		bad("v6 length beyond the frame", in6(udp(1, 2), setLength6(25))),
		bad("v6 length 65535", in6(udp(1, 2), setLength6(65535))),
		bad("v6 length 0", in6(udp(1, 2), setLength6(0))),
		bad("v6 length without the udp header", in6(udp(1, 2), setLength6(7))),
		bad("v6 tcp of 19 bytes", in6(short(6, 19))),
		bad("v6 udp of 7 bytes", in6(short(17, 7))),
		bad("v6 sctp of 11 bytes", in6(short(132, 11))),
		bad("v6 icmp of 7 bytes", in6(short(58, 7))),
		bad("v6 nine extensions", in6(chain(9, udp(1, 2)))),
		bad("v6 extension beyond the packet", in6(cutEnd(extension(60, 3, short(59, 0)), 1))),
		bad("v6 extension header cut off", in6(payload{proto: 60, data: []byte{17}})),
		bad("v6 extensions in the padding only", in6(payload{proto: 60})),
		bad("v6 fragment header cut off", in6(payload{proto: 44, data: []byte{17, 0, 0, 8}})),
		bad("v6 fragment header in the padding only", in6(payload{proto: 44})),
	}
}

func heartbeatRows() []row {
	with := setup{heartbeats: true}
	return both(func(f family) []row {
		plain := func(name, want string, p payload) row {
			return row{name: "heartbeat " + name, with: with, want: want, frame: ethFrom(peerMAC, toCluster, p)}
		}
		beat := udp(cluster.HeartbeatPort, cluster.HeartbeatPort)
		onLink := ttl(255)
		to := func(src, dst netip.Addr, p payload, opts ...ipOption) payload { return ip(src, dst, p, opts...) }
		rows := []row{
			plain("right", "heartbeat", to(f.peer, f.vip, beat, onLink)),
			plain("from another port", "heartbeat", to(f.peer, f.vip, udp(999, cluster.HeartbeatPort), onLink)),
			plain("ttl 254", "drop_heartbeat", to(f.peer, f.vip, beat, ttl(254))),
			plain("ttl 64", "drop_heartbeat", to(f.peer, f.vip, beat)),
			plain("of an unlisted source", "drop_heartbeat", to(f.client, f.vip, beat, onLink)),
			plain("from the cluster address", "drop_heartbeat", to(f.vip, f.vip, beat, onLink)),
			plain("for another interface's cluster address", "heartbeat", to(f.peer, f.otherVIP, beat, onLink)),
			plain("too long", "drop_heartbeat", to(f.peer, f.vip, udpWith(1, cluster.HeartbeatPort, make([]byte, 1500)), onLink)),
		}
		notOurs := handled("heartbeat not to a cluster address", with, by(f.peer), ethFrom(peerMAC, toCluster, to(f.peer, f.server, beat, onLink)))
		tcpPort := handled("heartbeat port, tcp", with, by(f.peer), ethFrom(peerMAC, toCluster, to(f.peer, f.vip, tcp(1, cluster.HeartbeatPort, syn), onLink)))
		nextPort := handled("heartbeat port's neighbour", with, by(f.peer), ethFrom(peerMAC, toCluster, to(f.peer, f.vip, udp(1, cluster.HeartbeatPort+1), onLink)))
		fromPort := handled("heartbeat port as source", with, by(f.peer), ethFrom(peerMAC, toCluster, to(f.peer, f.vip, udp(cluster.HeartbeatPort, 1), onLink)))
		return append(rows, notOurs, tcpPort, nextPort, fromPort)
	})
}
