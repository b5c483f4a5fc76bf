//go:build privileged

package e2e

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shoal-net/shoal/internal/lab"
)

// A stream is datagrams from one host to another, one every streamInterval,
// and when those were sent that arrived at a socket there.
type stream struct {
	what  string
	start time.Time
	sent  atomic.Int64 // number of datagrams

	mu  sync.Mutex
	got []time.Duration // since start, when what arrived was sent
}

const streamInterval = 2 * time.Millisecond

var streamPort atomic.Int32

// newStream sends from one address to another, until the test ends.
func newStream(t *testing.T, from *lab.Namespace, source netip.Addr, to *lab.Namespace, target netip.Addr) *stream {
	t.Helper()
	s := &stream{what: fmt.Sprintf("%s to %s", source, target), start: time.Now()}
	port := uint16(9300 + streamPort.Add(1))
	server, err := to.ListenPacket("udp", fmt.Sprintf(":%d", port))
	must(t, err)
	client, err := from.Dial(t.Context(), "udp", netip.AddrPortFrom(source, 0), netip.AddrPortFrom(target, port))
	must(t, err)
	done := make(chan struct{})
	t.Cleanup(func() {
		close(done)
		client.Close()
		server.Close()
	})
	go s.receive(server)
	go s.send(client, done)
	return s
}

func (s *stream) send(c net.Conn, done <-chan struct{}) {
	ticks := time.NewTicker(streamInterval)
	defer ticks.Stop()
	for {
		c.Write(binary.BigEndian.AppendUint64(nil, uint64(time.Since(s.start)))) // losses are what is counted
		s.sent.Add(1)
		select {
		case <-ticks.C:
		case <-done:
			return
		}
	}
}

func (s *stream) receive(c net.PacketConn) {
	buf := make([]byte, 64)
	for {
		n, _, err := c.ReadFrom(buf)
		if err != nil {
			return
		}
		if n == 8 {
			s.mu.Lock()
			s.got = append(s.got, time.Duration(binary.BigEndian.Uint64(buf)))
			s.mu.Unlock()
		}
	}
}

// handled is how many datagrams arrived that were sent in some time.
func (s *stream) handled(after, before time.Time) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, at := range s.got {
		if when := s.start.Add(at); when.After(after) && when.Before(before) {
			n++
		}
	}
	return n
}

// last is when the latest datagram that arrived was sent.
func (s *stream) last() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.got) == 0 {
		return time.Time{}
	}
	return s.start.Add(s.got[len(s.got)-1])
}

// awaitFlow waits until some datagrams arrived that were sent from now on.
func (s *stream) awaitFlow(t *testing.T) {
	t.Helper()
	now := time.Now()
	await(t, "datagrams from "+s.what, func() bool { return s.handled(now, time.Now()) >= 5 })
}

// awaitSent waits until a number of further datagrams were sent.
func (s *stream) awaitSent(t *testing.T, n int64) {
	t.Helper()
	from := s.sent.Load()
	await(t, "datagrams to be sent from "+s.what, func() bool { return s.sent.Load() >= from+n })
}

// checkComplete wants every datagram but the latest to have arrived once.
func (s *stream) checkComplete(t *testing.T) {
	t.Helper()
	const late = 50 // on their way, on a busy machine
	sent := s.sent.Load()
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := map[time.Duration]bool{}
	for _, at := range s.got {
		if seen[at] {
			t.Errorf("%s: a datagram arrived twice", s.what)
		}
		seen[at] = true
	}
	if int64(len(seen)) < sent-late {
		t.Errorf("%s: %d of %d datagrams arrived", s.what, len(seen), sent)
	}
}

// clusterStreams sends from a client of each family to the cluster's address.
func (h *host) clusterStreams() []*stream {
	h.t.Helper()
	var all []*stream
	for _, target := range h.lab.ClusterAddresses() {
		client := sameFamily(h.lab.ClientAddresses(), target)[0]
		all = append(all, newStream(h.t, h.lab.Clients, client, h.ns, target))
	}
	return all
}

// ownStream sends from a client to the host's own address.
func (h *host) ownStream() *stream {
	h.t.Helper()
	return newStream(h.t, h.lab.Clients, h.lab.ClientAddresses()[0], h.ns, h.lab.Nodes[0].Addresses()[0])
}
