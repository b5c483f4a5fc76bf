//go:build privileged

package flows

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
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

func TestCountSockets(t *testing.T) {
	s, c := newSite(t), backend()
	flows, _ := everything(s)
	want := make([]int, c.Hash.Buckets)
	for _, f := range flows {
		if f.state != "TIME_WAIT" {
			want[bucketOf(c, f.client)]++
		}
	}
	f := s.open(c)
	var got []int
	for range 2 { // the second count uses the first one's memory
		var err error
		got, err = f.Count(got)
		s.must(err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("flows by bucket (-want +got)\n%s", diff)
		}
	}
}

func TestDestroySockets(t *testing.T) {
	s, c := newSite(t), backend()
	flows, strangers := everything(s)
	f, want := s.open(c), s.sockets()
	for _, round := range []struct {
		name   string
		chosen func(bucket int) bool
	}{
		{"even buckets", func(bucket int) bool { return bucket%2 == 0 }},
		{"the same again", func(bucket int) bool { return bucket%2 == 0 }},
		{"all buckets", func(int) bool { return true }},
	} {
		var states []string
		flows = slices.DeleteFunc(flows, func(f *flow) bool {
			if !round.chosen(bucketOf(c, f.client)) {
				return false
			}
			states = append(states, f.state)
			delete(want, f.remote)
			return true
		})
		n, err := f.Destroy(round.chosen)
		s.must(err)
		if n != len(states) {
			t.Errorf("%s: %d destroyed, want %d: %v", round.name, n, len(states), states)
		}
		if diff := cmp.Diff(want, s.sockets()); diff != "" {
			t.Errorf("%s: sockets (-want +got)\n%s", round.name, diff)
		}
		for _, f := range flows {
			if f.state == "ESTABLISHED" && f.conn != nil && (!alive(f.far, f.conn) || !alive(f.conn, f.far)) {
				t.Errorf("%s: %s is in another bucket, and dead", round.name, f.remote)
			}
		}
		for _, p := range strangers {
			if !alive(p[0], p[1]) || !alive(p[1], p[0]) {
				t.Errorf("%s: %s to %s is dead", round.name, p[0].LocalAddr(), p[0].RemoteAddr())
			}
		}
		t.Logf("%s: %v", round.name, states)
	}
	for _, k := range kinds { // listeners go on listening
		s.dial(nth(k.clients, 150), netip.AddrPortFrom(k.vip, k.port))
	}
}

// What the program of a destroyed socket sees, MPTCP being what Go listens with
// by default.
func TestDestroyedTCP(t *testing.T) {
	for _, multipath := range []bool{false, true} {
		s := newSite(t)
		var config net.ListenConfig
		config.SetMultipathTCP(multipath)
		l, err := config.Listen(t.Context(), "tcp", ":80")
		s.must(err)
		defer l.Close()
		s.dial(nth(clients4, 1), netip.AddrPortFrom(vip4, 80))
		conn := s.accept(l)
		n, err := s.open(backend()).Destroy(func(int) bool { return true })
		if n != 1 || err != nil {
			t.Errorf("mptcp %t: %d destroyed, %v", multipath, n, err)
		}
		if err := broken(conn); err != unix.ECONNABORTED {
			t.Errorf("mptcp %t: %v, want %v", multipath, err, unix.ECONNABORTED)
		}
	}
}

func TestDestroyUDP(t *testing.T) {
	s, c := newSite(t), backend()
	dial := func(from, to string) *net.UDPConn {
		conn, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(from)), net.UDPAddrFromAddrPort(netip.MustParseAddrPort(to)))
		s.must(err)
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	listen, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.10:53")))
	s.must(err)
	defer listen.Close()
	mine := []*net.UDPConn{
		dial("192.0.2.10:1000", "198.51.100.1:9"),
		dial("[2001:db8::10]:1000", "[2001:db8:1::1]:9"),
	}
	others := []*net.UDPConn{
		dial("192.0.2.1:1000", "198.51.100.1:9"),
		dial("192.0.2.10:1001", "10.9.0.2:9"),
		dial("192.0.2.10:1002", "192.0.2.1:9"),
	}
	f := s.open(c)
	counts, err := f.Count(nil)
	s.must(err)
	for bucket, n := range counts {
		if n != 0 {
			t.Errorf("%d flows in bucket %d: UDP sockets do not count", n, bucket)
		}
	}
	n, err := f.Destroy(func(int) bool { return true })
	s.must(err)
	if n != len(mine) {
		t.Errorf("%d destroyed, want %d", n, len(mine))
	}
	for _, conn := range mine {
		if err := broken(conn); err != unix.ECONNABORTED {
			t.Errorf("%s: %v, want %v", conn.LocalAddr(), err, unix.ECONNABORTED)
		}
	}
	for _, conn := range others {
		if _, err := conn.Write(nil); err != nil {
			t.Errorf("%s to %s: %v", conn.LocalAddr(), conn.RemoteAddr(), err)
		}
	}
	if _, err := listen.WriteTo(nil, &net.UDPAddr{IP: net.ParseIP("198.51.100.1"), Port: 9}); err != nil {
		t.Errorf("the unconnected socket: %v", err)
	}
}

// total counts the flows in all buckets.
func (s *site) total(f *Flows) (n int) {
	s.Helper()
	counts, err := f.Count(nil)
	s.must(err)
	for _, in := range counts {
		n += in
	}
	return n
}

// A link-local client's address says nothing without its link.
func TestLinkLocalClients(t *testing.T) {
	s, c := newSite(t), backend()
	s.cable("eth3", s.peer, nil, nil)
	s.must(netns.Set(s.node))
	l, err := net.Listen("tcp6", ":80")
	s.must(err)
	defer l.Close()
	dial := func(link string) {
		var far net.Conn
		s.on(s.peer, func() {
			s.eventually("a connection by "+link, func() bool { // its address takes a moment
				own := linkLocal(link)
				d := net.Dialer{LocalAddr: own, Timeout: time.Second}
				var err error
				if own != nil {
					far, err = d.DialContext(t.Context(), "tcp", "[2001:db8::10]:80")
				}
				return own != nil && err == nil
			})
		})
		t.Cleanup(func() { far.Close() })
		s.accept(l)
	}
	dial("eth1")
	f := s.open(c)
	if n := s.total(f); n != 1 {
		t.Errorf("%d flows, want 1", n)
	}
	own, err := (&net.Dialer{LocalAddr: linkLocal("eth1")}).DialContext(t.Context(), "tcp", "[2001:db8::10]:80")
	s.must(err)
	defer own.Close()
	s.accept(l)
	if n := s.total(f); n != 1 {
		t.Errorf("%d flows, want 1: the host's own is none", n)
	}
	var gateway *net.TCPAddr
	s.eventually("the node has a link-local address", func() bool {
		gateway = linkLocal("eth3")
		return gateway != nil
	})
	s.on(s.peer, func() {
		s.must(netlink.RouteReplace(&netlink.Route{Dst: ipNet(netip.PrefixFrom(vip6, 128)), Gw: gateway.IP, LinkIndex: device(t, "eth3").Attrs().Index}))
	})
	dial("eth3") // no interface of the cluster
	if n := s.total(f); n != 1 {
		t.Errorf("%d flows, want 1 as before", n)
	}
}

// linkLocal returns an interface's link-local address, nil while it has none.
func linkLocal(link string) *net.TCPAddr {
	ifc, err := net.InterfaceByName(link)
	if err != nil {
		return nil
	}
	addresses, _ := ifc.Addrs()
	for _, a := range addresses {
		if ip := a.(*net.IPNet).IP; ip.IsLinkLocalUnicast() {
			return &net.TCPAddr{IP: ip, Zone: strconv.Itoa(ifc.Index)} // names are remembered across namespaces
		}
	}
	return nil
}

// The way to a client decides, as it is at the time, for packets from the
// cluster address.
func TestRoutesChange(t *testing.T) {
	s, c := newSite(t), backend()
	l, err := net.Listen("tcp", ":80")
	s.must(err)
	defer l.Close()
	s.dial(nth(clients4, 1), netip.AddrPortFrom(vip4, 80))
	s.accept(l)
	f := s.open(c)
	check := func(what string, want int) {
		t.Helper()
		if got := s.total(f); got != want {
			t.Errorf("%s: %d flows, want %d", what, got, want)
		}
	}
	check("at first", 1)
	away := &netlink.Route{Dst: ipNet(clients4), Gw: net.ParseIP("10.9.0.2")}
	s.must(netlink.RouteReplace(away))
	check("by another link", 0)
	s.must(netlink.RouteDel(away))
	check("without a route", 1)
	s.must(netlink.RouteAdd(away))
	check("by another link again", 0)
	back := &netlink.Route{Dst: ipNet(clients4), Gw: net.ParseIP("192.0.2.99"), Table: 100}
	s.must(netlink.RouteAdd(back))
	rule := netlink.NewRule()
	rule.Src, rule.Table, rule.Family = ipNet(netip.PrefixFrom(vip4, 32)), 100, unix.AF_INET
	s.must(netlink.RuleAdd(rule))
	check("by policy", 1)
	s.must(netlink.LinkSetDown(device(t, "eth1")))
	check("link down", 0) // by the main table's route, whichever way answers go now
	s.must(netlink.RouteDel(away))
	check("link down, no route", 1)
}

func device(t testing.TB, name string) netlink.Link {
	t.Helper()
	l, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return l
}
