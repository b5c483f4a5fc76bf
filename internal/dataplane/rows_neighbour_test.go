//go:build privileged

package dataplane

import (
	"net/netip"

	"github.com/shoal-net/shoal/internal/cluster"
)

var (
	anyone4, anyone6 = addr("0.0.0.0"), addr("::")
	stranger4        = addr("192.0.2.77") // on the link, not the cluster's
	stranger6        = addr("fe80::77")
)

func arpRows() []row {
	ask := func(dst cluster.MAC, sender, target netip.Addr) []byte {
		return eth(dst, arp(request, clientMAC, sender, noMAC, target))
	}
	answered := func(name string, k key, frame []byte, out rewrite) row {
		return row{name: "arp " + name, frame: frame, key: k, want: "answer_arp", foreign: "drop_arp_foreign", out: out}
	}
	plain := func(name, want string, frame []byte, out rewrite) row {
		return row{name: "arp " + name, frame: frame, want: want, out: out}
	}
	fromCluster := func(dst, mac cluster.MAC, op uint16, target netip.Addr) []byte {
		return ethFrom(peerMAC, dst, arp(op, mac, vip4, noMAC, target))
	}
	whoHas := func(hardware, protocol uint16, hlen, plen byte) []byte {
		f := ask(toCluster, client4, vip4)
		be.PutUint16(f[14:], hardware)
		be.PutUint16(f[16:], protocol)
		f[18], f[19] = hlen, plen
		return f
	}
	back := answered("request, server side, network", byNetwork(client4), ask(broadcast, client4, vip4), asItCame)
	back.with = networkBack
	return []row{
		answered("request, broadcast", by(client4), ask(broadcast, client4, vip4), asItCame),
		answered("request, padded", by(client4), pad(ask(broadcast, client4, vip4)), asItCame),
		answered("request to the cluster MAC", by(client4), ask(toCluster, client4, vip4), toHostMAC),
		answered("request to the own MAC", by(client4), ask(ownMAC, client4, vip4), asItCame),
		answered("request that names the cluster MAC as target", by(client4), eth(toCluster, arp(request, clientMAC, client4, toCluster, vip4)), toHostMAC),
		answered("probe from 0.0.0.0", by(anyone4), ask(broadcast, anyone4, vip4), asItCame),
		answered("request of a peer from its own address", by(peer4), ethFrom(peerMAC, broadcast, arp(request, peerMAC, peer4, noMAC, vip4)), asItCame),
		back,
		plain("request for an own address", "pass_other", ask(broadcast, client4, own4), asItCame),
		plain("request for an own address to the cluster MAC", "pass_neighbour", ask(toCluster, client4, own4), toHostMAC),
		plain("request for a stranger", "pass_other", ask(broadcast, client4, stranger4), asItCame),
		plain("request for another interface's cluster address", "drop_arp_foreign", ask(broadcast, client4, other4), asItCame),
		plain("gratuitous request of a stranger", "pass_other", ask(broadcast, stranger4, stranger4), asItCame),
		plain("reply to the own MAC", "pass_other", eth(ownMAC, arp(reply, clientMAC, client4, ownMAC, own4)), asItCame),
		plain("reply to the cluster MAC", "pass_neighbour", eth(toCluster, arp(reply, clientMAC, client4, toCluster, vip4)), toHostARP),
		plain("reply to the cluster MAC, own MAC as target", "pass_neighbour", eth(toCluster, arp(reply, clientMAC, client4, ownMAC, own4)), toHostMAC),
		plain("reply to the cluster MAC, padded", "pass_neighbour", pad(eth(toCluster, arp(reply, clientMAC, client4, toCluster, vip4))), toHostARP),
		plain("gratuitous request, right MAC", "drop_arp_cluster", fromCluster(broadcast, toCluster, request, vip4), asItCame),
		plain("gratuitous reply, right MAC", "drop_arp_cluster", fromCluster(broadcast, toCluster, reply, vip4), asItCame),
		plain("gratuitous request, wrong MAC", "alarm_conflict drop_arp_cluster", fromCluster(broadcast, peerMAC, request, vip4), asItCame),
		plain("gratuitous reply, wrong MAC", "alarm_conflict drop_arp_cluster", fromCluster(broadcast, peerMAC, reply, vip4), asItCame),
		plain("request from the cluster address for a host", "pass_other", fromCluster(broadcast, toCluster, request, client4), asItCame),
		plain("request from the cluster address for a host, wrong MAC", "alarm_conflict pass_other", fromCluster(broadcast, peerMAC, request, client4), asItCame),
		plain("reply from the cluster address to a host", "pass_other", fromCluster(clientMAC, toCluster, reply, client4), asItCame),
		plain("from the cluster address for another interface's", "drop_arp_cluster", fromCluster(broadcast, toCluster, request, other4), asItCame),
		plain("from another interface's cluster address, its MAC", "pass_other", ethFrom(peerMAC, broadcast, arp(request, otherMAC, other4, noMAC, client4)), asItCame),
		plain("gratuitous request for another interface's cluster address", "drop_arp_cluster", ethFrom(peerMAC, broadcast, arp(request, otherMAC, other4, noMAC, other4)), asItCame),
		plain("unknown operation to the cluster MAC", "pass_neighbour", eth(toCluster, arp(9, clientMAC, client4, noMAC, vip4)), toHostMAC),
		plain("wrong hardware type", "drop_malformed", whoHas(6, 0x0800, 6, 4), asItCame),
		plain("wrong protocol type", "drop_malformed", whoHas(1, 0x86dd, 6, 4), asItCame),
		plain("wrong hardware length", "drop_malformed", whoHas(1, 0x0800, 8, 4), asItCame),
		plain("wrong protocol length", "drop_malformed", whoHas(1, 0x0800, 6, 16), asItCame),
		plain("wrong hardware type, broadcast", "pass_other", cat(broadcast[:], whoHas(6, 0x0800, 6, 4)[6:]), asItCame),
		plain("cut off, broadcast", "pass_other", ask(broadcast, client4, vip4)[:41], asItCame),
	}
}

var (
	peerMAC  = cluster.MAC{0x02, 0, 0, 0, 0, 0x22}
	otherMAC = cluster.MAC{0x02, 0xbf, 198, 51, 100, 10} // the cluster's on its other interface
)

func ndRows() []row {
	onLink := ttl(255)
	vipGroup, vipGroupMAC := group(vip6)
	ownGroup, ownGroupMAC := group(own6)
	answered := func(name string, k key, frame []byte, out rewrite) row {
		return row{name: "nd " + name, frame: frame, key: k, want: "answer_nd", foreign: "drop_nd_foreign", out: out}
	}
	plain := func(name, want string, frame []byte, out rewrite) row {
		return row{name: "nd " + name, frame: frame, want: want, out: out}
	}
	ns := func(dst cluster.MAC, src, to netip.Addr, p payload) []byte { return eth(dst, ipv6(src, to, p, onLink)) }
	options := sourceMAC(clientMAC)
	allNodes, allNodesMAC := addr("ff02::1"), cluster.MAC{0x33, 0x33, 0, 0, 0, 1}
	claim := func(mac cluster.MAC) payload { return advertise(vip6, nonce(), targetMAC(mac)) }
	return []row{
		answered("solicitation to the group", by(client6), ns(vipGroupMAC, client6, vipGroup, solicit(vip6, options)), asItCame),
		answered("solicitation without options", by(client6), ns(vipGroupMAC, client6, vipGroup, solicit(vip6)), asItCame),
		answered("solicitation with a nonce", by(client6), ns(vipGroupMAC, client6, vipGroup, solicit(vip6, nonce(), options)), asItCame),
		answered("probe to the cluster MAC", by(client6), ns(toCluster, client6, vip6, solicit(vip6, options)), toHostMAC),
		answered("probe to the cluster MAC, no options", by(client6), ns(toCluster, client6, vip6, solicit(vip6)), toHostMAC),
		answered("probe to the own MAC", by(client6), ns(ownMAC, client6, vip6, solicit(vip6, options)), asItCame),
		answered("duplicate address detection", by(anyone6), ns(vipGroupMAC, anyone6, vipGroup, solicit(vip6, nonce())), asItCame),
		answered("solicitation behind extensions, group", by(client6), ns(vipGroupMAC, client6, vipGroup, chain(2, solicit(vip6, options))), asItCame),
		answered("solicitation behind extensions, cluster MAC", by(client6), ns(toCluster, client6, vip6, chain(2, solicit(vip6, options))), toHostMAC),
		answered("solicitation behind extensions, own MAC", by(client6), ns(ownMAC, client6, vip6, chain(2, solicit(vip6, options))), asItCame),
		answered("solicitation from link-local", by(stranger6), ns(vipGroupMAC, stranger6, vipGroup, solicit(vip6, options)), asItCame),
		plain("solicitation for an own address, group", "pass_other", ns(ownGroupMAC, client6, ownGroup, solicit(own6, options)), asItCame),
		plain("solicitation for an own address, cluster MAC", "pass_neighbour", ns(toCluster, client6, own6, solicit(own6, options)), toHostMAC),
		plain("solicitation for another interface's cluster address", "drop_nd_foreign", ns(vipGroupMAC, client6, vipGroup, solicit(other6, options)), asItCame),
		plain("solicitation from the cluster address for itself", "drop_nd_cluster", ns(vipGroupMAC, vip6, vipGroup, solicit(vip6, sourceMAC(toCluster))), asItCame),
		plain("solicitation from the cluster address for itself, wrong MAC", "alarm_conflict drop_nd_cluster", ns(vipGroupMAC, vip6, vipGroup, solicit(vip6, sourceMAC(peerMAC))), asItCame),
		plain("solicitation from the cluster address for a host", "pass_other", ns(ownGroupMAC, vip6, ownGroup, solicit(own6, sourceMAC(toCluster))), asItCame),
		plain("solicitation from the cluster address for a host, wrong MAC", "alarm_conflict pass_other", ns(ownGroupMAC, vip6, ownGroup, solicit(own6, nonce(), sourceMAC(peerMAC))), asItCame),
		plain("advertisement to the cluster MAC", "pass_neighbour", ns(toCluster, client6, vip6, advertise(client6, targetMAC(clientMAC))), toHostMAC),
		plain("advertisement to the cluster MAC, no options", "pass_neighbour", ns(toCluster, client6, vip6, advertise(client6)), toHostMAC),
		plain("advertisement to the own MAC", "pass_other", ns(ownMAC, client6, own6, advertise(client6, targetMAC(clientMAC))), asItCame),
		plain("advertisement of a peer for the cluster address", "drop_nd_cluster", ns(allNodesMAC, peer6, allNodes, claim(toCluster)), asItCame),
		plain("solicitation from another interface's cluster address, its MAC", "pass_other", ns(ownGroupMAC, other6, ownGroup, solicit(own6, sourceMAC(otherMAC))), asItCame),
		plain("advertisement for another interface's cluster address, its MAC", "drop_nd_cluster", ns(allNodesMAC, peer6, allNodes, advertise(other6, targetMAC(otherMAC))), asItCame),
		plain("advertisement of another for the cluster address", "alarm_conflict drop_nd_cluster", ns(allNodesMAC, stranger6, allNodes, claim(clientMAC)), asItCame),
		plain("the same to the own MAC", "alarm_conflict drop_nd_cluster", ns(ownMAC, stranger6, own6, claim(clientMAC)), asItCame),
		plain("the same to the cluster MAC", "alarm_conflict drop_nd_cluster", ns(toCluster, stranger6, vip6, claim(clientMAC)), asItCame),
		plain("advertisement for the cluster address without options", "drop_nd_cluster", ns(allNodesMAC, stranger6, allNodes, advertise(vip6)), asItCame),
		plain("claim in the padding only", "drop_nd_cluster", append(ns(allNodesMAC, stranger6, allNodes, advertise(vip6)), targetMAC(clientMAC)...), asItCame),
		plain("option of length 0", "drop_nd_cluster", ns(allNodesMAC, stranger6, allNodes, advertise(vip6, make([]byte, 8), targetMAC(clientMAC))), asItCame),
		plain("short solicitation to the cluster MAC", "drop_malformed", ns(toCluster, client6, vip6, icmp(true, 135, 0, make([]byte, 19))), asItCame),
		plain("short solicitation, target in the padding", "drop_malformed", append(ns(toCluster, client6, vip6, icmp(true, 135, 0, u32(0))), vip6.AsSlice()...), asItCame),
		plain("short solicitation to the group", "pass_other", ns(vipGroupMAC, client6, vipGroup, icmp(true, 135, 0, make([]byte, 19))), asItCame),
		plain("fragmented solicitation to the group: no host takes it", "pass_other", ns(vipGroupMAC, client6, vipGroup, fragment6(0, true, solicit(vip6))), asItCame),
		plain("router solicitation to a group", "pass_other", ns(allNodesMAC, client6, allNodes, icmp(true, 133, 0, u32(0), options)), asItCame),
		plain("echo to the own MAC", "pass_other", ns(ownMAC, client6, own6, echo(true)), asItCame),
	}
}
