//go:build privileged

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/shoal-net/shoal/internal/lab"
	xicmp "golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// basicTraffic is what every cluster carries.
var basicTraffic = []trafficTest{
	{"tcp", testTCP},
	{"udp", testUDP},
	{"ping", testPing},
	{"fragments", testFragments},
	{"closed port", testClosedPort},
}

// Each client opens a connection, asks and gets its answer.
func testTCP(t *testing.T, s *site) {
	port := s.nextPort()
	s.reset(t)
	each(t, s.ClientAddresses(), func(ctx context.Context, client netip.Addr) error {
		return s.askTCP(ctx, s.Clients, netip.AddrPortFrom(client, port), netip.AddrPortFrom(s.target(client), lab.EchoPort))
	})
	ev := s.take(t)
	of := clientPort(unix.IPPROTO_TCP, port)
	s.checkOnce(t, ev, s.ClientAddresses(), bothWays(some), of)
	// Retransmitted or doubled segments would hide among the others.
	s.checkOnce(t, ev, s.ClientAddresses(), bothWays(1), opening(of))
	checkNoReset(t, ev)
}

// opening picks of TCP flows the segments that open them.
func opening(of func(*packet) way) func(*packet) way {
	return func(p *packet) way {
		if p.tcpFlags&tcpSYN == 0 {
			return other
		}
		return of(p)
	}
}

func (s *site) askTCP(ctx context.Context, ns *lab.Namespace, local, remote netip.AddrPort) error {
	c, err := dialUntil(ctx, ns, "tcp", local, remote)
	if err != nil {
		return err
	}
	defer c.Close()
	question := c.LocalAddr().String()
	if _, err := fmt.Fprintln(c, question); err != nil {
		return err
	}
	answer, err := bufio.NewReader(c).ReadString('\n')
	if err == nil && !strings.HasSuffix(answer, " "+question+"\n") {
		err = fmt.Errorf("answer %q to %q", answer, question)
	}
	return err
}

func testUDP(t *testing.T, s *site) {
	port := s.nextPort()
	s.reset(t)
	each(t, s.ClientAddresses(), func(ctx context.Context, client netip.Addr) error {
		return s.askUDP(ctx, netip.AddrPortFrom(client, port), 100)
	})
	s.checkOnce(t, s.take(t), s.ClientAddresses(), bothWays(1), clientPort(unix.IPPROTO_UDP, port))
}

// askUDP sends a datagram with so many bytes of data and awaits its answer.
func (s *site) askUDP(ctx context.Context, client netip.AddrPort, size int) error {
	c, err := dialUntil(ctx, s.Clients, "udp", client, netip.AddrPortFrom(s.target(client.Addr()), lab.EchoPort))
	if err != nil {
		return err
	}
	defer c.Close()
	question := bytes.Repeat([]byte(client.String()+"/"), size/len(client.String())+1)[:size]
	if _, err := c.Write(question); err != nil {
		return err
	}
	buf := make([]byte, 1<<16)
	n, err := c.Read(buf)
	if err == nil && !bytes.HasSuffix(buf[:n], append([]byte(" "), question...)) {
		err = fmt.Errorf("answer of %d bytes to %d other ones", n, size)
	}
	return err
}

func testPing(t *testing.T, s *site) {
	id := s.nextPort()
	s.reset(t)
	each(t, s.ClientAddresses(), func(ctx context.Context, client netip.Addr) error {
		c, err := s.sendEcho(client, id, 1, 64)
		if err != nil {
			return err
		}
		defer c.Close()
		deadline, _ := ctx.Deadline()
		c.SetDeadline(deadline)
		for buf := make([]byte, 1500); ; {
			n, _, err := c.ReadFrom(buf)
			if err != nil {
				return err
			}
			m, err := xicmp.ParseMessage(int(icmpOf(client)), buf[:n])
			if err != nil {
				return err
			}
			if e, ok := m.Body.(*xicmp.Echo); ok && e.ID == int(id) && (m.Type == ipv4.ICMPTypeEchoReply || m.Type == ipv6.ICMPTypeEchoReply) {
				return nil
			}
		}
	})
	ev := s.take(t)
	for _, v4 := range []bool{true, false} {
		var clients []netip.Addr
		for _, c := range s.ClientAddresses() {
			if c.Is4() == v4 {
				clients = append(clients, c)
			}
		}
		s.checkOnce(t, ev, clients, bothWays(1), clientPort(icmpOf(clients[0]), id))
	}
}

// sendEcho sends an echo with a TTL from a raw socket of the client's.
func (s *site) sendEcho(client netip.Addr, id, seq uint16, ttl int) (net.PacketConn, error) {
	network, kind := "ip6:ipv6-icmp", xicmp.Message{Type: ipv6.ICMPTypeEchoRequest}
	if client.Is4() {
		network, kind = "ip4:icmp", xicmp.Message{Type: ipv4.ICMPTypeEcho}
	}
	kind.Body = &xicmp.Echo{ID: int(id), Seq: int(seq), Data: []byte(client.String())}
	b, err := kind.Marshal(nil)
	if err != nil {
		return nil, err
	}
	c, err := s.Clients.ListenPacket(network, client.String())
	if err != nil {
		return nil, err
	}
	if err := setTTL(c, client.Is4(), ttl); err != nil {
		c.Close()
		return nil, err
	}
	if _, err := c.WriteTo(b, &net.IPAddr{IP: s.target(client).AsSlice()}); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func setTTL(c net.PacketConn, v4 bool, ttl int) error {
	if v4 {
		return ipv4.NewPacketConn(c).SetTTL(ttl)
	}
	return ipv6.NewPacketConn(c).SetHopLimit(ttl)
}

// Datagrams longer than the MTU, both ways: each fragment reaches one node.
func testFragments(t *testing.T, s *site) {
	const size, pieces = 4000, 3 // of 1,480 bytes at most
	port := s.nextPort()
	s.reset(t)
	each(t, s.ClientAddresses(), func(ctx context.Context, client netip.Addr) error {
		return s.askUDP(ctx, netip.AddrPortFrom(client, port), size)
	})
	ev := s.take(t)
	targets := s.Targets()
	s.checkOnce(t, ev, s.ClientAddresses(), bothWays(pieces), func(p *packet) way {
		switch {
		case p.proto != unix.IPPROTO_UDP || !p.fragment:
			return other
		case p.to == sameFamily(targets, p.to)[0]:
			return fromClient
		case p.from == sameFamily(targets, p.from)[0]:
			return toClient
		}
		return other
	})
	// One fragment twice and another one not at all would make the same sum.
	type piece struct {
		from, to netip.Addr
		id       uint32
		offset   int
	}
	nodes := map[piece][]int{}
	for i, seen := range ev.nodes {
		for _, p := range seen {
			if p.fragment {
				k := piece{p.from, p.to, p.id, p.offset}
				nodes[k] = append(nodes[k], i+1)
			}
		}
	}
	for k, at := range nodes {
		if len(at) != 1 {
			t.Errorf("fragment %+v reached nodes %v", k, at)
		}
	}
}

// closedPort is one where nobody listens.
const closedPort = 7999

// A datagram to a closed port is reported once.
func testClosedPort(t *testing.T, s *site) {
	port := s.nextPort()
	s.reset(t)
	each(t, s.ClientAddresses(), func(ctx context.Context, client netip.Addr) error {
		return askClosed(ctx, s.Clients, netip.AddrPortFrom(client, port), netip.AddrPortFrom(s.target(client), closedPort))
	})
	s.checkOnce(t, s.take(t), s.ClientAddresses(), bothWays(1), func(p *packet) way {
		switch {
		case p.proto == unix.IPPROTO_UDP && p.toPort == closedPort && p.fromPort == port:
			return fromClient
		case p.isPortUnreachable() && p.quote.fromPort == port && p.quote.toPort == closedPort:
			return toClient
		}
		return other
	})
}

// askClosed sends a datagram to a closed port and awaits the refusal.
func askClosed(ctx context.Context, ns *lab.Namespace, local, remote netip.AddrPort) error {
	c, err := ns.Dial(ctx, "udp", local, remote)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := io.WriteString(c, "anybody?"); err != nil {
		return err
	}
	c.SetReadDeadline(time.Now().Add(answerTime))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNREFUSED) {
		return fmt.Errorf("%v, want connection refused", err)
	}
	return nil
}
