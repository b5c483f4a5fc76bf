//go:build privileged

package dataplane

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/match"
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

// datagram is what its fragments have in common.
type datagram struct {
	src, dst netip.Addr
	id       uint32
	proto    byte
}

// packetOf is an IP packet, or what an ICMP error quotes of one.
type packetOf struct {
	v6       bool
	src, dst netip.Addr
	ttl      byte
	proto    byte
	l4       []byte
	fragment bool
	later    bool   // and not the first
	id       uint32 // of a fragment
	quoted   bool
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

func parse4(b []byte) (packetOf, bool) {
	if len(b) < 20 || b[0]>>4 != 4 {
		return packetOf{}, false
	}
	header, total := int(b[0]&15)*4, int(be.Uint16(b[2:]))
	if header < 20 || total < header || total > len(b) {
		return packetOf{}, false
	}
	p := header4(b)
	p.l4 = b[header:total]
	return p, p.fragment || len(p.l4) >= needs(p.proto)
}

// header4 reads the fields of an IPv4 header.
func header4(b []byte) packetOf {
	return packetOf{src: netip.AddrFrom4([4]byte(b[12:16])), dst: netip.AddrFrom4([4]byte(b[16:20])),
		ttl: b[8], proto: b[9], fragment: be.Uint16(b[6:])&0x3fff != 0, later: be.Uint16(b[6:])&0x1fff != 0, id: uint32(be.Uint16(b[4:]))}
}

func header6(b []byte) packetOf {
	return packetOf{v6: true, src: netip.AddrFrom16([16]byte(b[8:24])), dst: netip.AddrFrom16([16]byte(b[24:40])),
		ttl: b[7], proto: b[6]}
}

// needs is the least length of a protocol's header.
func needs(proto byte) int {
	return map[byte]int{6: 20, 17: 8, 132: 12, 1: 8, 58: 8}[proto]
}

func parse6(b []byte) (packetOf, bool) {
	if len(b) < 40 || b[0]>>4 != 6 || 40+int(be.Uint16(b[4:])) > len(b) {
		return packetOf{}, false
	}
	p := header6(b)
	p.l4 = b[40 : 40+int(be.Uint16(b[4:]))]
	if !p.skipExtensions() || p.l4 == nil {
		return p, false
	}
	return p, p.fragment || len(p.l4) >= needs(p.proto)
}

// skipExtensions leaves l4 nil where the last extension reaches beyond the packet.
func (p *packetOf) skipExtensions() bool {
	for n := 0; slices.Contains([]byte{0, 43, 44, 51, 60}, p.proto); n++ {
		if n == 8 || len(p.l4) < 4 {
			return false
		}
		next, length := p.l4[0], 8+int(p.l4[1])*8
		switch p.proto {
		case 44:
			p.fragment, p.later = be.Uint16(p.l4[2:])&0xfff9 != 0, be.Uint16(p.l4[2:])&0xfff8 != 0
			if length = 8; len(p.l4) >= length {
				p.id = be.Uint32(p.l4[4:])
			}
		case 51:
			length = 8 + int(p.l4[1])*4
		}
		p.proto = next
		if length > len(p.l4) {
			p.l4 = nil
		} else {
			p.l4 = p.l4[length:]
		}
		if p.fragment {
			break
		}
	}
	return true
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

func (p packetOf) isICMP() bool { return !p.fragment && p.proto == icmpProto(p.v6) }

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

func isError(p packetOf) bool {
	if p.v6 {
		return p.l4[0] < 128
	}
	return slices.Contains([]byte{3, 4, 5, 11, 12}, p.l4[0])
}

func quotedIn(p packetOf) (packetOf, bool) {
	b := p.l4[8:]
	var q packetOf
	if p.v6 {
		if len(b) < 40 || b[0]>>4 != 6 {
			return q, false
		}
		q = header6(b)
		q.l4 = b[40:]
		if !q.skipExtensions() {
			q.proto, q.l4 = 59, nil
		}
	} else {
		header := 0
		if len(b) >= 20 {
			header = int(b[0]&15) * 4
		}
		if header < 20 || b[0]>>4 != 4 {
			return q, false
		}
		q = header4(b)
		q.l4 = b[min(header, len(b)):]
	}
	q.quoted = true
	return q, !q.isICMP() || len(q.l4) > 0
}

func (w twin) hash() match.Hash { return match.Hash{Seed: testSeed, IPv6FirstWord: w.setup.firstWord} }

func (w twin) scale(hash uint32) int {
	buckets := w.setup.buckets
	if buckets == 0 {
		buckets = cluster.DefaultBuckets
	}
	return match.Bucket(hash, buckets)
}

// addressBucket takes an address as what it is on the wire: a mapped one in an IPv6 packet is hashed whole.
func (w twin) addressBucket(a netip.Addr) int {
	h := w.hash()
	if a.Is4In6() {
		return w.scale(wholeHash(h, a, w.setup.affinity == cluster.ByNetwork))
	}
	if w.setup.affinity == cluster.ByNetwork {
		return w.scale(h.Network(a))
	}
	return w.scale(h.Client(a))
}

// flow finds the bucket of a packet and what its state makes of it.
func (w twin) flow(p packetOf) string {
	ported := !p.fragment && slices.Contains([]byte{6, 17, 132}, p.proto)
	var bucket int
	if w.setup.key == cluster.KeyOriginal {
		verdict, source := original(p)
		if verdict != "" {
			return verdict
		}
		bucket = w.addressBucket(source)
	} else {
		client, server := p.src, p.dst
		flip := (w.setup.side == cluster.ServerSide) != p.quoted
		if flip {
			client, server = server, client
		}
		bucket = w.addressBucket(client)
		if w.setup.affinity == cluster.ByFlow {
			if ported && len(p.l4) < 4 {
				return malformed
			}
			bucket = w.scale(flowHash(w.hash(), p, client, server, ported, flip))
		}
	}
	return w.act(p, w.state(bucket))
}

// original needs no connection to say what the source of the original
// direction is, or that there is none.
func original(p packetOf) (verdict string, source netip.Addr) {
	if !p.fragment && (p.proto == 6 || p.proto == 17) {
		switch {
		case len(p.l4) < 4:
			return malformed, source
		case p.quoted, p.proto == 6 && p.l4[13]&(syn|ack) != syn:
			return "drop_untracked", source
		}
	}
	if p.isICMP() && (p.l4[0] == 0 && !p.v6 || p.l4[0] == 129 && p.v6) {
		return "", p.dst
	}
	return "", p.src
}

func (w twin) act(p packetOf, state State) string {
	switch {
	case state == Foreign:
		return "drop_foreign"
	case w.lease != "":
		return w.lease
	case state == Owned:
		return "handle_owned"
	}
	if !p.fragment {
		return w.moving(p, state)
	}
	key := datagram{p.src, p.dst, p.id, p.proto}
	switch {
	case p.quoted, w.keeps() == 0, w.setup.affinity == cluster.ByFlow && p.proto == 17:
		return newOwners(p, state)
	case !p.later:
		p.fragment = false
		w.fragments[key] = w.moving(p, state)
		return besides("first_fragment", w.fragments[key])
	}
	if verdict, ok := w.fragments[key]; ok {
		return verdict
	}
	return newOwners(p, state)
}

// keeps says what is kept: nothing, TCP, or UDP too.
func (w twin) keeps() int {
	gateway, h := w.setup.mode == cluster.Gateway, w.setup.handover
	switch {
	case gateway && h.Flows == cluster.FlowsNone:
		return 0
	case gateway || h.UDP == cluster.UDPKeep:
		return 2
	}
	return 1
}

// moving is what becomes of a packet of which no node has a flow.
func (w twin) moving(p packetOf, state State) string {
	switch keeps := w.keeps(); {
	case keeps > 0 && p.proto == 6:
		if len(p.l4) < 20 && (!p.quoted || len(p.l4) < 8) {
			return malformed
		}
		if p.quoted || p.l4[13]&(syn|ack) != syn {
			return "drop_not_my_flow"
		}
		return choose(state == Draining, "drop_new_flow", "handle_new_flow")
	case keeps > 1 && p.proto == 17 && len(p.l4) < 4:
		return malformed
	}
	return newOwners(p, state)
}

func newOwners(p packetOf, state State) string {
	if state == AcquiringHeld && p.proto == 17 {
		return "drop_held"
	}
	return choose(state == Draining, "drop_not_my_flow", "handle_new_flow")
}

// besides adds a counter to others, as moved lists them.
func besides(counter, others string) string {
	names := append(strings.Fields(others), counter)
	slices.Sort(names)
	return strings.Join(names, " ")
}
