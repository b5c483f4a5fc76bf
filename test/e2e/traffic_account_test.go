//go:build privileged

package e2e

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// A way is the direction of a packet between a client and the other end.
type way int

const (
	other way = iota // not of the traffic in question
	fromClient
	toClient
)

// An account is where the packets between one client and its other end were.
type account struct {
	forward, back     []int // nodes whose prerouting they reached, with repeats: from and to the client
	arrivals, answers int   // frames that came to the server and to the client
}

// accounts sorts events by client. wayOf picks the traffic that counts.
func (s *site) accounts(ev events, wayOf func(*packet) way) map[netip.Addr]*account {
	all := map[netip.Addr]*account{}
	of := func(p *packet, w way) *account {
		client := p.from
		if w == toClient {
			client = p.to
		}
		if all[client] == nil {
			all[client] = &account{}
		}
		return all[client]
	}
	for i, seen := range ev.nodes {
		for _, p := range seen {
			switch w := wayOf(&p); w {
			case fromClient:
				a := of(&p, w)
				a.forward = append(a.forward, i+1)
			case toClient:
				a := of(&p, w)
				a.back = append(a.back, i+1)
			}
		}
	}
	for _, p := range ev.clients {
		if w := wayOf(&p); w == toClient {
			of(&p, w).answers++
		}
	}
	for _, p := range ev.server {
		if w := wayOf(&p); w == fromClient {
			of(&p, w).arrivals++
		}
	}
	return all
}

// expectation is how many packets there were for each client: those that the
// client sent, as the nodes saw them and as they came to the server, and those
// that were sent to the client, as the nodes saw them and as they came there.
type expectation struct{ forward, arrivals, back, answers int }

// bothWays expects as many packets each way, all of which arrive.
func bothWays(n int) expectation { return expectation{n, n, n, n} }

// some is for those whose number is not known beforehand, but for which there
// must be one.
const some = -1

// checkOnce fails the test where a packet was not handled by exactly one node.
func (s *site) checkOnce(t *testing.T, ev events, clients []netip.Addr, want expectation, wayOf func(*packet) way) {
	t.Helper()
	fail(t, s.faults(ev, clients, want, wayOf))
}

// faults lists the clients of which a packet was not handled by exactly one
// node, the same one for all packets of a client and the one that the hash
// gives, or did not come out at the other end exactly once.
func (s *site) faults(ev events, clients []netip.Addr, want expectation, wayOf func(*packet) way) []string {
	all := s.accounts(ev, wayOf)
	var faults []string
	for _, c := range clients {
		a := all[c]
		if a == nil {
			a = &account{}
		}
		delete(all, c)
		ok := handledBy(a.forward, s.owner(c), want.forward) && came(a.answers, want.answers)
		if s.gateway {
			ok = ok && handledBy(a.back, s.owner(c), want.back) && came(a.arrivals, want.arrivals)
		}
		if !ok {
			faults = append(faults, fmt.Sprintf("%s, node %d, want %+v: sent on by nodes %v, %d at the server; answers by nodes %v, %d at the client",
				c, s.owner(c), want, a.forward, a.arrivals, a.back, a.answers))
		}
	}
	for c := range all {
		faults = append(faults, fmt.Sprintf("packets of %s, which sent none", c))
	}
	return faults
}

// handledBy says whether packets reached exactly one node each, and which.
func handledBy(nodes []int, owner, want int) bool {
	return came(len(nodes), want) && !slices.ContainsFunc(nodes, func(n int) bool { return n != owner })
}

func came(n, want int) bool { return n == want || want == some && n > 0 }

// clientPort picks datagrams by the client's port, echoes by their identifier
// and TCP segments by the client's port; fragments have none.
func clientPort(proto uint8, port uint16) func(*packet) way {
	return func(p *packet) way {
		switch {
		case p.proto != proto || p.fragment || p.quote != nil:
		case p.fromPort == port || p.isEcho() && p.echoID == port:
			return fromClient
		case p.toPort == port || p.isEchoReply() && p.echoID == port:
			return toClient
		}
		return other
	}
}

// icmpOf is the ICMP of a client's family.
func icmpOf(a netip.Addr) uint8 {
	if a.Is4() {
		return unix.IPPROTO_ICMP
	}
	return unix.IPPROTO_ICMPV6
}
