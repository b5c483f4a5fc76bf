package lab

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// MonitorOptions say how closely a monitor looks.
type MonitorOptions struct {
	Clients  int           // of each family, of the lab's first ones; 8 if zero
	Interval time.Duration // between two echoes of a client, in whole milliseconds; 2 ms if zero
}

// A Monitor knows, for a sample of clients, when they had no service and which
// node handled what: each client sends an echo every few milliseconds, the
// kernel of a node (of the server, behind a gateway) answers, and each node
// logs what reaches its prerouting. Clients are other machines in truth, so
// that echoes are sent from a real-time thread.
type Monitor struct {
	Interval time.Duration // between two echoes of a client

	id      uint16 // of the echoes
	start   time.Time
	clients []*watched
	sockets []*echoSocket
	logs    []*PreroutingLog
	stopped atomic.Bool
	running sync.WaitGroup

	mu   sync.Mutex
	errs []error
}

// A watched client and its echoes, by sequence number.
type watched struct {
	addr   netip.Addr
	socket *echoSocket
	packet []byte // of an echo; the sequence number is filled in
	oob    []byte // that makes addr the source
	first  uint32 // sequence number of echoes[0]
	echoes []echo
}

// An echo is one probe.
type echo struct {
	sent        time.Duration // since the monitor's start
	there, back uint64        // bit n-1: node n handled the request; a gateway's node, the reply
	answers     uint8
	failed      bool // could not be sent
}

const tick = time.Millisecond

// NewMonitor starts a monitor.
func (l *Lab) NewMonitor(o MonitorOptions) (*Monitor, error) {
	setDefault(&o.Clients, 8)
	setDefault(&o.Interval, 2*tick)
	if o.Clients < 1 || o.Clients > l.plan.Clients || o.Interval < tick || o.Interval%tick != 0 {
		return nil, fmt.Errorf("monitor %d clients of each family every %v: 1 to %d, and whole milliseconds, are allowed",
			o.Clients, o.Interval, l.plan.Clients)
	}
	m := &Monitor{Interval: o.Interval, id: uint16(rand.Uint32()), start: time.Now()}
	if err := m.open(l, o); err != nil {
		return nil, errors.Join(fmt.Errorf("monitor the clients: %w", err), m.Close())
	}
	m.running.Go(m.send)
	for _, s := range m.sockets {
		m.running.Go(func() { m.note(s.receive(m)) })
	}
	for i, p := range m.logs {
		m.running.Go(func() { m.note(p.Follow(func(packet Logged) { m.handled(i+1, packet.Packet) })) })
	}
	return m, nil
}

func (m *Monitor) open(l *Lab, o MonitorOptions) error {
	clients, targets := l.plan.clients(), l.plan.targets()
	for i, target := range targets {
		s, err := openEcho(l.Clients, target, m.id)
		if err != nil {
			return err
		}
		m.sockets = append(m.sockets, s)
		for _, addr := range clients[i*l.plan.Clients:][:o.Clients] {
			m.clients = append(m.clients, newWatched(len(m.clients), addr, s, m.id))
		}
	}
	for _, n := range l.Nodes {
		p, err := n.NS.LogPrerouting(LogOptions{Match: matchEchoes(m.id), Snap: echoSnap, Batch: 50})
		if err != nil {
			return err
		}
		m.logs = append(m.logs, p)
	}
	return nil
}

// Close ends the monitor.
func (m *Monitor) Close() error {
	m.stopped.Store(true)
	var errs []error
	for _, s := range m.sockets {
		errs = append(errs, s.conn.Close())
	}
	for _, p := range m.logs {
		errs = append(errs, p.Close())
	}
	m.running.Wait()
	return errors.Join(append(errs, m.Err())...)
}

// note keeps an error: the counts that follow are not to be believed.
func (m *Monitor) note(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil && !m.stopped.Load() {
		m.errs = append(m.errs, err)
	}
}

// Err says why counts are not to be believed, if so.
func (m *Monitor) Err() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return errors.Join(m.errs...)
}

// Clients are those that are monitored.
func (m *Monitor) Clients() []netip.Addr {
	all := make([]netip.Addr, len(m.clients))
	for i, c := range m.clients {
		all[i] = c.addr
	}
	return all
}

// echo returns one of a client's echoes, nil if it was forgotten.
func (c *watched) echo(seq uint32) *echo {
	if i := seq - c.first; i < uint32(len(c.echoes)) {
		return &c.echoes[i]
	}
	return nil
}

// handled notes what reached a node's prerouting.
func (m *Monitor) handled(node int, packet []byte) {
	e, ok := parseEchoIP(packet)
	if !ok || e.id != m.id || int(e.client) >= len(m.clients) {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch echo := m.clients[e.client].echo(e.seq); {
	case echo == nil:
	case e.reply:
		echo.back |= 1 << (node - 1)
	default:
		echo.there |= 1 << (node - 1)
	}
}

// answered notes a reply that reached its client.
func (m *Monitor) answered(e echoPacket) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e.id != m.id || int(e.client) >= len(m.clients) {
		return
	}
	if echo := m.clients[e.client].echo(e.seq); echo != nil {
		echo.answers++
	}
}
