//go:build privileged

package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/internal/lab"
)

// mixedLab is a lab of two bare nodes, over IPv4: the recipe of the manual page
// does not carry IPv6 at all.
func mixedLab(t *testing.T, mode cluster.Mode) *lab.Lab {
	t.Helper()
	return startLab(t, lab.Options{Mode: mode, Nodes: 2, Clients: 40, Families: lab.IPv4, NoAgents: true})
}

// mixedCluster is a lab in which one node follows the manual page, and the other
// one runs shoal, with more options.
func mixedCluster(t *testing.T, mode cluster.Mode, old, young int, more ...string) *lab.Lab {
	t.Helper()
	l := mixedLab(t, mode)
	setUpOld(t, l.Nodes[old], mode)
	setUpNew(t, l.Nodes[young], mode, more...)
	return l
}

// gaugeBehindMangle puts a gauge on both nodes, behind what the rules of the
// manual page drop.
func gaugeBehindMangle(t *testing.T, l *lab.Lab, rules ...string) []*gauge {
	t.Helper()
	var gauges []*gauge
	for _, n := range l.Nodes {
		gauges = append(gauges, newGauge(t, n.Name, n.NS, behindMangle, rules...))
	}
	return gauges
}

// forEachRole runs a test twice: with the new node as the second and as the
// first of the cluster.
func forEachRole(t *testing.T, f func(t *testing.T, old, young int)) {
	t.Run("new node is node 2", func(t *testing.T) { f(t, 0, 1) })
	t.Run("new node is node 1", func(t *testing.T) { f(t, 1, 0) })
}

func TestMixedBackend(t *testing.T) {
	forEachRole(t, func(t *testing.T, old, young int) {
		l := mixedCluster(t, cluster.Backend, old, young)
		gauges := gaugeBehindMangle(t, l, byClient(l.Targets()...)...)
		probe(t, l, lab.TCP, lab.UDP, lab.Ping, lab.HTTP)
		checkDatagrams(t, l, fragmented)
		checkOneHandler(t, gauges, l.ClientAddresses(), viaTCP, viaUDP, viaICMP)
	})
}

// A node that marks, and rules of the user's own that drop what is not marked.
func TestMixedBackendMark(t *testing.T) {
	forEachRole(t, func(t *testing.T, old, young int) {
		l := mixedCluster(t, cluster.Backend, old, young, "--mark", "0xffff")
		gauges := gaugeBehindMangle(t, l, byClient(l.Targets()...)...)

		// Without the rules nothing is dropped: every client's packets come in.
		probe(t, l, lab.Ping)
		if got, want := len(gauges[young].read()), len(l.ClientAddresses()); got != want {
			t.Errorf("a node that marks let in packets of %d clients, want all %d", got, want)
		}
		in(t, l.Nodes[young].NS, "iptables", "-t", "mangle", "-A", "PREROUTING", "-i", "eth1", "-d", shared["eth1"].address,
			"-m", "mark", "!", "--mark", "0xffff", "-j", "DROP")
		for _, g := range gauges {
			g.reset()
		}
		probe(t, l, lab.TCP, lab.UDP, lab.Ping, lab.HTTP)
		checkOneHandler(t, gauges, l.ClientAddresses(), viaTCP, viaUDP, viaICMP)
	})
}

func TestMixedGateway(t *testing.T) {
	forEachRole(t, func(t *testing.T, old, young int) {
		l := mixedCluster(t, cluster.Gateway, old, young)
		serveBulk(t, l.Server)
		gauges := gaugeBehindMangle(t, l, byClient(l.Targets()...)...)
		probe(t, l, lab.TCP, lab.Ping, lab.HTTP)
		checkBulk(t, l)
		checkOneHandler(t, gauges, l.ClientAddresses(), viaTCP, viaICMP)
	})
}

// Connections that the server side opens are shared by the server's address,
// as the match does: one node has both directions.
func TestMixedGatewayOpenedByServers(t *testing.T) {
	forEachRole(t, func(t *testing.T, old, young int) {
		l := mixedCluster(t, cluster.Gateway, old, young)
		servers := addServers(t, l)
		gauges := gaugeBehindMangle(t, l,
			"iifname eth1 ip daddr 10.78.1.0/24 update @v4 { ip daddr . meta l4proto counter }",
			"iifname eth2 ip saddr 10.78.1.0/24 update @v4 { ip saddr . meta l4proto counter }")
		const port = 9200
		listener, err := l.Clients.Listen("tcp4", fmt.Sprintf(":%d", port))
		must(t, err)
		defer listener.Close()
		go func() {
			for c, err := listener.Accept(); err == nil; c, err = listener.Accept() {
				go func() {
					defer c.Close()
					io.Copy(c, c)
				}()
			}
		}()
		for _, server := range servers {
			for _, client := range l.ClientAddresses()[:3] {
				if err := echoOnce(l.Server, netip.AddrPortFrom(server, 0), netip.AddrPortFrom(client, port)); err != nil {
					t.Errorf("%s to %s: %v", server, client, err)
				}
			}
		}
		checkOneHandler(t, gauges, servers, viaTCP)
	})
}

// addServers gives the server more addresses, so that some are of each node.
func addServers(t *testing.T, l *lab.Lab) []netip.Addr {
	t.Helper()
	link, err := l.Server.Netlink().LinkByName("eth0")
	must(t, err)
	var all []netip.Addr
	for i := range 16 {
		a := netip.AddrFrom4([4]byte{10, 78, 1, byte(i + 1)})
		must(t, l.Server.Netlink().AddrAdd(link, &netlink.Addr{IPNet: netlink.NewIPNet(a.AsSlice())}))
		all = append(all, a)
	}
	return all
}

// echoOnce connects, sends a word and wants it back.
func echoOnce(ns *lab.Namespace, from, to netip.AddrPort) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	c, err := ns.Dial(ctx, "tcp", from, to)
	if err != nil {
		return err
	}
	defer c.Close()
	return exchangeWord(c)
}

func exchangeWord(c net.Conn) error {
	c.SetDeadline(time.Now().Add(2 * time.Second))
	const word = "one of us\n"
	if _, err := io.WriteString(c, word); err != nil {
		return err
	}
	buf := make([]byte, len(word))
	if _, err := io.ReadFull(c, buf); err != nil || string(buf) != word {
		return fmt.Errorf("%q came back for %q: %w", buf, word, err)
	}
	return nil
}

// UDP through gateways by the manual page is answered more than once. A mixed
// pair is no worse than an old one, for any client.
func TestMixedGatewayUDPNoWorse(t *testing.T) {
	const rounds = 2
	l := mixedLab(t, cluster.Gateway)
	setUpOld(t, l.Nodes[0], cluster.Gateway)
	setUpOld(t, l.Nodes[1], cluster.Gateway)
	before := countUDP(t, l, rounds)
	t.Logf("two old nodes: %d clients, %d rounds, %d answers", len(l.ClientAddresses()), rounds, sum(before))
	if sum(before) <= rounds*len(before) {
		t.Errorf("two old nodes answered once only: the fault that this is about is not there")
	}
	must(t, l.Close())
	forEachRole(t, func(t *testing.T, old, young int) {
		l := mixedCluster(t, cluster.Gateway, old, young)
		after := countUDP(t, l, rounds)
		t.Logf("%d answers", sum(after))
		for i, client := range l.ClientAddresses() {
			if after[i] < rounds || after[i] > before[i] {
				t.Errorf("%s: %d answers in %d rounds; two old nodes give %d", client, after[i], rounds, before[i])
			}
		}
	})
}

// countUDP lets each client ask a few times by UDP from one port, and returns
// the number of answers each got. Clients ask one after the other in a round,
// so that every run sees the same order of events.
func countUDP(t *testing.T, l *lab.Lab, rounds int) []int {
	t.Helper()
	clients, target := l.ClientAddresses(), l.Targets()[0]
	conns := make([]net.Conn, len(clients))
	for i, client := range clients {
		var err error
		conns[i], err = l.Clients.Dial(t.Context(), "udp", netip.AddrPortFrom(client, 0), netip.AddrPortFrom(target, lab.EchoPort))
		must(t, err)
		defer conns[i].Close()
	}
	answers := make([]int, len(clients))
	for range rounds {
		for _, c := range conns {
			_, err := io.WriteString(c, "who?")
			must(t, err)
		}
		until := time.Now().Add(300 * time.Millisecond)
		var wg sync.WaitGroup
		for i, c := range conns {
			wg.Go(func() { answers[i] += readUntil(c, until) })
		}
		wg.Wait()
	}
	return answers
}

// readUntil counts the datagrams that come until some time.
func readUntil(c net.Conn, until time.Time) int {
	c.SetReadDeadline(until)
	n := 0
	for buf := make([]byte, 100); ; n++ {
		if _, err := c.Read(buf); err != nil {
			return n
		}
	}
}

func sum(numbers []int) int {
	total := 0
	for n := range slices.Values(numbers) {
		total += n
	}
	return total
}
