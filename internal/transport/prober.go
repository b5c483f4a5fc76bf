package transport

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Prober asks a host that is not of the cluster for a sign of life.
type Prober struct {
	socket
	message  []byte
	echo     int // where the ICMP header is in what comes, noEcho: there is none
	sequence uint16
	waiting  bool
	in       [128]byte
}

// noEcho: any answer that comes after the question is one to it.
const noEcho = -1

// Probe asks. Answers to what was asked before count no more. The error is a
// unix.Errno.
func (p *Prober) Probe() error {
	p.Answered()
	p.sequence++
	if p.echo != noEcho {
		be.PutUint16(p.message[6:], p.sequence)
		be.PutUint16(p.message[2:], 0)
		be.PutUint16(p.message[2:], ^fold(sum(p.message))) // the kernel does ICMPv6's itself
	}
	p.waiting = true
	return p.send(p.message)
}

// Answered reports whether an answer to the last Probe has come, once for each,
// and empties the socket.
func (p *Prober) Answered() bool {
	answered := false
	for {
		n, errno := p.receive(p.in[:])
		if errno != 0 { // EAGAIN, or that the interface went down
			break
		}
		answered = answered || p.answers(p.in[:min(n, len(p.in))])
	}
	answered = answered && p.waiting
	p.waiting = p.waiting && !answered
	return answered
}

// answers looks at what the socket's filter does not.
func (p *Prober) answers(b []byte) bool {
	return p.echo == noEcho || len(b) >= p.echo+8 && be.Uint16(b[p.echo+6:]) == p.sequence
}

// OpenNeighbourProber asks a host on the link of an interface: by ARP, or by
// neighbour solicitation. Only a reply to this node counts, which shows that it
// is heard: what others send to everybody does not. Open another one when the
// interface was made anew.
func OpenNeighbourProber(ifname string, target netip.Addr) (*Prober, error) {
	link, err := ethernetInterface(ifname)
	if err != nil {
		return nil, err
	}
	open := openARP
	if target.Is6() {
		open = openSolicitation
	}
	p, err := open(link, target)
	if err != nil {
		return nil, fmt.Errorf("probe %s on %s: %w", target, ifname, err)
	}
	return p, nil
}

func openARP(link *net.Interface, target netip.Addr) (*Prober, error) {
	has, err := prefixes(link)
	if err != nil {
		return nil, err
	}
	sender := netip.IPv4Unspecified() // a probe of RFC 5227: answered as well
	for _, a := range has {
		if a.Contains(target) && !a.IsSingleIP() {
			sender = a.Addr()
		}
	}
	own := link.HardwareAddr
	m := append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, own...)
	m = be.AppendUint16(m, etherARP)
	m = append(m, 0, 1, 0x08, 0, 6, 4, 0, 1) // Ethernet, IPv4, sizes, request
	m = append(append(m, own...), sender.AsSlice()...)
	m = append(append(m, 0, 0, 0, 0, 0, 0), target.AsSlice()...)

	p := &Prober{message: m, echo: noEcho}
	if p.socket, err = openPacketSender(); err != nil {
		return nil, err
	}
	const operation, senderAddress, reply = ethernetHeader + 6, ethernetHeader + 14, 2
	tests := append(equalBytes(0, own), equal(operation, 2, reply))
	tests = append(tests, equalBytes(senderAddress, target.AsSlice())...)
	return p.ready(p.filter(tests...), p.bind(etherARP, link.Index))
}

// Of ICMPv6, RFC 4861.
const (
	neighbourSolicit  = 135
	neighbourAdvert   = 136
	solicited         = 0x40 // flag of an advertisement
	sourceLinkAddress = 1    // option
)

// openSolicitation takes an ICMPv6 socket: a packet socket would look into
// every IPv6 packet that the interface receives.
func openSolicitation(link *net.Interface, target netip.Addr) (*Prober, error) {
	t := target.As16()
	m := append([]byte{neighbourSolicit, 0, 0, 0, 0, 0, 0, 0}, t[:]...)
	m = append(append(m, sourceLinkAddress, 1), link.HardwareAddr...)

	p := &Prober{message: m, echo: noEcho}
	var err error
	if p.socket, err = openSocket(unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_ICMPV6); err != nil {
		return nil, err
	}
	group := unix.RawSockaddrInet6{Family: unix.AF_INET6, Scope_id: uint32(link.Index),
		Addr: [16]byte{0xff, 2, 11: 1, 12: 0xff, 13: t[13], 14: t[14], 15: t[15]}} // solicited-node group, RFC 4291
	p.aim(unsafe.Pointer(&group), unix.SizeofSockaddrInet6)
	tests := append([]test{equal(0, 1, neighbourAdvert), {bpf.LoadAbsolute{Off: 4, Size: 1}, bpf.JumpBitsNotSet, solicited}},
		equalBytes(8, t[:])...)
	return p.ready(p.filter(tests...),
		os.NewSyscallError("setsockopt SO_BINDTODEVICE", unix.BindToDevice(p.fd, link.Name)),
		os.NewSyscallError("setsockopt IPV6_MULTICAST_HOPS", unix.SetsockoptInt(p.fd, unix.SOL_IPV6, unix.IPV6_MULTICAST_HOPS, hopLimit)))
}

// ready closes the socket where anything failed in making it.
func (p *Prober) ready(errs ...error) (*Prober, error) {
	if err := errors.Join(errs...); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// Of ICMP and ICMPv6: types of RFC 792 and RFC 4443.
const (
	icmpEcho        = 8
	icmpEchoReply   = 0
	icmpv6Echo      = 128
	icmpv6EchoReply = 129
)

// networkOffset is where a filter finds the IP header, whatever the socket
// hands out: SKF_NET_OFF of linux/filter.h.
const networkOffset = 0xfff00000

// OpenEchoProber asks a host that may be anywhere, by ICMP echo, from the
// address and by the way that the routing table says.
func OpenEchoProber(target netip.Addr) (*Prober, error) {
	open := openEcho4
	if target.Is6() {
		open = openEcho6
	}
	p, err := open(target, uint16(rand.Uint32())) // the identifier tells answers from those to other programs
	if err != nil {
		return nil, fmt.Errorf("probe %s: %w", target, err)
	}
	return p, nil
}

func echoMessage(kind byte, id uint16) []byte {
	return append(be.AppendUint16([]byte{kind, 0, 0, 0}, id), 0, 0)
}

// openEcho4 takes a socket that hands out the IP header, too. Answers to a
// request without IP options have none.
func openEcho4(target netip.Addr, id uint16) (*Prober, error) {
	p := &Prober{message: echoMessage(icmpEcho, id), echo: ipv4Header}
	var err error
	if p.socket, err = openSocket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP); err != nil {
		return nil, err
	}
	to := unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: target.As4()}
	p.aim(unsafe.Pointer(&to), unix.SizeofSockaddrInet4)
	tests := append([]test{equal(0, 1, 0x45), equal(ipv4Header, 1, icmpEchoReply), equal(ipv4Header+4, 2, uint32(id))},
		equalBytes(networkOffset+12, target.AsSlice())...)
	return p.ready(p.filter(tests...))
}

func openEcho6(target netip.Addr, id uint16) (*Prober, error) {
	p := &Prober{message: echoMessage(icmpv6Echo, id)}
	var err error
	if p.socket, err = openSocket(unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_ICMPV6); err != nil {
		return nil, err
	}
	to := unix.RawSockaddrInet6{Family: unix.AF_INET6, Addr: target.As16()}
	p.aim(unsafe.Pointer(&to), unix.SizeofSockaddrInet6)
	tests := append([]test{equal(0, 1, icmpv6EchoReply), equal(4, 2, uint32(id))},
		equalBytes(networkOffset+8, target.AsSlice())...)
	return p.ready(p.filter(tests...))
}
