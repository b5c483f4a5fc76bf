//go:build privileged

package dataplane

import "testing"

// whole are frames that are rightly handled, answered or passed when whole.
func whole() map[string][]byte {
	frames := map[string][]byte{
		"arp":              eth(toCluster, arp(request, clientMAC, client4, noMAC, vip4)),
		"nd":               eth(toCluster, ipv6(client6, vip6, solicit(vip6, sourceMAC(clientMAC)), ttl(255))),
		"options":          eth(toCluster, ipv4(client4, vip4, tcp(4000, 80, syn), options4(40))),
		"extensions":       eth(toCluster, ipv6(client6, vip6, chain(3, authentication(udp(4000, 53))))),
		"fragment header":  eth(toCluster, ipv6(client6, vip6, fragment6(8, true, udp(4000, 53)))),
		"fragment":         eth(toCluster, ipv4(client4, vip4, udp(4000, 53), piece(8, true))),
		"error and quote":  eth(toCluster, ipv4(router4, vip4, tooBig(ipv4(vip4, client4, tcp(80, 4000, ack), options4(8)), -1), options4(4))),
		"error and quote6": eth(toCluster, ipv6(router6, vip6, chain(2, tooBig(ipv6(vip6, client6, chain(2, tcp(80, 4000, ack))), -1)))),
		"multicast":        eth(toCluster, ipv4(client4, addr("224.0.0.1"), udp(1, 2))),
	}
	for _, f := range families {
		for name, p := range map[string]payload{
			"tcp": tcp(4000, 80, syn), "udp": udp(4000, 53), "sctp": sctp(4000, 80), "echo": echo(f.v6), "gre": other(47, 12),
			"heartbeat": udp(7625, 7625),
		} {
			frames[f.name+" "+name] = eth(toCluster, ip(f.client, f.vip, p))
		}
	}
	return frames
}

// A frame to the cluster MAC that is cut off anywhere is malformed, whatever
// is hashed and whoever owns what.
func TestTruncatedEverywhere(t *testing.T) {
	enterNamespace(t)
	loaded, n := make(rigs), 0
	for _, s := range []setup{{}, flow, {heartbeats: true}, {key: originalKey}, {side: serverSide.side}} {
		r := loaded.get(t, s)
		r.share(-1, Foreign, Owned, goodLease)
		for name, frame := range whole() {
			for length := 14; length < len(frame); length++ {
				for _, k := range []kind{inXDP, inTCX} {
					if cut := frame[:length]; k == inXDP || takesSKB(cut) {
						n++
						if got := r.run(t, k, cut); got.counted != "drop_malformed" || got.passed {
							t.Errorf("%v: %s cut to %d of %d, %s: %s", s, name, length, len(frame), k, got.counted)
						}
					}
				}
			}
		}
	}
	t.Logf("%d frames", n)
}
