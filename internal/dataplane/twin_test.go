//go:build privileged

package dataplane

import (
	"net/netip"

	"github.com/shoal-net/shoal/internal/cluster"
)

// twin decides about frames as the programs do, from the same description and
// nothing else. It is written to be plain, not fast: packets are cut out of
// frames first, so that nothing beyond a packet's end can be looked at. It
// knows of no sockets and tracks no connections.
type twin struct {
	setup     setup
	state     func(bucket int) State
	lease     string // "", or what is counted for want of a lease
	fragments map[datagram]string
}

const malformed = "drop_malformed"

// ingress returns the counters that move for a frame that comes in, sorted.
func (w twin) ingress(frame []byte) string {
	forCluster := cluster.MAC(frame[:6]) == toCluster
	body := frame[14:]
	switch be.Uint16(frame[12:]) {
	case 0x8100, 0x88a8:
		return "pass_vlan"
	case 0x0806:
		return w.arp(body, forCluster)
	case 0x0800:
		if forCluster {
			return w.v4(body, frame)
		}
	case 0x86dd:
		return w.v6(body, frame, forCluster)
	default:
		if forCluster {
			return "drop_unknown_protocol"
		}
	}
	return "pass_other"
}

func choose(cond bool, yes, no string) string {
	if cond {
		return yes
	}
	return no
}

func (w twin) isVIP(a netip.Addr) bool { return a == vip4 || a == vip6 }
func (w twin) isAnyVIP(a netip.Addr) bool {
	return w.isVIP(a) || a == other4 || a == other6
}

func (w twin) arp(b []byte, forCluster bool) string {
	if len(b) < 28 || string(b[:6]) != "\x00\x01\x08\x00\x06\x04" {
		return choose(forCluster, malformed, "pass_other")
	}
	mac, sender, target := cluster.MAC(b[8:14]), netip.AddrFrom4([4]byte(b[14:18])), netip.AddrFrom4([4]byte(b[24:28]))
	alarm := ""
	if w.isAnyVIP(sender) {
		if w.isVIP(sender) && mac != toCluster {
			alarm = "alarm_conflict "
		}
		if w.isAnyVIP(target) {
			return alarm + "drop_arp_cluster"
		}
	}
	if be.Uint16(b[6:]) != request || !w.isAnyVIP(target) {
		return alarm + choose(forCluster, "pass_neighbour", "pass_other")
	}
	if !w.isVIP(target) {
		return "drop_arp_foreign"
	}
	return w.answers(sender, "arp")
}

// answers is whose word a request is: the owner's of the asker's bucket, or the new owner's.
func (w twin) answers(asker netip.Addr, how string) string {
	switch w.state(w.addressBucket(asker)) {
	case Owned, Acquiring, AcquiringHeld:
		return choose(w.lease != "", w.lease, "answer_"+how)
	}
	return "drop_" + how + "_foreign"
}

func (w twin) v4(b, frame []byte) string {
	p, ok := parse4(b)
	if !ok {
		return malformed
	}
	if p.dst.IsMulticast() || p.dst == addr("255.255.255.255") {
		return "pass_multicast"
	}
	return w.packet(p, frame)
}

func (w twin) v6(b, frame []byte, forCluster bool) string {
	p, ok := parse6(b)
	if !ok {
		return choose(forCluster, malformed, "pass_other")
	}
	if p.isICMP() && (p.l4[0] == 135 || p.l4[0] == 136) {
		return w.nd(p, forCluster)
	}
	if !forCluster {
		return "pass_other"
	}
	if p.dst.IsMulticast() {
		return "pass_multicast"
	}
	return w.packet(p, frame)
}

func (w twin) nd(p packetOf, forCluster bool) string {
	if len(p.l4) < 24 {
		return choose(forCluster, malformed, "pass_other")
	}
	target := netip.AddrFrom16([16]byte(p.l4[8:24]))
	rest := choose(forCluster, "pass_neighbour", "pass_other")
	alarm := ""
	if p.l4[0] == 136 {
		if !w.isAnyVIP(target) {
			return rest
		}
		if w.isVIP(target) && claimsOther(p.l4[24:], 2) {
			alarm = "alarm_conflict "
		}
		return alarm + "drop_nd_cluster"
	}
	if w.isAnyVIP(p.src) {
		if w.isVIP(p.src) && claimsOther(p.l4[24:], 1) {
			alarm = "alarm_conflict "
		}
		if w.isAnyVIP(target) {
			return alarm + "drop_nd_cluster"
		}
	}
	if !w.isAnyVIP(target) {
		return alarm + rest
	}
	if !w.isVIP(target) {
		return "drop_nd_foreign"
	}
	return w.answers(p.src, "nd")
}

// claimsOther looks for a link-layer address that is not the cluster's among the first eight options.
func claimsOther(options []byte, typ byte) bool {
	for n := 0; n < 8 && len(options) >= 8 && options[1] != 0; n++ {
		if options[0] == typ && options[1] == 1 {
			return cluster.MAC(options[2:8]) != toCluster
		}
		options = options[min(len(options), int(options[1])*8):]
	}
	return false
}

func (w twin) packet(p packetOf, frame []byte) string {
	if p.isICMP() && isError(p) {
		quote, ok := quotedIn(p)
		if !ok {
			return malformed
		}
		return w.flow(quote)
	}
	if w.setup.heartbeats && p.proto == 17 && !p.fragment && be.Uint16(p.l4[2:]) == cluster.HeartbeatPort && w.isAnyVIP(p.dst) {
		right := (p.src == peer4 || p.src == peer6) && p.ttl == 255 && len(frame) <= 1500
		return choose(right, "heartbeat", "drop_heartbeat")
	}
	return w.flow(p)
}
