package config

import "github.com/shoal-net/shoal/internal/cluster"

// handover reads what becomes of the flows of buckets that move.
func (b *builder) handover(m map[string]value, modeKnown bool) {
	h := &b.c.Handover
	h.Drain = cluster.DefaultDrain
	b.word(m["udp"], &h.UDP)
	b.word(m["flows"], &h.Flows)
	b.duration(m["drain"], 0, cluster.MaxDrain, &h.Drain)
	switch udp, flows := m["udp"], m["flows"]; {
	case !modeKnown:
	case b.c.Mode == cluster.Backend && flows.given():
		b.fail(flows, "flows is for mode: gateway; a backend knows its flows by its sockets")
	case b.c.Mode == cluster.Gateway && udp.given():
		b.fail(udp, "udp is for mode: backend; in a gateway, flows says what becomes of UDP, too")
	}
}
