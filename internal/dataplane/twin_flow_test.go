//go:build privileged

package dataplane

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/match"
)

// datagram is what its fragments have in common.
type datagram struct {
	src, dst netip.Addr
	id       uint32
	proto    byte
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
