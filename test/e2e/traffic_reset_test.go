//go:build privileged

package e2e

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// checkNoReset fails the test where a connection was reset, and shows what came
// in of that connection.
func checkNoReset(t *testing.T, ev events) {
	t.Helper()
	atServers := ev.server
	if atServers == nil { // the nodes are the servers
		atServers = slices.Concat(ev.nodes...)
	}
	fail(t, slices.Concat(resets(ev.clients, atServers), resets(ev.server, ev.clients)))
}

// resets lists the resets among what came in at one end of connections, but for
// those that answer a straggler. At the other end came in what is there.
//
// Virtual links hand frames over in a queue for each processor, so a frame may
// overtake another one: a client that closes sends its FIN from the processor
// of its process, and the last ACK before it may still lie in the queue of the
// one that took the answer in. When that comes, the connection may be closed at
// both ends, and any host answers with a reset, which ends nothing.
func resets(here, there []packet) (faults []string) {
	for i, r := range here {
		if r.proto != unix.IPPROTO_TCP || r.tcpFlags&tcpRST == 0 {
			continue
		}
		closed := slices.ContainsFunc(here[:i], func(p packet) bool { return p.sameWay(&r) && p.tcpFlags&tcpFIN != 0 })
		if !closed || !answersStraggler(&r, there) {
			faults = append(faults, fmt.Sprintf("a reset: %v; came in at its end:%s; at the other:%s", r, connection(here, &r), connection(there, &r)))
		}
	}
	return faults
}

// answersStraggler says whether a reset answers a segment that came in behind
// the FIN of the end that sent both: a FIN is the last that an end sends, but
// for ACKs. A reset without ACK has the number that the segment acknowledged
// (RFC 9293, 3.10.7.1); one with ACK breaks a connection off.
func answersStraggler(r *packet, there []packet) bool {
	fin := slices.IndexFunc(there, func(p packet) bool { return p.oppositeWay(r) && p.tcpFlags&tcpFIN != 0 })
	return r.tcpFlags == tcpRST && fin >= 0 && slices.ContainsFunc(there[fin+1:], func(p packet) bool {
		return p.oppositeWay(r) && p.tcpFlags == tcpACK && p.ack == r.seq
	})
}

func (p *packet) ends() [2]netip.AddrPort {
	return [2]netip.AddrPort{netip.AddrPortFrom(p.from, p.fromPort), netip.AddrPortFrom(p.to, p.toPort)}
}

// sameWay says whether two segments go the same way on one connection.
func (p *packet) sameWay(q *packet) bool { return p.proto == q.proto && p.ends() == q.ends() }

// oppositeWay says whether two segments go opposite ways on one connection.
func (p *packet) oppositeWay(q *packet) bool {
	a, b := p.ends(), q.ends()
	return p.proto == q.proto && a[0] == b[1] && a[1] == b[0]
}

// connection shows the segments of a connection, one a line.
func connection(all []packet, of *packet) string {
	var s strings.Builder
	for _, p := range all {
		if p.sameWay(of) || p.oppositeWay(of) {
			fmt.Fprintf(&s, "\n\t%v", p)
		}
	}
	return s.String()
}

// A reset that ends a connection must be seen, whatever is excused.
func TestObservationSeesResets(t *testing.T) {
	client, server := netip.MustParseAddr("10.77.1.1"), netip.MustParseAddr("10.78.0.200")
	up := func(flags uint8, seq, ack uint32) packet {
		return packet{proto: unix.IPPROTO_TCP, from: client, to: server, fromPort: 20001, toPort: 7000, tcpFlags: flags, seq: seq, ack: ack}
	}
	down := func(flags uint8, seq, ack uint32) packet {
		return packet{proto: unix.IPPROTO_TCP, from: server, to: client, fromPort: 7000, toPort: 20001, tcpFlags: flags, seq: seq, ack: ack}
	}
	otherClient := up(tcpACK, 120, 300)
	otherClient.fromPort = 20002
	synAck, answer, fin := down(tcpSYN|tcpACK, 200, 101), down(tcpACK, 201, 120), down(tcpFIN|tcpACK, 300, 121)
	opening := []packet{up(tcpSYN, 100, 0), up(tcpACK, 101, 201), up(tcpACK, 101, 201)}
	straggler, clientFIN, lastACK := up(tcpACK, 120, 300), up(tcpFIN|tcpACK, 120, 300), up(tcpACK, 121, 301)
	for _, test := range []struct {
		name           string
		client, server []packet // that came in there, after the opening at the server
		want           int
	}{
		{"closed", []packet{synAck, answer, fin}, []packet{straggler, clientFIN, lastACK}, 0},
		{"a straggler's", []packet{synAck, answer, fin, down(tcpRST, 300, 0)}, []packet{clientFIN, lastACK, straggler}, 0},
		{"open", []packet{synAck, answer, down(tcpRST, 300, 0)}, []packet{straggler}, 1},
		{"in answer to the SYN", []packet{down(tcpRST|tcpACK, 0, 101)}, nil, 1},
		{"in answer to a foreign SYN-ACK's ACK", []packet{synAck, down(tcpRST, 201, 0)}, nil, 1},
		{"the server's abort", []packet{synAck, answer, down(tcpRST|tcpACK, 300, 120)}, []packet{straggler}, 1},
		{"closed by the client alone", []packet{synAck, answer, down(tcpRST, 300, 0)}, []packet{clientFIN, straggler}, 1},
		{"closed by the server alone", []packet{synAck, answer, fin, down(tcpRST, 300, 0)}, []packet{straggler}, 1},
		{"no straggler", []packet{synAck, answer, fin, down(tcpRST, 300, 0)}, []packet{straggler, clientFIN, lastACK}, 1},
		{"another client's straggler", []packet{synAck, answer, fin, down(tcpRST, 300, 0)}, []packet{clientFIN, lastACK, otherClient}, 1},
		{"before the FIN", []packet{synAck, answer, down(tcpRST, 300, 0), fin}, []packet{clientFIN, lastACK, straggler}, 1},
	} {
		if got := resets(test.client, slices.Concat(opening, test.server)); len(got) != test.want {
			t.Errorf("%s: %d resets, want %d: %v", test.name, len(got), test.want, got)
		}
	}
}
