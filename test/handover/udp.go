package handover

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/shoal-net/shoal/internal/lab"
)

// UDPLoad is what clients send all the time.
type UDPLoad struct {
	Flows   int           // that go on all the time, each from a port of its own
	Period  time.Duration // between two datagrams of each
	Queries int           // further flows a second, of one datagram each
}

// How long datagrams are waited for. No answer is late: they are late where
// nobody had a processor.
const (
	answerTime = 3 * time.Second  // for which a client waits for the last answer
	beginTime  = 20 * time.Second // until all flows have been answered once
)

// senders are clients of a cluster's UDP service, which answers a datagram with
// the name of its host and the datagram.
type senders struct {
	*lab.Lab
	load UDPLoad

	mu     sync.Mutex
	began  time.Time
	flows  []Flow // those that go on, and then the queries
	faults []error
}

func (s *senders) since() time.Duration { return time.Since(s.began) }

// note changes what is known, and keeps errors.
func (s *senders) note(what func() error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := what(); err != nil {
		s.faults = append(s.faults, err)
	}
}

// stampSize is the length of what a datagram has in it: its flow, and its place
// in that.
const stampSize = 8

// with does something with a datagram that somebody has seen.
func (s *senders) with(stamp []byte, what func(d *Datagram)) {
	s.note(func() error {
		if len(stamp) != stampSize {
			return fmt.Errorf("a datagram of %d bytes, which nobody sent", len(stamp))
		}
		flow, n := binary.BigEndian.Uint32(stamp), binary.BigEndian.Uint32(stamp[4:])
		if int(flow) >= len(s.flows) || int(n) >= len(s.flows[flow]) {
			return fmt.Errorf("datagram %d of flow %d, which nobody sent", n, flow)
		}
		what(&s.flows[flow][n])
		return nil
	})
}

// open makes a client's socket and its flow. What close returns is to be called
// when the last datagram was sent: it waits for the answers.
func (s *senders) open(client netip.Addr) (flow int, conn net.Conn, closing func(), err error) {
	target := s.Targets()[0]
	if target.Is4() != client.Is4() {
		target = s.Targets()[1]
	}
	conn, err = s.Clients.Dial(context.Background(), "udp", netip.AddrPortFrom(client, 0), netip.AddrPortFrom(target, lab.EchoPort))
	if err != nil {
		s.note(func() error { return err })
		return 0, nil, nil, err
	}
	s.note(func() error {
		flow = len(s.flows)
		s.flows = append(s.flows, nil)
		return nil
	})
	var reading sync.WaitGroup
	reading.Go(func() { s.read(conn) })
	return flow, conn, func() {
		time.Sleep(answerTime)
		conn.Close()
		reading.Wait()
	}, nil
}

// read notes answers until the socket is closed.
func (s *senders) read(conn net.Conn) {
	buf := make([]byte, 100)
	for {
		n, err := conn.Read(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || n < stampSize {
			s.note(func() error { return fmt.Errorf("after %v: an answer of %d bytes: %w", s.since(), n, err) })
			continue
		}
		name := string(buf[:n-stampSize])
		node := slices.IndexFunc(s.Nodes, func(n *lab.Node) bool { return name == n.Name+" " }) // -1: the server behind gateways
		s.with(buf[n-stampSize:n], func(d *Datagram) {
			d.Answers++
			if node >= 0 {
				d.Nodes |= 1 << node
			}
		})
	}
}

// send sends the next datagram of a flow.
func (s *senders) send(conn net.Conn, flow int) {
	stamp := binary.BigEndian.AppendUint32(nil, uint32(flow))
	s.note(func() error { // before it can be seen
		stamp = binary.BigEndian.AppendUint32(stamp, uint32(len(s.flows[flow])))
		s.flows[flow] = append(s.flows[flow], Datagram{Sent: s.since()})
		return nil
	})
	if _, err := conn.Write(stamp); err != nil {
		s.note(func() error { return err })
	}
}

// keep opens the flows that go on until ctx ends, and returns when all have been
// answered.
func (s *senders) keep(ctx context.Context, running *sync.WaitGroup) error {
	for i := range s.load.Flows {
		flow, conn, closing, err := s.open(s.ClientAddresses()[i%len(s.ClientAddresses())])
		if err != nil {
			return err
		}
		running.Go(func() {
			defer closing()
			// Not all send at once.
			for pause := part(s.load.Period); wait(ctx, pause); pause = s.load.Period {
				s.send(conn, flow)
			}
		})
	}
	for end := time.Now().Add(s.load.Period + beginTime); ; {
		waiting := 0
		s.note(func() error {
			for _, f := range s.flows {
				if !slices.ContainsFunc(f, func(d Datagram) bool { return d.Answers > 0 }) {
					waiting++
				}
			}
			return nil
		})
		switch {
		case waiting == 0:
			return nil
		case time.Now().After(end):
			return fmt.Errorf("%d flows have no answer", waiting)
		case !wait(ctx, 50*time.Millisecond):
			return ctx.Err()
		}
	}
}

// query sends single datagrams, each from another port, until ctx ends.
func (s *senders) query(ctx context.Context, running *sync.WaitGroup) {
	addresses := s.ClientAddresses()
	tick := time.NewTicker(time.Second / time.Duration(s.load.Queries))
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		running.Go(func() {
			if flow, conn, closing, err := s.open(addresses[i%len(addresses)]); err == nil {
				s.send(conn, flow)
				closing()
			}
		})
	}
}

// handled begins to note which datagrams the nodes handle. What it returns ends
// that.
func (s *senders) handled() (stop func() error, err error) {
	var logs []*lab.PreroutingLog
	ended := make(chan error, len(s.Nodes))
	stop = func() (err error) {
		time.Sleep(3 * lab.LogDelay) // for what is in the kernel's batch
		for _, log := range logs {
			err = errors.Join(err, log.Close())
		}
		for range logs {
			err = errors.Join(err, <-ended)
		}
		return err
	}
	for node, n := range s.Nodes {
		log, err := n.NS.LogPrerouting(lab.LogOptions{Snap: 100, Match: []expr.Any{
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_UDP}},
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2}, // the destination port, RFC 768
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binary.BigEndian.AppendUint16(nil, lab.EchoPort)},
		}})
		if err != nil {
			return nil, errors.Join(err, stop())
		}
		logs = append(logs, log)
		go func() {
			ended <- log.Follow(func(p lab.Logged) {
				s.with(datagramIn(p.Packet), func(d *Datagram) {
					d.Handled++
					d.Nodes |= 1 << node
				})
			})
		}()
	}
	return stop, nil
}

// datagramIn is what a packet of UDP without IPv6 extension headers carries; nil
// where that is not there.
func datagramIn(b []byte) []byte {
	header := 40 + 8
	if len(b) > 0 && b[0]>>4 == 4 {
		header = int(b[0]&15)*4 + 8
	}
	if len(b) < header {
		return nil
	}
	return b[header:]
}

// RunUDP changes a cluster by a plan while its clients send datagrams. It says on
// log what it does.
func RunUDP(ctx context.Context, c Cluster, load UDPLoad, plan []Step, log io.Writer) (result *UDPResult, err error) {
	s := &senders{Lab: c.Lab(), load: load, began: time.Now()}
	// Flows end with their datagrams: no node has any that could be asked to end.
	r := &runner{Cluster: c, since: s.since, leave: func(string, bool) {}, log: log, away: map[int]chan error{}}
	stopLogs, err := s.handled()
	if err != nil {
		return nil, err
	}
	sending, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	var stalls []window
	watching := make(chan error, 1)
	go func() {
		var err error
		stalls, err = watchStalls(sending, s.since)
		watching <- err
	}()
	if err = s.keep(sending, &running); err == nil {
		r.say("%d flows are there", load.Flows)
		running.Go(func() { s.query(sending, &running) })
		err = r.follow(ctx, plan)
	}
	if err == nil && !wait(ctx, max(load.Period, holdTime)) { // all send again, when everything is done
		err = ctx.Err()
	}
	took := s.since()
	stop()
	running.Wait()
	err = errors.Join(err, <-watching, stopLogs())
	kept := min(load.Flows, len(s.flows))
	return &UDPResult{Changes: r.changes, Took: took, windows: r.windows, stalls: stalls, faults: s.faults,
		Kept:    countDatagrams(s.flows[:kept], r.windows, stalls),
		Queries: countDatagrams(s.flows[kept:], r.windows, stalls)}, err
}
