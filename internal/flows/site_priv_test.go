//go:build privileged

package flows

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/match"
)

// The addresses of the tests. Clients live behind the peer, which has whole
// networks of them; another link of the node leads to a container.
var (
	vip4, vip6             = netip.MustParseAddr("192.0.2.10"), netip.MustParseAddr("2001:db8::10")
	own4                   = netip.MustParseAddr("192.0.2.1")
	clients4, clients6     = netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("2001:db8:1::/64")
	silent4, silent6       = netip.MustParsePrefix("198.51.101.0/24"), netip.MustParsePrefix("2001:db8:2::/64")
	container4, container6 = netip.MustParseAddr("10.9.0.2"), netip.MustParseAddr("2001:db8:9::2")
)

// site is a node, whose namespace the test's thread is in, a peer with clients
// on the cluster's link eth1, and a container on eth2.
type site struct {
	testing.TB
	node, peer, container netns.NsHandle
}

func newSite(t testing.TB) *site {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("privileged tests need root")
	}
	runtime.LockOSThread() // never unlocked: the thread, and the namespaces, end with the test
	s := &site{TB: t}
	for _, ns := range []*netns.NsHandle{&s.peer, &s.container, &s.node} {
		*ns = s.namespace()
	}
	s.cable("eth1", s.peer, []string{"192.0.2.1/24", "2001:db8::1/64"}, []string{"192.0.2.99/24", "2001:db8::99/64"})
	s.cable("eth2", s.container, []string{"10.9.0.1/24", "2001:db8:9::1/64"}, []string{"10.9.0.2/24", "2001:db8:9::2/64"})
	s.address("eth1", vip4.String()+"/32")
	s.address("eth1", vip6.String()+"/128")
	for _, prefix := range []netip.Prefix{clients4, clients6, silent4, silent6} {
		via := "192.0.2.99"
		if prefix.Addr().Is6() {
			via = "2001:db8::99"
		}
		s.must(netlink.RouteAdd(&netlink.Route{Dst: ipNet(prefix), Gw: net.ParseIP(via)}))
		s.on(s.peer, func() { s.must(netlink.RouteAdd(s.clients(prefix))) })
	}
	s.on(s.container, func() {
		s.must(netlink.RouteAdd(&netlink.Route{Dst: ipNet(netip.MustParsePrefix("0.0.0.0/0")), Gw: net.ParseIP("10.9.0.1")}))
		s.must(netlink.RouteAdd(&netlink.Route{Dst: ipNet(netip.MustParsePrefix("::/0")), Gw: net.ParseIP("2001:db8:9::1")}))
	})
	return s
}

func (s *site) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *site) namespace() netns.NsHandle {
	s.Helper()
	ns, err := netns.New()
	s.must(err)
	s.Cleanup(func() { ns.Close() })
	s.up("lo")
	for key, value := range map[string]string{
		"ipv6/conf/default/accept_dad": "0", "ipv4/ip_nonlocal_bind": "1", "ipv6/ip_nonlocal_bind": "1",
	} {
		s.sysctl(key, value)
	}
	return ns
}

func (s *site) sysctl(key, value string) {
	s.Helper()
	s.must(os.WriteFile("/proc/sys/net/"+key, []byte(value), 0))
}

func (s *site) on(ns netns.NsHandle, fn func()) {
	s.Helper()
	s.must(netns.Set(ns))
	defer netns.Set(s.node)
	fn()
}

// cable joins the node with another namespace; both call the link the same.
func (s *site) cable(name string, to netns.NsHandle, here, there []string) {
	s.Helper()
	s.must(netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: name, PeerNamespace: netlink.NsFd(to)}))
	configure := func(addresses []string) {
		s.up(name)
		for _, a := range addresses {
			s.address(name, a)
		}
	}
	s.on(to, func() { configure(there) })
	configure(here)
}

func (s *site) up(name string) {
	s.Helper()
	link, err := netlink.LinkByName(name)
	s.must(err)
	s.must(netlink.LinkSetUp(link))
}

func (s *site) address(name, prefix string) {
	s.Helper()
	link, err := netlink.LinkByName(name)
	s.must(err)
	a, err := netlink.ParseAddr(prefix)
	s.must(err)
	if a.IP.To4() == nil {
		a.Flags = unix.IFA_F_NODAD
	}
	s.must(netlink.AddrAdd(link, a))
	// The kernel takes IPv6 addresses into service from a work queue.
	s.eventually(prefix+" is in service", func() bool {
		routes, err := netlink.RouteGet(a.IP)
		return err == nil && len(routes) == 1 && routes[0].Type == unix.RTN_LOCAL
	})
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// clients is the route by which the peer is all of a network.
func (s *site) clients(p netip.Prefix) *netlink.Route {
	return &netlink.Route{Dst: ipNet(p), LinkIndex: 1, Type: unix.RTN_LOCAL, Table: unix.RT_TABLE_LOCAL, Scope: netlink.SCOPE_HOST}
}

// silence takes the silent networks away from the peer: nothing comes back from
// there any more.
func (s *site) silence() {
	s.Helper()
	s.on(s.peer, func() {
		s.must(netlink.RouteDel(s.clients(silent4)))
		s.must(netlink.RouteDel(s.clients(silent6)))
	})
}

// nft loads rules into the node.
func (s *site) nft(rules string) {
	s.Helper()
	cmd := exec.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(rules)
	if out, err := cmd.CombinedOutput(); err != nil {
		s.Fatalf("nft: %v\n%s", err, out)
	}
}

// eventually waits for what the kernel does in its own time.
func (s *site) eventually(what string, ok func() bool) {
	s.Helper()
	for deadline := time.Now().Add(5 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			s.Fatalf("not in 5 s: %s", what)
		}
	}
}

func backend() *cluster.Cluster {
	return &cluster.Cluster{
		Hash:       cluster.Hash{Seed: 7, Buckets: 64},
		Interfaces: []cluster.Interface{{Name: "eth1", Addresses: []netip.Addr{vip4, vip6}}},
	}
}

func (s *site) open(c *cluster.Cluster) *Flows {
	s.Helper()
	f, err := Open(c)
	s.must(err)
	s.Cleanup(func() { f.Close() })
	return f
}

// nth is the n-th address of a network.
func nth(p netip.Prefix, n int) netip.Addr {
	a := p.Addr()
	for range n {
		a = a.Next()
	}
	return a
}

// bucketOf is the bucket of a client by the seed's words alone.
func bucketOf(c *cluster.Cluster, client netip.Addr) int {
	return match.Bucket(match.Hash{Seed: c.Hash.Seed}.Client(client), c.Hash.Buckets)
}

// dial connects to the node, from a client's address.
func (s *site) dial(from netip.Addr, to netip.AddrPort) *net.TCPConn {
	s.Helper()
	var conn net.Conn
	s.on(s.peer, func() {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: from.AsSlice()}, Timeout: 5 * time.Second}
		d.SetMultipathTCP(false)
		var err error
		conn, err = d.DialContext(s.Context(), "tcp", to.String())
		s.must(err)
	})
	s.Cleanup(func() { conn.Close() })
	return conn.(*net.TCPConn)
}

func (s *site) accept(l net.Listener) *net.TCPConn {
	s.Helper()
	l.(*net.TCPListener).SetDeadline(time.Now().Add(5 * time.Second))
	conn, err := l.Accept()
	s.must(err)
	s.Cleanup(func() { conn.Close() })
	return conn.(*net.TCPConn)
}

// alive says whether what one end says arrives at the other.
func alive(a, b net.Conn) bool {
	b.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := a.Write([]byte("x")); err != nil {
		return false
	}
	n, err := b.Read(make([]byte, 1))
	return n == 1 && err == nil
}

// broken is the error that a destroyed socket gives its program.
func broken(c net.Conn) error {
	c.SetReadDeadline(time.Now().Add(5 * time.Second))
	_, err := c.Read(make([]byte, 1))
	var sys *os.SyscallError
	if errors.As(err, &sys) {
		return sys.Err
	}
	return err
}
