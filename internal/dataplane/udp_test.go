//go:build privileged

package dataplane

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/vishvananda/netns"
)

// newBareTwins makes twins without wires, both in the test's namespace.
func newBareTwins(t testing.TB, s setup) *twins {
	t.Helper()
	enterNamespace(t)
	ns, err := netns.Get()
	must(t, err)
	t.Cleanup(func() { ns.Close() })
	bare := func(name string) *node { return &node{t: t, name: name, ns: ns, rigs: []*rig{newRig(t, s)}} }
	tw := &twins{t: t, old: bare("old"), new: bare("new")}
	tw.move()
	return tw
}

// owns has a node take frames of a bucket that it owns.
func (n *node) owns(frames ...[]byte) {
	n.t.Helper()
	n.become(Owned)
	for _, frame := range frames {
		if taken, counted := n.handles(cluster.ClientSide, frame); !taken || counted != "handle_owned" {
			n.t.Errorf("owned: %s", counted)
		}
	}
}

// know gives the new owner the list of the old one's flows, as agents do.
func (tw *twins) know() {
	tw.t.Helper()
	var flows []FrozenFlow
	must(tw.t, tw.old.rigs[0].plane().UDPFlows(func(f UDPFlow, bucket int, _ time.Duration) {
		flows = append(flows, FrozenFlow{f, bucket})
	}))
	tw.new.freeze(flows...)
}

// times reads a map of UDP flows, as seconds from now.
func (n *node) times(name string) map[UDPFlow]float64 {
	n.t.Helper()
	flows := make(map[UDPFlow]float64)
	note := func(f UDPFlow, at uint64) { flows[f] = (time.Duration(at) - Now()).Seconds() }
	if name == "frozen" {
		must(n.t, eachFlow(n.rigs[0].maps[name], func(f UDPFlow, v ingressXDPFrozenFlow) { note(f, v.Until) }))
	} else {
		must(n.t, eachFlow(n.rigs[0].maps[name], note))
	}
	return flows
}

// set says when a flow was seen, or is to be taken.
func (n *node) set(name string, f UDPFlow, fromNow time.Duration) {
	n.t.Helper()
	var value any = uint64(Now() + fromNow)
	if name == "frozen" {
		value = ingressXDPFrozenFlow{Until: uint64(Now() + fromNow)}
	}
	must(n.t, n.rigs[0].maps[name].Put(flowKey(f), value))
}

var (
	byAddr    = cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })
	bySeconds = cmpopts.EquateApprox(0, 1)
)

// within compares times of flows to the second.
func within(t testing.TB, what string, want, got map[UDPFlow]float64) {
	t.Helper()
	if diff := cmp.Diff(want, got, byAddr, bySeconds); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func kept(f family, port uint16) UDPFlow {
	return UDPFlow{netip.AddrPortFrom(f.client, port), netip.AddrPortFrom(f.vip, 53)}
}

// A UDP flow stays with its old owner as long as packets come, and all others
// are the new owner's at once.
func TestKeptUDP(t *testing.T) {
	for _, affinity := range []cluster.Affinity{cluster.ByClient, cluster.ByFlow} {
		for _, f := range families {
			t.Run(fmt.Sprint(f.name, " ", affinity), func(t *testing.T) {
				tw := newBareTwins(t, setup{handover: keepUDP, affinity: affinity})
				in := func(port uint16) []byte { return eth(toCluster, ip(f.client, f.vip, udp(port, 53))) }
				about := func(port uint16) []byte {
					return eth(toCluster, ip(f.router, f.vip, tooBig(ip(f.vip, f.client, udp(53, port)), -1)))
				}
				check := func(what string, frame []byte, want expect) { t.Helper(); tw.check(what, 0, frame, want) }

				tw.old.owns(in(4001), in(4002), about(4003), eth(toCluster, ip(f.client, f.vip, tcp(4004, 53, syn))))
				within(t, "noted", map[UDPFlow]float64{kept(f, 4001): 0, kept(f, 4002): 0}, tw.old.times("udp_flows"))
				tw.old.become(Draining)
				tw.new.become(AcquiringHeld)
				check("held, known", in(4001), theOld)
				check("held, error about a known one", about(4001), theOld)
				check("held, unknown", in(4009), nobody)
				check("held, syn", eth(toCluster, ip(f.client, f.vip, tcp(4004, 53, syn))), theNew)

				tw.know()
				tw.new.become(Acquiring)
				check("known", in(4001), theOld)
				check("error about a known one", about(4001), theOld)
				check("another", in(4009), theNew)
				check("error about another", about(4010), theNew)
				within(t, "noted by the new owner", map[UDPFlow]float64{kept(f, 4009): 0}, tw.new.times("udp_flows"))

				tw.moveBack()
				tw.new.become(AcquiringHeld)
				check("moved back, held, its own", in(4001), theNew)
				check("moved back, held, error about its own", about(4001), theNew)
				check("moved back, held, the new owner's", in(4009), theOld)
				check("moved back, held, unknown", in(4011), nobody)
				tw.know()
				tw.new.become(Acquiring)
				check("moved back, its own", in(4001), theNew)
				check("moved back, the new owner's", in(4009), theOld)
			})
		}
	}
}

// Both owners count a flow's time from the same packets.
func TestKeptUDPTimes(t *testing.T) {
	tw := newBareTwins(t, setup{handover: keepUDP})
	f := families[0]
	flow, whole := kept(f, 4001), (udpKept + udpMargin).Seconds()
	in := eth(toCluster, ip(f.client, f.vip, udp(4001, 53)))
	about := eth(toCluster, ip(f.router, f.vip, tooBig(ip(f.vip, f.client, udp(53, 4001)), -1)))
	silent := func(d time.Duration) {
		tw.old.set("udp_flows", flow, -d)
		tw.new.set("frozen", flow, udpKept+udpMargin-d)
	}
	for _, c := range []struct {
		name       string
		silent     time.Duration
		frame      []byte
		want       expect
		seen, left float64 // afterwards
	}{
		{"a packet", 100 * time.Second, in, theOld, 0, whole},
		{"an error about one", 100 * time.Second, about, theOld, -100, whole - 100},
		{"seen since by another processor", -time.Second / 2, in, theOld, 0, whole},
		{"just in time", udpKept - time.Second/2, in, theOld, 0, whole},
		{"given up by the old owner", udpKept + time.Second/2, in, nobody, -180.5, 1.5},
		{"taken by the new one", udpKept + udpMargin, in, theNew, -182, 0},
	} {
		silent(c.silent)
		tw.check(c.name, 0, c.frame, c.want)
		within(t, c.name+": seen", map[UDPFlow]float64{flow: c.seen}, tw.old.times("udp_flows"))
		within(t, c.name+": left", map[UDPFlow]float64{flow: c.left}, tw.new.times("frozen"))
	}
	silent(0)
	tw.new.set("frozen", flow, time.Hour) // whoever says so knows more
	tw.check("for an hour", 0, in, theOld)
	within(t, "for an hour", map[UDPFlow]float64{flow: 3600}, tw.new.times("frozen"))
}

// quic is a packet of a QUIC connection: its first byte says which kind (RFC
// 9000, 17.2 and 17.3), and an identifier follows where that kind has it.
func quic(first byte, id string, size int) []byte {
	b := []byte{first}
	if first >= 0x80 {
		b = cat(b, u32(1), []byte{byte(len(id))})
	}
	b = cat(b, []byte(id))
	return cat(b, make([]byte, size-len(b)))
}

// A QUIC connection is a flow of its ports, whatever its packets hold: it stays
// from its first packet on, through the change of connection identifiers, and
// whatever size is tried. A client that goes on from another port is a flow that
// opens: to tell more would take the server's keys.
func TestKeptQUIC(t *testing.T) {
	const initial, handshake, short, port = 0xc0, 0xe0, 0x40, 443
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			tw := newBareTwins(t, setup{handover: keepUDP})
			in := func(from uint16, packet []byte) []byte {
				return eth(toCluster, ip(f.client, f.vip, udpWith(from, port, packet)))
			}
			check := func(what string, frame []byte, want expect) { t.Helper(); tw.check(what, 0, frame, want) }
			tw.old.owns(in(4001, quic(initial, "of-client", 1200)))
			tw.old.become(Draining)
			tw.know()
			tw.new.become(Acquiring)
			check("handshake, with the server's identifier", in(4001, quic(handshake, "server-1", 1200)), theOld)
			check("1-RTT", in(4001, quic(short, "server-1", 60)), theOld)
			check("1-RTT, another identifier", in(4001, quic(short, "server-2", 1400)), theOld)
			check("a larger packet does not fit", eth(toCluster, ip(f.router, f.vip,
				tooBig(ip(f.vip, f.client, udpWith(port, 4001, quic(short, "of-client", 1200))), 100))), theOld)
			check("another connection", in(4002, quic(initial, "again", 1200)), theNew)
			check("1-RTT of that", in(4002, quic(short, "server-3", 60)), theNew)
			check("1-RTT from another port", in(4003, quic(short, "server-1", 60)), theNew)
		})
	}
}

// Where UDP moves at once nothing is noted.
func TestMovedUDP(t *testing.T) {
	tw := newBareTwins(t, setup{})
	in := eth(toCluster, ip(client4, vip4, udp(4001, 53)))
	tw.old.owns(in)
	within(t, "noted", map[UDPFlow]float64{}, tw.old.times("udp_flows"))
	tw.move()
	tw.check("udp", 0, in, theNew)
	within(t, "noted by the new owner", map[UDPFlow]float64{}, tw.new.times("udp_flows"))
}

// What agents do with the flows of buckets.
func TestUDPFlows(t *testing.T) {
	tw := newBareTwins(t, setup{handover: keepUDP})
	p := tw.old.rigs[0].plane()
	var want []UDPFlow
	buckets := make(map[UDPFlow]int)
	var frozen [3][]FrozenFlow     // by owner - 1
	for i := range 3 * batch / 2 { // more than are read at once
		f := UDPFlow{netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 4000), netip.AddrPortFrom(vip4, 53)}
		if i%2 > 0 {
			f = UDPFlow{netip.AddrPortFrom(netip.AddrFrom16([16]byte{0x20, 1, 14: byte(i >> 8), 15: byte(i)}), 4000), netip.AddrPortFrom(vip6, 53)}
		}
		want, buckets[f] = append(want, f), tw.old.rigs[0].bucket(by(f.Client.Addr()))
		frozen[i%3] = append(frozen[i%3], FrozenFlow{f, buckets[f]})
		tw.old.set("udp_flows", f, -time.Second)
	}
	for i, flows := range frozen {
		must(t, p.Freeze(uint8(i+1), flows))
	}
	must(t, p.Freeze(1, nil))
	tw.old.set("udp_flows", kept(families[0], 1), -udpKept-time.Second) // too old to count
	tw.old.set("frozen", kept(families[0], 1), -time.Second)
	n := 0
	must(t, p.UDPFlows(func(f UDPFlow, bucket int, silent time.Duration) {
		n++
		if b, ok := buckets[f]; !ok || b != bucket || silent < time.Second || silent > time.Minute {
			t.Errorf("%v in bucket %d, silent for %s; want bucket %d", f, bucket, silent, b)
		}
	}))
	if n != len(want) {
		t.Errorf("%d flows, want %d", n, len(want))
	}
	even := func(bucket int) bool { return bucket%2 == 0 }
	must(t, p.ForgetUDP(even))
	must(t, p.Thaw(func(f FrozenFlow, owner uint8) bool { return even(f.Bucket) && owner == 1 }))
	noted, left := tw.old.times("udp_flows"), tw.old.times("frozen")
	for i, f := range want {
		_, isNoted := noted[f]
		if _, isFrozen := left[f]; isNoted == even(buckets[f]) || isFrozen != (even(buckets[f]) && i%3 == 0) {
			t.Errorf("%v in bucket %d: noted %t, frozen %t", f, buckets[f], isNoted, isFrozen)
		}
	}
	if _, ok := left[kept(families[0], 1)]; ok {
		t.Error("a flow whose time is over is left to its old owner")
	}
}

// In gateways a flow is left alone for as long as connection tracking may keep it.
func TestUDPTimeout(t *testing.T) {
	enterNamespace(t)
	for _, c := range []struct {
		mode cluster.Mode
		ct   string
		want time.Duration
	}{
		{cluster.Gateway, "120", udpKept},
		{cluster.Gateway, "600", 600 * time.Second},
		{cluster.Backend, "600", udpKept},
	} {
		sysctl(t, "netfilter/nf_conntrack_udp_timeout_stream", c.ct)
		if got := udpTimeout(&cluster.Cluster{Mode: c.mode}); got != c.want {
			t.Errorf("%s, %s s: %s", c.mode, c.ct, got)
		}
	}
}
