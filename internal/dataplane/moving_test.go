//go:build privileged

package dataplane

import (
	"cmp"
	"fmt"
	"net"
	"testing"

	"github.com/shoal-net/shoal/internal/cluster"
)

// moving is a frame in a bucket that moves, and what counts it in each state.
type moving struct {
	name      string
	frame     []byte
	acquiring string
	draining  string
	held      string // "": as acquiring
}

var (
	keepUDP     = cluster.Handover{UDP: cluster.UDPKeep}
	byConntrack = cluster.Handover{Flows: cluster.FlowsConntrack}
)

// opens is what belongs to no flow that an old owner could have.
func opens(name string, frame []byte) moving {
	return moving{name, frame, "handle_new_flow", "drop_not_my_flow", ""}
}
func connects(name string, frame []byte) moving {
	return moving{name, frame, "handle_new_flow", "drop_new_flow", ""}
}
func held(m moving) moving {
	m.held = "drop_held"
	return m
}
func mine(name string, frame []byte) moving {
	return moving{name, frame, "handle_my_flow", "handle_my_flow", ""}
}
func notMine(name string, frame []byte) moving {
	return moving{name, frame, "drop_not_my_flow", "drop_not_my_flow", ""}
}

func (m moving) check(t *testing.T, r *rig, bucket int) {
	t.Helper()
	for _, k := range []kind{inXDP, inTCX} {
		for _, c := range []struct {
			state State
			force inForce
			want  string
		}{
			{Acquiring, goodLease, m.acquiring},
			{Draining, goodLease, m.draining},
			{AcquiringHeld, goodLease, cmp.Or(m.held, m.acquiring)},
			{AcquiringHeld, inForce{5, 5, 0}, "drop_no_lease"},
			{Acquiring, inForce{5, 5, 0}, "drop_no_lease"},
			{Draining, inForce{5, 5, 0}, "drop_no_lease"},
			{Acquiring, inForce{4, 5, goodLease.lease}, "drop_stale_table"},
			{Draining, inForce{4, 5, goodLease.lease}, "drop_stale_table"},
		} {
			r.share(bucket, c.state, Foreign, c.force)
			got := r.run(t, k, m.frame)
			if got.counted != c.want || got.passed != goesOn(c.want) {
				t.Errorf("%s, %s, %s: %s (passed %t), want %s", m.name, k, bucketStates[c.state], got.counted, got.passed, c.want)
			}
		}
	}
}

var bucketStates = map[State]string{Foreign: "foreign", Owned: "owned", Acquiring: "acquiring", Draining: "draining",
	AcquiringHeld: "acquiring, held"}

// The new owner answers requests for the cluster address; the old one no more.
func TestMovingNeighbours(t *testing.T) {
	enterNamespace(t)
	r := newRig(t, setup{})
	vipGroup, vipGroupMAC := group(vip6)
	for _, k := range []kind{inXDP, inTCX} {
		for _, c := range []struct {
			frame []byte
			key   key
			state State
			want  string
		}{
			{eth(broadcast, arp(request, clientMAC, client4, noMAC, vip4)), by(client4), Acquiring, "answer_arp"},
			{eth(broadcast, arp(request, clientMAC, client4, noMAC, vip4)), by(client4), Draining, "drop_arp_foreign"},
			{eth(vipGroupMAC, ipv6(client6, vipGroup, solicit(vip6), ttl(255))), by(client6), Acquiring, "answer_nd"},
			{eth(vipGroupMAC, ipv6(client6, vipGroup, solicit(vip6), ttl(255))), by(client6), Draining, "drop_nd_foreign"},
			{eth(broadcast, arp(request, clientMAC, client4, noMAC, vip4)), by(client4), AcquiringHeld, "answer_arp"},
			{eth(vipGroupMAC, ipv6(client6, vipGroup, solicit(vip6), ttl(255))), by(client6), AcquiringHeld, "answer_nd"},
		} {
			r.share(r.bucket(c.key), c.state, Foreign, goodLease)
			if got := r.run(t, k, c.frame); got.counted != c.want {
				t.Errorf("%s: %s, want %s", k, got.counted, c.want)
			}
		}
	}
}

func TestMovingWithoutSockets(t *testing.T) {
	enterNamespace(t)
	r := newRig(t, setup{})
	for _, f := range families {
		in := func(p payload, opts ...ipOption) []byte { return eth(toCluster, ip(f.client, f.vip, p, opts...)) }
		sent := func(p payload) payload { return ip(f.vip, f.client, p) }
		last := payload{proto: 6, data: someData}
		fragment := in(last, piece(48, false))
		sentFragment := ip(f.vip, f.client, tcp(80, 4000, ack), piece(0, true))
		if f.v6 {
			fragment, sentFragment = in(fragment6(48, false, last)), ip(f.vip, f.client, fragment6(0, true, tcp(80, 4000, ack)))
		}
		for _, m := range []moving{
			connects("syn", in(tcp(4000, 80, syn))),
			held(opens("udp", in(udp(4000, 53)))),
			opens("echo", in(echo(f.v6))),
			opens("gre", in(other(47, 8))),
			opens("sctp", in(sctp(4000, 80))),
			opens("tcp fragment", fragment),
			opens("error about a tcp fragment", in(tooBig(sentFragment, -1))),
			held(opens("error about udp", in(tooBig(sent(udp(53, 4000)), -1)))),
			notMine("ack", in(tcp(4000, 80, ack))),
			notMine("syn ack", in(tcp(4000, 80, syn|ack))),
			notMine("reset", in(tcp(4000, 80, rst))),
			notMine("fin", in(tcp(4000, 80, fin|ack))),
			notMine("no flags", in(tcp(4000, 80, 0))),
			notMine("error about tcp", in(tooBig(sent(tcp(80, 4000, ack)), -1))),
		} {
			m.name = f.name + " " + m.name
			m.check(t, r, r.bucket(by(f.client)))
		}
	}
}

// In mode backend a tracked connection counts where its service is elsewhere:
// of one here its socket would tell. Of these nothing is known but that they are
// established, as of those that the kernel picked up.
func TestMovingTracked(t *testing.T) {
	enterNamespace(t)
	r := newRig(t, setup{})
	for _, f := range families {
		track(t, 6, f.client, 4100, f.vip, 80, f.vip, f.client)
		track(t, 6, f.client, 4101, f.vip, 80, f.server, f.client)
		in := func(p payload) []byte { return eth(toCluster, ip(f.client, f.vip, p)) }
		sent := func(p payload) payload { return ip(f.vip, f.client, p) }
		for _, m := range []moving{
			notMine("here", in(tcp(4100, 80, ack))),
			notMine("here, error", in(tooBig(sent(tcp(80, 4100, ack)), -1))),
			mine("elsewhere", in(tcp(4101, 80, ack))),
			mine("elsewhere, error", in(tooBig(sent(tcp(80, 4101, ack)), -1))),
			connects("elsewhere, syn", in(tcp(4101, 80, syn))),
		} {
			m.name = f.name + " " + m.name
			m.check(t, r, r.bucket(by(f.client)))
		}
	}
}

func TestMovingWithSockets(t *testing.T) {
	for _, s := range []setup{{}, {affinity: cluster.ByFlow}} {
		for _, f := range families {
			for _, multipath := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s %s mptcp=%t", f.name, s.affinity, multipath), func(t *testing.T) {
					enterNamespace(t)
					r, w := newRig(t, s), newWire(t, 1500)
					sysctl(t, "ipv4/tcp_syncookies", "0")
					checkSockets(t, r, w, f, listen(t, multipath))
				})
			}
		}
	}
}

// listen makes the service's socket, plain or as Go makes it by default.
func listen(t *testing.T, multipath bool) net.Listener {
	t.Helper()
	var config net.ListenConfig
	config.SetMultipathTCP(multipath)
	l, err := config.Listen(t.Context(), "tcp", fmt.Sprintf(":%d", service))
	must(t, err)
	t.Cleanup(func() { l.Close() })
	return l
}

// to is a client's segment, in a frame to the cluster MAC.
func (c *client) to(flags byte, seq, acked uint32) []byte {
	return append(append([]byte{}, toCluster[:]...), c.frame(flags, seq, acked)[6:]...)
}

// about is an ICMP error about a segment that the host sent to the client,
// with 8 bytes of it.
func (c *client) about(seq uint32) []byte {
	header := 20
	if c.f.v6 {
		header = 40
	}
	return eth(toCluster, ip(c.f.router, c.f.vip, tooBig(ip(c.f.vip, c.f.client, tcpWith(service, c.port, ack, seq, 0)), header+8)))
}

func (c *client) bucket(r *rig) int {
	if r.setup.affinity == cluster.ByFlow {
		return r.bucket(byFlow(6, c.f.client, c.port, c.f.vip, service))
	}
	return r.bucket(by(c.f.client))
}

func checkSockets(t *testing.T, r *rig, w *wire, f family, l net.Listener) {
	check := func(c *client, state string, rows ...moving) {
		t.Helper()
		for _, m := range rows {
			m.name = state + ": " + m.name
			m.check(t, r, c.bucket(r))
		}
	}
	c := &client{wire: w, f: f, port: 4001}
	check(c, "listener", connects("syn", c.to(syn, 1, 0)), notMine("ack", c.to(ack, 1, 1)),
		notMine("reset", c.to(rst, 1, 0)), notMine("error", c.about(1)))

	c = &client{wire: w, f: f, port: 4002}
	c.knock()
	reset := moving{"reset", c.to(rst, c.seq, 0), "handle_my_flow", "drop_not_my_flow", ""}
	check(c, "request", mine("fitting ack", c.to(ack, c.seq, c.acked)), notMine("other ack", c.to(ack, c.seq, c.acked+1)),
		notMine("ack of the number itself", c.to(ack, c.seq, c.acked-1)), connects("syn again", c.to(syn, c.seq-1, 0)),
		reset, notMine("other reset", c.to(rst, c.seq+1, 0)), mine("fitting fin", c.to(fin|ack, c.seq, c.acked)),
		mine("error", c.about(c.acked-1)), notMine("other error", c.about(c.acked)))

	c = &client{wire: w, f: f, port: 4003}
	conn := c.connect(l)
	check(c, "established", mine("ack", c.to(ack, c.seq, c.acked)), mine("out of window", c.to(ack, c.seq+1<<30, c.acked)),
		mine("older ack", c.to(ack, c.seq, c.acked-1024)), notMine("much older ack", c.to(ack, c.seq, c.acked-1<<20)),
		notMine("ack of what was not sent", c.to(ack, c.seq, c.acked+2)),
		mine("reset", c.to(rst, c.seq, 0)), mine("reset in the window", c.to(rst, c.seq+1000, 0)),
		notMine("reset elsewhere", c.to(rst, c.seq+1<<30, 0)), mine("reset with an ack", c.to(rst|ack, c.seq, c.acked)),
		mine("fin", c.to(fin|ack, c.seq, c.acked)), mine("error", c.about(c.acked)),
		notMine("error about another's", c.about(c.acked+1<<30)), connects("syn", c.to(syn, 1, 0)))

	c.part(conn)
	check(c, "time wait", mine("ack", c.to(ack, c.seq, c.acked)), mine("fin again", c.to(fin|ack, c.seq-1, c.acked)),
		notMine("other ack", c.to(ack, c.seq, c.acked+1)), mine("reset", c.to(rst, c.seq, 0)), notMine("other reset", c.to(rst, c.seq+1, 0)),
		connects("syn", c.to(syn, c.seq+1, 0)), mine("error about the fin", c.about(c.acked-1)))
}

// With SYN cookies a listener is all that there is until the handshake ends.
func TestMovingSYNCookies(t *testing.T) {
	enterNamespace(t)
	w := newWire(t, 1500)
	sysctl(t, "ipv4/tcp_syncookies", "2")
	r := newRig(t, setup{})
	listen(t, true)
	for _, f := range families {
		c := &client{wire: w, f: f, port: 4001}
		c.knock()
		for _, m := range []moving{
			mine("cookie", c.to(ack, c.seq, c.acked)),
			notMine("no cookie", c.to(ack, c.seq, c.acked^0x5a5a00)),
			notMine("cookie of another connection", eth(toCluster, ip(f.client, f.vip, tcpWith(4002, service, ack, c.seq, c.acked)))),
			notMine("cookie with a reset", c.to(rst|ack, c.seq, c.acked)),
		} {
			m.name = f.name + " " + m.name
			m.check(t, r, c.bucket(r))
		}
	}
}

func forgetFragments(t testing.TB, r *rig) {
	t.Helper()
	var keys []ingressXDPDatagram
	var key ingressXDPDatagram
	var verdict uint32
	for it := r.maps["fragments"].Iterate(); it.Next(&key, &verdict); {
		keys = append(keys, key)
	}
	for _, key := range keys {
		must(t, r.maps["fragments"].Delete(key))
	}
}
