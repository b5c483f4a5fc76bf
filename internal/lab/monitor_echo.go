package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"syscall"
	"time"

	"github.com/google/nftables/expr"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// Data of a monitor's echoes: a mark, the client's number, the sequence number.
const (
	echoMark   = "shoalmon"
	echoLength = 8 + len(echoMark) + 2 + 4
	echoSnap   = 60 + echoLength // with the longest IPv4 header
)

// ICMP types, RFC 792 and RFC 4443.
const (
	echoRequest4, echoReply4 = 8, 0
	echoRequest6, echoReply6 = 128, 129
)

// An echoSocket sends and receives the echoes of one family.
type echoSocket struct {
	conn   net.PacketConn
	raw    syscall.RawConn
	target unix.Sockaddr
	v4     bool
}

func openEcho(ns *Namespace, target netip.Addr, id uint16) (*echoSocket, error) {
	network, any := "ip6:ipv6-icmp", "::"
	s := &echoSocket{v4: target.Is4(), target: &unix.SockaddrInet6{Addr: target.As16()}}
	if s.v4 {
		network, any = "ip4:icmp", "0.0.0.0"
		s.target = &unix.SockaddrInet4{Addr: target.As4()}
	}
	var err error
	if s.conn, err = ns.ListenPacket(network, any); err != nil {
		return nil, fmt.Errorf("open a raw socket in %s: %w", ns.Name, err)
	}
	widen(s.conn.(syscall.Conn))
	if s.v4 {
		var only ipv4.ICMPFilter
		only.SetAll(true)
		only.Accept(ipv4.ICMPTypeEchoReply)
		err = ipv4.NewPacketConn(s.conn).SetICMPFilter(&only)
	} else {
		var only ipv6.ICMPFilter
		only.SetAll(true)
		only.Accept(ipv6.ICMPTypeEchoReply)
		err = ipv6.NewPacketConn(s.conn).SetICMPFilter(&only)
	}
	if err == nil {
		s.raw, err = s.conn.(syscall.Conn).SyscallConn()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("set a raw socket up: %w", err), s.conn.Close())
	}
	return s, nil
}

func newWatched(number int, addr netip.Addr, s *echoSocket, id uint16) *watched {
	c := &watched{addr: addr, socket: s, packet: make([]byte, echoLength)}
	c.packet[0] = echoRequest6
	c.oob = unix.PktInfo6(&unix.Inet6Pktinfo{Addr: addr.As16()})
	if s.v4 {
		c.packet[0] = echoRequest4
		c.oob = unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: addr.Unmap().As4()})
	}
	binary.BigEndian.PutUint16(c.packet[4:], id)
	copy(c.packet[8:], echoMark)
	binary.BigEndian.PutUint16(c.packet[8+len(echoMark):], uint16(number))
	return c
}

// send sends echoes until the monitor is closed. Clients take turns within the
// interval, so that a packet goes out in every tick.
func (m *Monitor) send() {
	runtime.LockOSThread() // and stays locked: the thread's priority ends with it
	if err := realtime(); err != nil {
		m.note(err)
		return
	}
	every := int(m.Interval / tick)
	next := time.Now()
	for n := 0; !m.stopped.Load(); n++ {
		for i := n % every; i < len(m.clients); i += every {
			m.sendOne(m.clients[i])
		}
		next = next.Add(tick)
		if late := time.Since(next); late > tick { // what was missed is not made up for in a burst
			next = next.Add(late)
		}
		pause(time.Until(next))
	}
}

// realtime lets the calling thread go before all that is not real-time. Others,
// such as the heartbeats', have higher priorities.
func realtime() error {
	attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}
	if err := unix.SchedSetAttr(0, &attr, 0); err != nil {
		return fmt.Errorf("make a thread real-time: %w", err)
	}
	return nil
}

// pause sleeps in the kernel: the Go runtime's timers depend on other threads.
func pause(d time.Duration) {
	ts := unix.NsecToTimespec(max(0, d.Nanoseconds()))
	_ = unix.ClockNanosleep(unix.CLOCK_MONOTONIC, 0, &ts, nil) // a signal makes it shorter
}

func (m *Monitor) sendOne(c *watched) {
	m.mu.Lock()
	seq := c.first + uint32(len(c.echoes))
	c.echoes = append(c.echoes, echo{sent: time.Since(m.start)})
	m.mu.Unlock()
	binary.BigEndian.PutUint32(c.packet[echoLength-4:], seq)
	if c.socket.v4 { // of ICMPv6 the kernel fills it in, RFC 3542 section 3.1
		binary.BigEndian.PutUint16(c.packet[2:], 0)
		binary.BigEndian.PutUint16(c.packet[2:], checksum(c.packet))
	}
	var err error
	outer := c.socket.raw.Write(func(fd uintptr) bool {
		_, err = unix.SendmsgN(int(fd), c.packet, c.oob, c.socket.target, unix.MSG_DONTWAIT)
		return true
	})
	if errors.Join(outer, err) == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := c.echo(seq); e != nil {
		e.failed = true
	}
}

// checksum is the Internet checksum of bytes of an even length, RFC 1071.
func checksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// receive takes replies until the socket is closed.
func (s *echoSocket) receive(m *Monitor) error {
	buf := make([]byte, 256)
	for {
		var n int
		var err error
		outer := s.raw.Read(func(fd uintptr) bool {
			n, err = unix.Read(int(fd), buf)
			return !errors.Is(err, unix.EAGAIN)
		})
		if outer != nil {
			return outer
		}
		if err != nil {
			continue // an ICMP error about an earlier echo
		}
		b := buf[:n]
		if s.v4 { // raw sockets give the IPv4 header, too
			if len(b) == 0 || int(b[0]&0xf)*4 > len(b) {
				continue
			}
			b = b[int(b[0]&0xf)*4:]
		}
		if e, ok := parseEchoICMP(b); ok && e.reply {
			m.answered(e)
		}
	}
}

// An echoPacket is what a packet of a monitor says.
type echoPacket struct {
	id     uint16
	client uint16
	seq    uint32
	reply  bool
}

func parseEchoICMP(b []byte) (e echoPacket, ok bool) {
	if len(b) < echoLength || string(b[8:8+len(echoMark)]) != echoMark {
		return e, false
	}
	e.reply = b[0] == echoReply4 || b[0] == echoReply6
	e.id = binary.BigEndian.Uint16(b[4:])
	e.client = binary.BigEndian.Uint16(b[8+len(echoMark):])
	e.seq = binary.BigEndian.Uint32(b[echoLength-4:])
	return e, true
}

func parseEchoIP(b []byte) (e echoPacket, ok bool) {
	if len(b) == 0 {
		return e, false
	}
	header := ipv6Len
	if b[0]>>4 == 4 {
		header = int(b[0]&0xf) * 4
	}
	if header > len(b) {
		return e, false
	}
	return parseEchoICMP(b[header:])
}

// matchEchoes matches the identifier of echoes and replies; what else has
// those bytes there is told apart by whoever reads it.
func matchEchoes(id uint16) []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 4, Len: 2},
		&expr.Cmp{Register: 1, Op: expr.CmpOpEq, Data: binary.BigEndian.AppendUint16(nil, id)},
	}
}
