package lab

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"github.com/mdlayher/packet"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// A capture watches one interface that nodes send to, and tells the tracker
// which node had which request: whose MAC is the source of the request behind
// a gateway, or of the answer of a backend.
type capture struct {
	conn    *packet.Conn
	nodes   map[[6]byte]int // MAC → node
	targets map[netip.Addr]bool
	answers bool // frames come from the target; else they go there
	seen    *tracker
}

// newCapture opens a capture where the nodes' frames for this lab's requests
// arrive.
func (l *Lab) newCapture() (*capture, error) {
	p := l.plan
	c := &capture{nodes: map[[6]byte]int{}, targets: map[netip.Addr]bool{}, answers: !p.gateway(), seen: l.seen}
	link, ns := clientSegment, l.Clients
	if p.gateway() {
		link, ns = serverSegment, l.Server
	}
	if p.routed() { // the leaf sees the router's frames only
		ns = l.Router
	}
	for id := 1; id <= p.Nodes; id++ {
		c.nodes[[6]byte(link.hostMAC(id))] = id
	}
	for _, a := range p.targets() {
		c.targets[a] = true
	}
	filter, err := bpf.Assemble(requestFilter)
	if err != nil {
		return nil, fmt.Errorf("assemble the capture's filter: %w", err)
	}
	err = ns.Do(func() error {
		eth, err := net.InterfaceByName(leafEth)
		if err != nil {
			return err
		}
		c.conn, err = packet.Listen(eth, packet.Raw, unix.ETH_P_ALL, &packet.Config{Filter: filter})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("capture in %s: %w", ns.Name, err)
	}
	widen(c.conn)
	return c, nil
}

// receiveBuffer is room for bursts, in bytes: one socket gets what all clients
// are sent.
const receiveBuffer = 16 << 20

// widen gives a socket a receive buffer beyond the system's limit. Where that
// is not allowed the socket works with less.
func widen(c syscall.Conn) {
	if raw, err := c.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer)
		})
	}
}

// run reads until the capture is closed.
func (c *capture) run() {
	buf := make([]byte, 256)
	for {
		n, _, err := c.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		f, ok := parseFrame(buf[:n])
		node := c.nodes[f.source]
		if !ok || node == 0 {
			continue
		}
		client, port, target := f.from, f.fromPort, f.to
		if c.answers {
			client, port, target = f.to, f.toPort, f.from
		}
		if c.targets[target] {
			c.seen.handled(key{f.protocol, client, port}, node)
		}
	}
}

func (c *capture) close() { c.conn.Close() }

// A frame is what a capture needs of one. The ports of an echo or its answer
// are both its identifier.
type frame struct {
	source           [6]byte
	protocol         uint8
	from, to         netip.Addr
	fromPort, toPort uint16
}

// Lengths of headers, in bytes.
const (
	ethLen  = 14
	ipv6Len = 40
)

// parseFrame reads an Ethernet frame with TCP, UDP or an ICMP echo in it.
// Fragments other than the first have no ports and are not ok.
func parseFrame(b []byte) (f frame, ok bool) {
	if len(b) < ethLen+20 {
		return f, false
	}
	copy(f.source[:], b[6:12])
	etherType, ip := binary.BigEndian.Uint16(b[12:]), b[ethLen:]
	var l4 []byte
	switch {
	case etherType == unix.ETH_P_IP:
		length := int(ip[0]&0xf) * 4
		if offset := binary.BigEndian.Uint16(ip[6:]) & 0x1fff; offset != 0 || length < 20 || length > len(ip) {
			return f, false
		}
		f.protocol = ip[9]
		f.from, f.to = netip.AddrFrom4([4]byte(ip[12:])), netip.AddrFrom4([4]byte(ip[16:]))
		l4 = ip[length:]
	case etherType == unix.ETH_P_IPV6 && len(ip) >= ipv6Len:
		f.protocol = ip[6]
		f.from, f.to = netip.AddrFrom16([16]byte(ip[8:])), netip.AddrFrom16([16]byte(ip[24:]))
		l4 = ip[ipv6Len:]
	default:
		return f, false
	}
	if len(l4) < 8 {
		return f, false
	}
	switch f.protocol {
	case protoTCP, protoUDP:
		f.fromPort, f.toPort = binary.BigEndian.Uint16(l4), binary.BigEndian.Uint16(l4[2:])
		return f, true
	case protoICMP, protoICMPv6:
		id := binary.BigEndian.Uint16(l4[4:])
		f.fromPort, f.toPort = id, id
		ok := isEcho(f.protocol, l4[0])
		f.protocol = protoICMP
		return f, ok
	}
	return f, false
}

// isEcho says whether an ICMP type is an echo's or an echo reply's.
func isEcho(protocol, icmpType uint8) bool {
	if protocol == protoICMP {
		return icmpType == 8 || icmpType == 0 // RFC 792
	}
	return icmpType == 128 || icmpType == 129 // RFC 4443
}

const snapLen = 128

// requestFilter passes what begins requests and answers, and spares the
// capture bulk transfers: of TCP only segments with SYN, UDP, ICMP. Extension
// headers of IPv6 are not looked through; the probes send none.
var requestFilter = []bpf.Instruction{
	/*  0 */ bpf.LoadAbsolute{Off: 12, Size: 2},
	/*  1 */ bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.ETH_P_IPV6, SkipTrue: 8},
	/*  2 */ bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.ETH_P_IP, SkipTrue: 14},
	/*  3 */ bpf.LoadAbsolute{Off: ethLen + 9, Size: 1},
	/*  4 */ bpf.JumpIf{Cond: bpf.JumpEqual, Val: protoICMP, SkipTrue: 11},
	/*  5 */ bpf.JumpIf{Cond: bpf.JumpEqual, Val: protoUDP, SkipTrue: 10},
	/*  6 */ bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: protoTCP, SkipTrue: 10},
	/*  7 */ bpf.LoadMemShift{Off: ethLen},
	/*  8 */ bpf.LoadIndirect{Off: ethLen + 13, Size: 1},
	/*  9 */ bpf.Jump{Skip: 5},
	/* 10 */ bpf.LoadAbsolute{Off: ethLen + 6, Size: 1},
	/* 11 */ bpf.JumpIf{Cond: bpf.JumpEqual, Val: protoICMPv6, SkipTrue: 4},
	/* 12 */ bpf.JumpIf{Cond: bpf.JumpEqual, Val: protoUDP, SkipTrue: 3},
	/* 13 */ bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: protoTCP, SkipTrue: 3},
	/* 14 */ bpf.LoadAbsolute{Off: ethLen + ipv6Len + 13, Size: 1},
	/* 15 */ bpf.JumpIf{Cond: bpf.JumpBitsNotSet, Val: 0x02, SkipTrue: 1}, // SYN
	/* 16 */ bpf.RetConstant{Val: snapLen},
	/* 17 */ bpf.RetConstant{Val: 0},
}
