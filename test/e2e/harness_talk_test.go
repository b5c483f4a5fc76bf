//go:build privileged

package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shoal-net/shoal/internal/lab"
	"golang.org/x/sys/unix"
)

// talkPort is where servers remember how much a client has said.
const talkPort = 7200

// A talk is a flow that lasts: a client that asks again and again from one
// port, and a server that says how often it has been asked from there.
type talk struct {
	network string
	client  netip.AddrPort
	conn    net.Conn
	mu      sync.Mutex
	heard   int // answers
	waited  time.Duration
	missed  int // questions before the first answer
	fault   error
}

// talkPause is between two questions, and talkAnswer how long an answer may take
// before the next one.
const (
	talkPause  = 10 * time.Millisecond
	talkAnswer = 500 * time.Millisecond
	firstTry   = 20 * time.Millisecond
)

// run asks until ctx ends or something is wrong.
func (k *talk) run(ctx context.Context) {
	began, buf := time.Now(), make([]byte, 200)
	for n := 1; ctx.Err() == nil; n++ {
		patience := talkAnswer
		if k.answers() == 0 && k.network == "udp" {
			patience = firstTry
		}
		k.conn.SetDeadline(time.Now().Add(patience))
		if _, err := fmt.Fprintf(k.conn, "%d\n", n); err != nil {
			k.end(fmt.Errorf("question %d: %w", n, err))
			return
		}
		length, err := k.conn.Read(buf)
		if isTimeout(err) && k.network == "udp" && k.answers() == 0 {
			continue
		}
		if err == nil {
			err = k.take(n, string(buf[:length]), time.Since(began))
		}
		if err != nil {
			k.end(fmt.Errorf("answer %d: %w", n, err))
			return
		}
		time.Sleep(talkPause)
	}
}

func isTimeout(err error) bool {
	var e net.Error
	return errors.As(err, &e) && e.Timeout()
}

// take checks an answer: the question, and how often the server was asked. It may
// be to one of the first questions, which are repeated soon.
func (k *talk) take(n int, answer string, since time.Duration) error {
	var question, asked int
	if _, err := fmt.Sscanf(answer, "%d %d", &question, &asked); err != nil {
		return fmt.Errorf("%q: %w", answer, err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.heard++; k.heard == 1 {
		k.missed, k.waited = question-asked, since
	}
	if question > n || asked != question-k.missed {
		return fmt.Errorf("%q to question %d of a flow whose server did not get the first %d", answer, n, k.missed)
	}
	return nil
}

func (k *talk) answers() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.heard
}

func (k *talk) end(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.fault = err
}

func (k *talk) failed() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.fault
}

// A talkSite has talks, and knows which nodes handle their packets.
type talkSite struct {
	t    *testing.T
	l    *lab.Lab
	logs []*prerouting
	ctx  context.Context
	end  context.CancelFunc
	all  []*talk
	wg   sync.WaitGroup

	packets map[string]uint64         // of UDP → nodes that had it, as bits
	nodes   map[netip.AddrPort]uint64 // client's end of a UDP flow → nodes that had packets of it
}

func watchTalks(t *testing.T, l *lab.Lab) *talkSite {
	t.Helper()
	w := &talkSite{t: t, l: l, packets: map[string]uint64{}, nodes: map[netip.AddrPort]uint64{}}
	w.ctx, w.end = context.WithCancel(t.Context())
	t.Cleanup(func() { w.end(); w.wg.Wait() })
	hosts := []*lab.Namespace{l.Server}
	if l.Server == nil {
		hosts = nil
	}
	for _, n := range l.Nodes {
		w.logs = append(w.logs, capturePrerouting(t, n.NS))
		if l.Server == nil {
			hosts = append(hosts, n.NS)
		}
	}
	for _, ns := range hosts {
		serveTalks(t, ns, l.Targets())
	}
	return w
}

// serveTalks answers whoever asks, with the question and how often it was asked
// from there.
func serveTalks(t *testing.T, ns *lab.Namespace, addrs []netip.Addr) {
	t.Helper()
	for _, a := range addrs {
		to := netip.AddrPortFrom(a, talkPort).String()
		c, err := ns.ListenPacket("udp", to)
		must(t, err)
		t.Cleanup(func() { c.Close() })
		go func() {
			asked, buf := map[string]int{}, make([]byte, 200)
			for {
				n, from, err := c.ReadFrom(buf)
				if errors.Is(err, net.ErrClosed) {
					return
				}
				if err != nil {
					continue // an ICMP error about an earlier answer
				}
				asked[from.String()]++
				fmt.Fprintf(writerTo{c, from}, "%s %d\n", strings.TrimSpace(string(buf[:n])), asked[from.String()])
			}
		}()
		serveTCP(t, ns, to, answerTalk)
	}
}

type writerTo struct {
	c  net.PacketConn
	to net.Addr
}

func (w writerTo) Write(b []byte) (int, error) { return w.c.WriteTo(b, w.to) }

func answerTalk(c net.Conn) {
	buf := make([]byte, 200)
	for asked := 1; ; asked++ {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		fmt.Fprintf(c, "%s %d\n", strings.TrimSpace(string(buf[:n])), asked)
	}
}

// talk begins a UDP flow and a TCP connection of each client.
func (w *talkSite) talk(clients []netip.Addr) (all []*talk) {
	w.t.Helper()
	for _, client := range clients {
		for _, network := range []string{"udp", "tcp"} {
			k, err := w.one(client, network)
			must(w.t, err)
			all = append(all, k)
		}
	}
	return all
}

func (w *talkSite) one(client netip.Addr, network string) (*talk, error) {
	ctx, cancel := context.WithTimeout(w.ctx, answerTime)
	defer cancel()
	target := netip.AddrPortFrom(sameFamily(w.l.Targets(), client)[0], talkPort)
	c, err := w.l.Clients.Dial(ctx, network, netip.AddrPortFrom(client, 0), target)
	if err != nil {
		return nil, err
	}
	k := &talk{network: network, conn: c, client: netip.MustParseAddrPort(c.LocalAddr().String())}
	w.all = append(w.all, k)
	w.wg.Go(func() {
		defer c.Close()
		k.run(w.ctx)
	})
	return k, nil
}

// keepTalking begins one flow after the other until stop is called.
func (w *talkSite) keepTalking() (stop func() []*talk) {
	ended, result := make(chan struct{}), make(chan []*talk)
	go func() {
		var all []*talk
		clients := w.l.ClientAddresses()
		for i := 0; ; i++ {
			select {
			case <-ended:
				result <- all
				return
			case <-time.After(2 * time.Millisecond):
				k, err := w.one(clients[i%len(clients)], "udp")
				if err != nil {
					w.t.Error(err)
					continue
				}
				all = append(all, k)
			}
		}
	}()
	return func() []*talk {
		close(ended)
		return <-result
	}
}

// awaitMore waits until all talks have gone on for some questions.
func (w *talkSite) awaitMore(talks []*talk) {
	w.t.Helper()
	const more = 30
	before := make([]int, len(talks))
	for i, k := range talks {
		before[i] = k.answers()
	}
	await(w.t, "talks that go on", func() bool {
		for i, k := range talks {
			if k.failed() == nil && k.answers() < before[i]+more {
				return false
			}
		}
		return true
	})
	w.look()
}

// look takes in what the nodes handled.
func (w *talkSite) look() {
	w.t.Helper()
	for i, log := range w.logs {
		for _, p := range log.take(w.t) {
			if p.proto != unix.IPPROTO_UDP || p.toPort != talkPort && p.fromPort != talkPort {
				continue
			}
			client := netip.AddrPortFrom(p.from, p.fromPort)
			if p.fromPort == talkPort {
				client = netip.AddrPortFrom(p.to, p.toPort)
			}
			w.packets[fmt.Sprint(client, p.fromPort == talkPort, string(p.payload))] |= 1 << i
			w.nodes[client] |= 1 << i
		}
	}
}

// on are the UDP flows of which a node handled packets.
func (w *talkSite) on(node int, talks []*talk) (flows []netip.AddrPort) {
	for _, k := range talks {
		if k.network == "udp" && w.nodes[k.client]>>(node-1)&1 == 1 {
			flows = append(flows, k.client)
		}
	}
	return flows
}

// finish ends the talks. Each must have gone on to the end, on one node, and no
// packet may have been handled by two.
func (w *talkSite) finish() {
	w.t.Helper()
	w.awaitMore(w.all)
	w.end()
	w.wg.Wait()
	w.look()
	var faults []error
	longest, missed := time.Duration(0), 0
	for _, k := range w.all {
		if k.fault != nil {
			faults = append(faults, fmt.Errorf("%s %s: %w", k.network, k.client, k.fault))
		}
		if nodes := w.nodes[k.client]; k.network == "udp" && bits.OnesCount64(nodes) != 1 {
			faults = append(faults, fmt.Errorf("udp %s: handled by nodes %b", k.client, nodes))
		}
		longest, missed = max(longest, k.waited), missed+k.missed
	}
	for p, nodes := range w.packets {
		if bits.OnesCount64(nodes) != 1 {
			faults = append(faults, fmt.Errorf("packet %s: handled by nodes %b", p, nodes))
		}
	}
	fail(w.t, faults)
	w.t.Logf("%d flows; %d questions came while nobody was to take them; the longest wait for a first answer was %v", len(w.all), missed, longest)
}
