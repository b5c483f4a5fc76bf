//go:build privileged

package e2e

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// firstPort is what traceroute counts its ports from.
const firstPort = 33434

// Probes with a TTL of 1, 2 and so on: each hop answers each of them once.
func testTraceroute(t *testing.T, s *site) {
	hops := 2 // router, node
	if s.gateway {
		hops = 3 // node, router, server
	}
	port := s.nextPort()
	s.reset(t)
	each(t, s.ClientAddresses(), func(ctx context.Context, client netip.Addr) error {
		for ttl := 1; ttl <= hops; ttl++ {
			if err := s.sendProbe(client, port, ttl); err != nil {
				return err
			}
			c, err := s.sendEcho(client, port, uint16(ttl), ttl)
			if err != nil {
				return err
			}
			c.Close()
		}
		return nil
	})
	ev := s.take(t)
	// Of the probes one, of the answers two, come from before the nodes.
	want := expectation{forward: 3, arrivals: 1, back: 2, answers: 3}
	if !s.gateway {
		want = expectation{forward: 1, answers: 2}
	}
	s.checkOnce(t, ev, s.ClientAddresses(), want, probeOf(func(p *packet) bool {
		return p.proto == unix.IPPROTO_UDP && p.fromPort == port
	}))
	s.checkOnce(t, ev, s.ClientAddresses(), want, probeOf(func(p *packet) bool {
		return (p.isEcho() || p.isEchoReply()) && p.echoID == port
	}))
	s.checkHops(t, ev, port, hops)
}

// probeOf picks probes and what was answered to them.
func probeOf(probe func(*packet) bool) func(*packet) way {
	return func(p *packet) way {
		switch {
		case p.quote != nil && probe(p.quote), p.isEchoReply() && probe(p):
			return toClient
		case p.quote == nil && probe(p):
			return fromClient
		}
		return other
	}
}

func (s *site) sendProbe(client netip.Addr, port uint16, ttl int) error {
	c, err := s.Clients.ListenPacket("udp", netip.AddrPortFrom(client, port).String())
	if err != nil {
		return err
	}
	defer c.Close()
	if err := setTTL(c, client.Is4(), ttl); err != nil {
		return err
	}
	_, err = c.WriteTo([]byte("probe"), net.UDPAddrFromAddrPort(netip.AddrPortFrom(s.target(client), uint16(firstPort+ttl))))
	return err
}

// checkHops fails the test where a hop did not answer, or under an address
// that is not its own.
func (s *site) checkHops(t *testing.T, ev events, port uint16, hops int) {
	t.Helper()
	var faults []string
	for _, p := range ev.clients {
		ttl := 0
		switch {
		case p.isEchoReply() && p.echoID == port:
			ttl = int(p.echoSeq)
		case p.quote != nil && p.quote.isEcho() && p.quote.echoID == port:
			ttl = int(p.quote.echoSeq)
		case p.quote != nil && p.quote.fromPort == port:
			ttl = int(p.quote.toPort) - firstPort
		default:
			continue
		}
		if want := s.hop(p.to, ttl); p.from != want {
			faults = append(faults, "hop "+strconv.Itoa(ttl)+": "+p.String()+", want "+want.String())
		}
		if last := ttl == hops; last != (p.isEchoReply() || p.isPortUnreachable()) || last == p.isExceeded() {
			faults = append(faults, "hop "+strconv.Itoa(ttl)+": "+p.String())
		}
	}
	fail(t, faults)
}

// hop is the address under which the hop at a distance answers a client.
func (s *site) hop(client netip.Addr, ttl int) netip.Addr {
	routers := []string{"10.79.0.250", "fd79::250"}
	if s.gateway {
		routers = []string{"10.78.0.250", "fd78::250"}
		ttl--
	}
	router := netip.MustParseAddr(routers[slices.Index([]bool{true, false}, client.Is4())])
	switch ttl {
	case 0:
		return sameFamily(s.Nodes[s.owner(client)-1].Addresses(), client)[0]
	case 1:
		return router
	default:
		return s.target(client)
	}
}
