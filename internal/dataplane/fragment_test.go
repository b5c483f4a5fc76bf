//go:build privileged

package dataplane

import (
	"bytes"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/shoal-net/shoal/internal/cluster"
)

// cut is the bytes of a datagram from..to, -1: its end, in a frame to the
// cluster MAC.
func cut(f family, id byte, whole payload, from, to int) []byte {
	more := to >= 0
	if !more {
		to = len(whole.data)
	}
	part := payload{proto: whole.proto, data: whole.data[from:to]}
	if f.v6 {
		part = fragment6(from, more, part)
		part.data[7] = id
		return eth(toCluster, ip(f.client, f.vip, part))
	}
	return eth(toCluster, ip(f.client, f.vip, part, piece(from, more), setByte(5, id)))
}

// The fragments of a datagram go where the first one belongs; without it they
// are the new owner's.
func TestMovingFragments(t *testing.T) {
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			tw := newTwins(t, setup{handover: keepUDP})
			b := backends{twins: tw, f: f}
			tw.old.in(func() { b.atOld = listenOn(t, "tcp", "", service) })
			c := b.client(tw.old, 4001, 1000)
			c.connect(b.atOld)
			segment := func(flags byte, seq, acked uint32) payload {
				s := tcpWith(c.port, service, flags, seq, acked)
				s.data = append(s.data, make([]byte, 40)...)
				return s
			}
			datagram := func(port uint16) payload { return udpWith(port, 53, make([]byte, 64)) }
			tw.old.owns(cut(f, 1, datagram(4001), 0, 24), cut(f, 1, datagram(4002), 24, 48))
			tw.move()
			if known := tw.old.times("udp_flows"); len(known) != 1 {
				t.Errorf("noted: %v", known)
			}
			tw.know()
			whole := func(what string, id byte, p payload, want expect) {
				t.Helper()
				tw.check(what+", first", 0, cut(f, id, p, 0, 24), want)
				tw.check(what+", next", 0, cut(f, id, p, 24, 48), want)
				tw.check(what+", last", 0, cut(f, id, p, 48, -1), want)
			}
			tw.check("before the first", 0, cut(f, 2, datagram(4001), 24, 48), theNew)
			whole("of a connection", 3, segment(ack, c.seq, c.acked), theOld)
			whole("of no connection", 4, segment(ack, 1, 1), nobody)
			whole("a syn", 5, segment(syn, 1, 0), theNew)
			whole("of a udp flow", 6, datagram(4001), theOld)
			tw.check("of another protocol, the same number", 0, cut(f, 6, payload{proto: 47, data: make([]byte, 64)}, 24, 48), theNew)
			whole("of another", 7, datagram(4009), theNew)
			tw.check("one beside another, first", 0, cut(f, 12, datagram(4001), 0, 24), theOld)
			tw.check("another beside it, first", 0, cut(f, 13, datagram(4009), 0, 24), theNew)
			tw.check("one beside another, last", 0, cut(f, 12, datagram(4001), 24, -1), theOld)
			whole("a number again", 6, datagram(4009), theNew)
			whole("the first again", 6, datagram(4001), theOld)
			other := f
			other.client = f.router
			tw.check("another client, the same number", 0, cut(other, 6, datagram(4001), 24, 48), theNew)
			short := cut(f, 8, segment(ack, c.seq, c.acked), 0, 16)
			tw.check("a short header, first", 0, append(short, make([]byte, 20)...), nobody) // padding is none of it
			tw.check("a short header, next", 0, cut(f, 8, segment(ack, c.seq, c.acked), 16, -1), nobody)

			tw.new.become(AcquiringHeld)
			whole("held", 9, datagram(4010), nobody)
			tw.check("held, before the first", 0, cut(f, 10, datagram(4010), 24, -1), nobody)
			whole("held, a syn", 11, segment(syn, 1, 0), theNew)
		})
	}
}

// With the flow affinity fragments have a bucket of their own, and none of the
// flow's, in which others are known.
func TestMovingFragmentsByFlow(t *testing.T) {
	tw := newBareTwins(t, setup{handover: keepUDP, affinity: cluster.ByFlow})
	for _, f := range families {
		p := udpWith(4001, 53, make([]byte, 64))
		tw.old.owns(eth(toCluster, ip(f.client, f.vip, p)))
		tw.move()
		tw.check(f.name+" first", 0, cut(f, 1, p, 0, 24), theNew)
		tw.check(f.name+" last", 0, cut(f, 1, p, 24, -1), theNew)
	}
}

// The programs load where the kernel has no connection tracking.
func TestWithoutConntrack(t *testing.T) {
	for name, object := range map[string][]byte{"shoal_xdp": _IngressXDPBytes, "shoal_tcx": _IngressTCXBytes, "shoal_egress": _EgressBytes} {
		object = bytes.ReplaceAll(object, []byte("_ct_"), []byte("_xx_"))
		l := loader{func() (*ebpf.CollectionSpec, error) {
			return ebpf.LoadCollectionSpecFromReader(bytes.NewReader(object))
		}, name}
		for _, s := range []setup{{}, {mode: cluster.Gateway, handover: byConntrack}} {
			c, ifc := s.cluster()
			prog, err := l.loadProgram(c, ifc, nil)
			if err != nil {
				t.Errorf("%s: %v", s, err)
				continue
			}
			prog.Close()
		}
	}
}
