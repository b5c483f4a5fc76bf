//go:build privileged

package flows

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

var tcpStates = map[uint8]string{1: "ESTABLISHED", 2: "SYN_SENT", 3: "SYN_RECV", 4: "FIN_WAIT1", 5: "FIN_WAIT2",
	6: "TIME_WAIT", 7: "CLOSE", 8: "CLOSE_WAIT", 9: "LAST_ACK", 10: "LISTEN", 11: "CLOSING"}

// sockets lists the node's TCP sockets as another program does: by the other
// end, with the state; listeners by their own port.
func (s *site) sockets() map[string]string {
	s.Helper()
	found := map[string]string{}
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		all, err := netlink.SocketDiagTCP(family)
		s.must(err)
		for _, k := range all {
			ip, _ := netip.AddrFromSlice(k.ID.Destination)
			name := netip.AddrPortFrom(ip.Unmap(), k.ID.DestinationPort).String()
			if k.State == 10 {
				name = fmt.Sprintf("listener %d of family %d", k.ID.SourcePort, family)
			}
			found[name] = tcpStates[k.State]
		}
	}
	return found
}

// kind is a way to reach a service.
type kind struct {
	name    string
	network string // of the listener
	vip     netip.Addr
	clients netip.Prefix
	silent  netip.Prefix
	port    uint16
}

var kinds = []kind{
	{"IPv4", "tcp4", vip4, clients4, silent4, 81},
	{"IPv6", "tcp6", vip6, clients6, silent6, 82},
	{"IPv4 to an IPv6 socket", "tcp", vip4, clients4, silent4, 83},
}

// flow is a socket of the node in the wanted state.
type flow struct {
	client netip.Addr
	remote string // the client's address and port
	state  string
	conn   *net.TCPConn // the node's end, where a program has one
	far    *net.TCPConn // the client's
}

// busy fills the node with sockets of a kind in all states, clients from the
// n-th on. What waits for the peer's silence is told by later.
type busy struct {
	*site
	k       kind
	n       int
	flows   []*flow
	silence []func()
}

func (b *busy) listen(port uint16, network string, control func(fd int) error) net.Listener {
	b.Helper()
	var config net.ListenConfig
	l, err := config.Listen(b.Context(), network, fmt.Sprintf(":%d", port))
	b.must(err)
	b.Cleanup(func() { l.Close() })
	if control != nil {
		raw, err := l.(*net.TCPListener).SyscallConn()
		b.must(err)
		b.must(raw.Control(func(fd uintptr) { err = control(int(fd)) }))
		b.must(err)
	}
	return l
}

// add opens a connection from the next client; accepted where there is a
// listener to accept from.
func (b *busy) add(state string, from netip.Prefix, port uint16, l net.Listener) *flow {
	b.Helper()
	b.n++
	f := &flow{client: nth(from, b.n), state: state}
	f.far = b.dial(f.client, netip.AddrPortFrom(b.k.vip, port))
	f.remote = f.far.LocalAddr().String()
	if l != nil {
		f.conn = b.accept(l)
	}
	b.flows = append(b.flows, f)
	return f
}

func (b *busy) fill() {
	b.Helper()
	l := b.listen(b.k.port, b.k.network, nil)
	for range 3 {
		b.add("ESTABLISHED", b.k.clients, b.k.port, l)
	}
	b.must(b.add("CLOSE_WAIT", b.k.clients, b.k.port, l).far.CloseWrite())
	b.must(b.add("FIN_WAIT2", b.k.clients, b.k.port, l).conn.CloseWrite())
	b.must(b.add("FIN_WAIT2", b.k.clients, b.k.port, l).conn.Close())
	ended := b.add("TIME_WAIT", b.k.clients, b.k.port, l)
	b.must(ended.conn.Close())
	b.must(ended.far.Close())
	// The peer confirms none of these.
	closing, last := b.add("FIN_WAIT1", b.k.silent, b.k.port, l), b.add("LAST_ACK", b.k.silent, b.k.port, l)
	b.must(last.far.CloseWrite())
	b.silence = append(b.silence, func() {
		b.must(closing.conn.Close())
		b.must(last.conn.Close())
	})
	// A handshake whose last ACK the kernel waits for until data comes.
	b.listen(b.k.port+100, b.k.network, func(fd int) error {
		return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, 60)
	})
	b.add("SYN_RECV", b.k.clients, b.k.port+100, nil)
	// A connection that no program has accepted yet.
	b.listen(b.k.port+200, b.k.network, nil)
	b.add("ESTABLISHED", b.k.clients, b.k.port+200, nil)
}

// strangers opens connections that are not the cluster's: to the node's own
// address, from the node itself, from a container.
func (s *site) strangers(l net.Listener) (pairs [][2]*net.TCPConn) {
	s.Helper()
	port := uint16(l.Addr().(*net.TCPAddr).Port)
	connect := func(from, to netip.Addr) {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: from.AsSlice()}}
		far, err := d.DialContext(s.Context(), "tcp", netip.AddrPortFrom(to, port).String())
		s.must(err)
		s.Cleanup(func() { far.Close() })
		pairs = append(pairs, [2]*net.TCPConn{far.(*net.TCPConn), nil})
	}
	s.on(s.peer, func() { connect(nth(clients4, 200), own4) })
	connect(own4, vip4)
	connect(vip4, vip4)
	connect(vip6, vip6)
	s.on(s.container, func() {
		connect(container4, vip4)
		connect(container6, vip6)
	})
	for i := range pairs {
		pairs[i][1] = s.accept(l)
	}
	return pairs
}

// everything fills the node with sockets of all kinds.
func everything(s *site) (flows []*flow, strangers [][2]*net.TCPConn) {
	s.Helper()
	var silence []func()
	listener := &busy{site: s}
	strangers = s.strangers(listener.listen(80, "tcp", nil))
	for i, k := range kinds {
		b := &busy{site: s, k: k, n: 20 * i}
		b.fill()
		flows = append(flows, b.flows...)
		silence = append(silence, b.silence...)
	}
	s.eventually("the peer's FINs have come", func() bool {
		all := slices.Collect(maps.Values(s.sockets()))
		n := 0
		for _, state := range all {
			if state == "CLOSE_WAIT" {
				n++
			}
		}
		return n == 2*len(kinds)
	})
	s.silence()
	for _, fn := range silence {
		fn()
	}
	flows = append(flows, s.outgoing())
	s.eventually("all sockets are in their states", func() bool {
		found := s.sockets()
		return !slices.ContainsFunc(flows, func(f *flow) bool { return found[f.remote] != f.state })
	})
	return flows, strangers
}

// outgoing is a connection that the node opens from a cluster address.
func (s *site) outgoing() *flow {
	s.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	s.must(err)
	s.Cleanup(func() { unix.Close(fd) })
	s.must(unix.Bind(fd, &unix.SockaddrInet4{Addr: vip4.As4()}))
	to := nth(silent4, 100)
	if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: to.As4(), Port: 9}); err != unix.EINPROGRESS {
		s.Fatalf("connect: %v", err)
	}
	return &flow{client: to, remote: netip.AddrPortFrom(to, 9).String(), state: "SYN_SENT"}
}
