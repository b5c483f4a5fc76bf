package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// pingMark begins the data of our echoes and tells their replies from those of
// other programs; the identifier follows.
const pingMark = "shoal lab"

// A pinger sends echoes from all client addresses over one raw socket for
// each family, and tells the tracker of the replies that the kernel delivers.
type pinger struct {
	v4   *ipv4.PacketConn
	v6   *ipv6.PacketConn
	seen *tracker
}

func newPinger(ns *Namespace, f Families, seen *tracker) (*pinger, error) {
	p := &pinger{seen: seen}
	if f.has(IPv4) {
		c, err := ns.ListenPacket("ip4:icmp", "0.0.0.0")
		if err != nil {
			return nil, fmt.Errorf("open a raw ICMP socket in %s: %w", ns.Name, err)
		}
		widen(c.(syscall.Conn))
		p.v4 = ipv4.NewPacketConn(c)
		var only ipv4.ICMPFilter
		only.SetAll(true)
		only.Accept(ipv4.ICMPTypeEchoReply)
		if err := errors.Join(p.v4.SetControlMessage(ipv4.FlagDst, true), p.v4.SetICMPFilter(&only)); err != nil {
			return nil, errors.Join(fmt.Errorf("set up the ICMP socket: %w", err), p.close())
		}
	}
	if f.has(IPv6) {
		c, err := ns.ListenPacket("ip6:ipv6-icmp", "::")
		if err != nil {
			return nil, errors.Join(fmt.Errorf("open a raw ICMPv6 socket in %s: %w", ns.Name, err), p.close())
		}
		widen(c.(syscall.Conn))
		p.v6 = ipv6.NewPacketConn(c)
		var only ipv6.ICMPFilter
		only.SetAll(true)
		only.Accept(ipv6.ICMPTypeEchoReply)
		if err := errors.Join(p.v6.SetControlMessage(ipv6.FlagDst, true), p.v6.SetICMPFilter(&only)); err != nil {
			return nil, errors.Join(fmt.Errorf("set up the ICMPv6 socket: %w", err), p.close())
		}
	}
	return p, nil
}

func (p *pinger) close() error {
	var err error
	if p.v4 != nil {
		err = p.v4.Close()
	}
	if p.v6 != nil {
		err = errors.Join(err, p.v6.Close())
	}
	return err
}

// run starts receiving; it ends when the pinger is closed.
func (p *pinger) run() {
	if p.v4 != nil {
		go p.receive(func(b []byte) (int, net.IP, error) {
			n, cm, _, err := p.v4.ReadFrom(b)
			if cm == nil {
				return n, nil, err
			}
			return n, cm.Dst, err
		})
	}
	if p.v6 != nil {
		go p.receive(func(b []byte) (int, net.IP, error) {
			n, cm, _, err := p.v6.ReadFrom(b)
			if cm == nil {
				return n, nil, err
			}
			return n, cm.Dst, err
		})
	}
}

func (p *pinger) receive(read func([]byte) (int, net.IP, error)) {
	buf := make([]byte, 1500)
	for {
		n, to, err := read(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		client, ok := netip.AddrFromSlice(to)
		if err != nil || !ok {
			continue
		}
		if id, ok := parseEcho(buf[:n]); ok {
			p.seen.answered(key{protoICMP, client.Unmap(), id})
		}
	}
}

// send sends the echo of a request.
func (p *pinger) send(r *request) error {
	echo := &icmp.Echo{ID: int(r.key.id), Seq: 1, Data: binary.BigEndian.AppendUint16([]byte(pingMark), r.key.id)}
	to := &net.IPAddr{IP: r.target.AsSlice()}
	from := net.IP(r.key.client.AsSlice())
	if r.target.Is4() {
		b, err := (&icmp.Message{Type: ipv4.ICMPTypeEcho, Body: echo}).Marshal(nil)
		if err == nil {
			_, err = p.v4.WriteTo(b, &ipv4.ControlMessage{Src: from}, to)
		}
		return err
	}
	// The kernel fills in the ICMPv6 checksum, RFC 3542 section 3.1.
	b, err := (&icmp.Message{Type: ipv6.ICMPTypeEchoRequest, Body: echo}).Marshal(nil)
	if err == nil {
		_, err = p.v6.WriteTo(b, &ipv6.ControlMessage{Src: from}, to)
	}
	return err
}

// parseEcho returns the identifier of an echo reply of ours.
func parseEcho(b []byte) (id uint16, ok bool) {
	if len(b) != 8+len(pingMark)+2 || string(b[8:8+len(pingMark)]) != pingMark {
		return 0, false
	}
	id = binary.BigEndian.Uint16(b[4:])
	return id, id == binary.BigEndian.Uint16(b[len(b)-2:])
}
