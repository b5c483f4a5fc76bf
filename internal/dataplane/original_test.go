//go:build privileged

package dataplane

import (
	"net/netip"
	"testing"

	"github.com/ti-mo/conntrack"
	"golang.org/x/sys/unix"
)

// track makes a connection tracking entry, translated where the reply comes
// from or goes to elsewhere.
func track(t *testing.T, proto uint8, src netip.Addr, sport uint16, dst netip.Addr, dport uint16, replyFrom, replyTo netip.Addr) {
	t.Helper()
	c, err := conntrack.Dial(nil)
	must(t, err)
	defer c.Close()
	f := conntrack.NewFlow(proto, conntrack.StatusConfirmed|conntrack.StatusAssured, src, dst, sport, dport, 600, 0)
	f.TupleReply.IP.SourceAddress, f.TupleReply.IP.DestinationAddress = replyFrom, replyTo
	if proto == unix.IPPROTO_TCP {
		f.ProtoInfo.TCP = &conntrack.ProtoInfoTCP{State: 3}
	}
	must(t, c.Create(f))
}

// Key original hashes the source of the connection's first packet, on either
// side and in either direction.
func TestOriginal(t *testing.T) {
	enterNamespace(t)
	loaded := make(rigs)
	for _, f := range families {
		track(t, 6, f.client, 4000, f.server, 80, f.server, f.client)
		track(t, 17, f.client, 4000, f.server, 53, f.server, f.client)
		track(t, 6, f.client, 4001, f.vip, 80, f.server, f.client)      // to a service elsewhere
		track(t, 17, f.server, 5000, f.client, 514, f.client, f.server) // the server side opened it
	}
	rows := both(func(f family) []row {
		in := func(src, dst netip.Addr, p payload) []byte { return eth(toCluster, ip(src, dst, p)) }
		return []row{
			handled("opening tcp", setup{}, by(f.client), in(f.client, f.vip, tcp(9, 80, syn))),
			handled("opening udp", setup{}, by(f.client), in(f.client, f.vip, udp(9, 53))),
			handled("tcp", setup{}, by(f.client), in(f.client, f.server, tcp(4000, 80, ack))),
			handled("tcp reply", setup{}, by(f.client), in(f.server, f.client, tcp(80, 4000, ack))),
			handled("udp reply", setup{}, by(f.client), in(f.server, f.client, udp(53, 4000))),
			handled("translated, reply", setup{}, by(f.client), in(f.server, f.client, tcp(80, 4001, ack))),
			handled("opened by the server", setup{}, by(f.server), in(f.server, f.client, udp(5000, 514))),
			handled("opened by the server, reply", setup{}, by(f.server), in(f.client, f.server, udp(514, 5000))),
			handled("error about a reply", setup{}, by(f.client), in(f.router, f.server, tooBig(ip(f.server, f.client, udp(53, 4000)), -1))),
			handled("error about a request", setup{}, by(f.client), in(f.router, f.client, tooBig(ip(f.client, f.server, tcp(4000, 80, ack)), -1))),
			handled("echo", setup{}, by(f.client), in(f.client, f.vip, echo(f.v6))),
			handled("echo reply", setup{}, by(f.client), in(f.server, f.client, echoReply(f.v6))),
			handled("error about an echo", setup{}, by(f.client), in(f.router, f.client, tooBig(ip(f.client, f.server, echo(f.v6)), -1))),
			handled("error about an echo reply", setup{}, by(f.client), in(f.router, f.server, tooBig(ip(f.server, f.client, echoReply(f.v6)), -1))),
			handled("gre", setup{}, by(f.client), in(f.client, f.vip, other(47, 8))),
			{name: "untracked ack", frame: in(f.client, f.vip, tcp(9, 80, ack)), want: "drop_untracked"},
			{name: "untracked syn ack", frame: in(f.server, f.client, tcp(9, 80, syn|ack)), want: "drop_untracked"},
			{name: "untracked reset", frame: in(f.client, f.vip, tcp(9, 80, rst)), want: "drop_untracked"},
			{name: "error about what is untracked", frame: in(f.router, f.vip, tooBig(ip(f.vip, f.client, udp(9, 9)), -1)), want: "drop_untracked"},
		}
	})
	for _, row := range rows {
		row.out = toHostMAC
		for _, s := range []setup{{key: originalKey}, {key: originalKey, side: serverSide.side}} {
			for _, k := range []kind{inXDP, inTCX} {
				row.check(t, loaded.get(t, s), k)
			}
		}
	}
	r := loaded.get(t, setup{key: originalKey})
	for _, f := range families {
		sent{
			name: "out, translated", key: by(f.client), frame: ethFrom(ownMAC, clientMAC, ip(f.vip, f.client, udp(53, 4002))),
			want: "sent_owned", foreign: "drop_sent_foreign", noLease: "drop_sent_no_lease",
		}.trackedCheck(t, r, f)
	}
	t.Logf("%d rows", len(rows))
}

// trackedCheck first tracks the connection that the row's frame answers.
func (row sent) trackedCheck(t *testing.T, r *rig, f family) {
	t.Helper()
	track(t, 17, f.client, 4002, f.vip, 53, f.vip, f.client)
	row.check(t, r)
}
