package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"time"

	"github.com/shoal-net/shoal/internal/dataplane"
	"github.com/shoal-net/shoal/internal/lab"
	"golang.org/x/sys/unix"
)

const (
	probeInterval = 50 * time.Microsecond
	// probesMost bounds what is written down: a quarter of an hour.
	probesMost = int(15 * time.Minute / probeInterval)
	// The service is one that nobody has: its node answers each SYN at once
	// with a reset that acknowledges its number (RFC 9293, 3.5.2).
	probeFrom, probeTo = 40000, 9
	// probeRoom is for the answers of a quarter of a second, in bytes: the
	// receiver has no priority, and what it loses looks like a gap.
	probeRoom = 4 << 20
)

// window is the time of a hand-over.
type window struct{ from, to time.Duration }

// prober sends SYNs from one client to the cluster address, numbered from 0.
type prober struct {
	conn     net.PacketConn
	target   netip.Addr
	segment  [20]byte
	fixed    uint32 // the sum of what stays the same of segment and pseudo header
	sent     []time.Duration
	answered []bool
	quit     chan struct{}
	sender   chan error
	receiver chan struct{}
}

func newProber(ns *lab.Namespace, client, target netip.Addr) (*prober, error) {
	conn, err := ns.ListenPacket("ip4:tcp", client.String())
	if err != nil {
		return nil, fmt.Errorf("open a raw socket: %w", err)
	}
	if err := widen(conn.(*net.IPConn), probeRoom); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	p := &prober{conn: conn, target: target, quit: make(chan struct{}), sender: make(chan error, 1), receiver: make(chan struct{}),
		sent: make([]time.Duration, 0, probesMost), answered: make([]bool, probesMost)}
	binary.BigEndian.PutUint16(p.segment[0:], probeFrom)
	binary.BigEndian.PutUint16(p.segment[2:], probeTo)
	p.segment[12], p.segment[13] = 5<<4, 2 // header length, SYN
	binary.BigEndian.PutUint16(p.segment[14:], 1024)
	pseudo := append(append(client.AsSlice(), target.AsSlice()...), 0, unix.IPPROTO_TCP, 0, byte(len(p.segment)))
	for _, b := range [][]byte{pseudo, p.segment[:]} {
		for i := 0; i < len(b); i += 2 {
			p.fixed += uint32(binary.BigEndian.Uint16(b[i:]))
		}
	}
	return p, nil
}

// widen gives a socket more room than the host allows processes in general.
func widen(conn *net.IPConn, room int) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	outer := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, room)
	})
	return errors.Join(outer, os.NewSyscallError("setsockopt SO_RCVBUFFORCE", err))
}

func (p *prober) start() {
	go p.receive()
	go func() { p.sender <- p.send() }()
}

// stop ends both, once what was sent last may have been answered.
func (p *prober) stop() error {
	close(p.quit)
	err := <-p.sender
	time.Sleep(10 * time.Millisecond)
	err = errors.Join(err, p.conn.Close())
	<-p.receiver
	return err
}

// send sends from a real-time thread, which wakes up in time.
func (p *prober) send() error {
	runtime.LockOSThread() // ends with it
	attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}
	if err := unix.SchedSetAttr(0, &attr, 0); err != nil {
		return fmt.Errorf("give the prober priority: %w", err)
	}
	to := &net.IPAddr{IP: p.target.AsSlice()}
	for next := dataplane.Now(); len(p.sent) < probesMost; {
		select {
		case <-p.quit:
			return nil
		default:
		}
		now := dataplane.Now()
		if now < next {
			ts := unix.NsecToTimespec(int64(next))
			_ = unix.ClockNanosleep(unix.CLOCK_BOOTTIME, unix.TIMER_ABSTIME, &ts, nil)
			continue
		}
		next = max(next, now-probeInterval) + probeInterval
		p.number(uint32(len(p.sent)))
		p.sent = append(p.sent, now)
		if _, err := p.conn.WriteTo(p.segment[:], to); err != nil {
			return fmt.Errorf("send a SYN: %w", err)
		}
	}
	return errors.New("too many SYNs")
}

// number sets the sequence number, and the checksum (RFC 1071).
func (p *prober) number(n uint32) {
	binary.BigEndian.PutUint32(p.segment[4:], n)
	sum := p.fixed + n>>16 + n&0xffff
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(p.segment[16:], ^uint16(sum))
}

func (p *prober) receive() {
	defer close(p.receiver)
	b := make([]byte, 100)
	for {
		n, _, err := p.conn.ReadFrom(b)
		if err != nil {
			return // closed: nothing else ends it
		}
		const reset = 4
		if n >= 20 && binary.BigEndian.Uint16(b) == probeTo && b[13]&reset != 0 {
			if i := binary.BigEndian.Uint32(b[8:]) - 1; i < uint32(probesMost) {
				p.answered[i] = true
			}
		}
	}
}

// result tells the gaps: from the last SYN that was answered to the next one.
func (p *prober) result(windows []window) *handoverResult {
	r := &handoverResult{sent: len(p.sent)}
	if r.sent > 1 {
		r.every = (p.sent[r.sent-1] - p.sent[0]) / time.Duration(r.sent-1)
	}
	i := 0
	for _, w := range windows {
		for ; i < r.sent && p.sent[i] < w.from; i++ {
			if !p.answered[i] {
				r.astray++
			}
		}
		hit, longest := 0, time.Duration(0)
		var since time.Duration // the last SYN that was answered
		if i > 0 {
			since = p.sent[i-1]
		}
		lost := false
		for ; i < r.sent && p.sent[i] < w.to; i++ {
			if !p.answered[i] {
				hit, lost = hit+1, true
				continue
			}
			if lost {
				longest = max(longest, p.sent[i]-since)
			}
			since, lost = p.sent[i], false
		}
		if lost {
			longest = max(longest, w.to-since)
		}
		r.gaps = append(r.gaps, float64(longest)/float64(time.Millisecond))
		r.hit = append(r.hit, float64(hit))
	}
	return r
}
