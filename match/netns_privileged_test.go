//go:build privileged

package match_test

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// enterNamespace moves the test into a new network namespace with its
// loopback up, and back at the end.
func enterNamespace(t *testing.T) netns.NsHandle {
	t.Helper()
	runtime.LockOSThread()
	old, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	ns, err := netns.New()
	if err != nil {
		t.Fatalf("make a network namespace (needs root): %v", err)
	}
	t.Cleanup(func() {
		if err := errors.Join(netns.Set(old), old.Close(), ns.Close()); err != nil {
			t.Error(err) // the thread stays locked, and ends with the test
			return
		}
		runtime.UnlockOSThread()
	})
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		t.Fatal(err)
	}
	return ns
}

// kernel is a network namespace in which every address is local, so that
// packets may come from any: what rules say of them is read from their mark.
type kernel struct {
	t      *testing.T
	family nftables.TableFamily
	conn   *nftables.Conn
	chain  *nftables.Chain
	socket int
	local  netip.Addr // of the socket
	port   uint16
}

func newKernel(t *testing.T, family nftables.TableFamily) *kernel {
	t.Helper()
	ns := enterNamespace(t)
	k := &kernel{t: t, family: family, local: netip.MustParseAddr("127.0.0.1"), port: 7}
	all := &net.IPNet{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}
	if family == nftables.TableFamilyIPv6 {
		k.local = netip.IPv6Loopback()
		all = &net.IPNet{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)}
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.RouteAdd(&netlink.Route{
		LinkIndex: lo.Attrs().Index, Dst: all, Table: unix.RT_TABLE_LOCAL,
		Type: unix.RTN_LOCAL, Scope: netlink.SCOPE_HOST,
	}); err != nil {
		t.Fatalf("make every address local: %v", err)
	}
	k.conn, err = nftables.New(nftables.WithNetNSFd(int(ns)))
	if err != nil {
		t.Fatal(err)
	}
	table := k.conn.AddTable(&nftables.Table{Family: family, Name: "shoal_match_test"})
	k.chain = k.conn.AddChain(&nftables.Chain{
		Table: table, Name: "prerouting", Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityMangle,
	})
	k.open()
	return k
}

func (k *kernel) open() {
	k.t.Helper()
	domain := unix.AF_INET
	if !k.local.Is4() {
		domain = unix.AF_INET6
	}
	var err error
	k.socket, err = unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(func() { unix.Close(k.socket) })
	err = errors.Join(
		unix.SetsockoptInt(k.socket, unix.SOL_SOCKET, unix.SO_RCVMARK, 1),
		unix.SetsockoptTimeval(k.socket, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5}),
		unix.Bind(k.socket, sockaddr(k.local, k.port)),
	)
	if err != nil {
		k.t.Fatalf("open a socket that reads marks: %v", err)
	}
}

func sockaddr(addr netip.Addr, port uint16) unix.Sockaddr {
	if addr.Is4() {
		return &unix.SockaddrInet4{Addr: addr.As4(), Port: int(port)}
	}
	return &unix.SockaddrInet6{Addr: addr.As16(), Port: int(port)}
}

// load replaces the rules.
func (k *kernel) load(rules [][]expr.Any) {
	k.t.Helper()
	k.conn.FlushChain(k.chain)
	for _, exprs := range rules {
		k.conn.AddRule(&nftables.Rule{Table: k.chain.Table, Chain: k.chain, Exprs: exprs})
	}
	if err := k.conn.Flush(); err != nil {
		k.t.Fatalf("load the rules: %v", err)
	}
}

// mark sends a UDP datagram from addr and port and returns its mark on arrival.
func (k *kernel) mark(addr netip.Addr, port uint16) uint32 {
	k.t.Helper()
	domain, level, option := unix.AF_INET, unix.SOL_IP, unix.IP_FREEBIND
	if !addr.Is4() {
		domain, level, option = unix.AF_INET6, unix.SOL_IPV6, unix.IPV6_FREEBIND
	}
	sender, err := unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		k.t.Fatal(err)
	}
	defer unix.Close(sender)
	err = unix.SetsockoptInt(sender, level, option, 1)
	if err == nil {
		err = unix.Bind(sender, sockaddr(addr, port))
	}
	if err == nil {
		err = unix.Sendto(sender, []byte{1}, 0, sockaddr(k.local, k.port))
	}
	if err != nil {
		k.t.Fatalf("send from %s port %d: %v", addr, port, err)
	}
	var data [1]byte
	control := make([]byte, 64)
	_, n, _, _, err := unix.Recvmsg(k.socket, data[:], control, 0)
	if err != nil {
		k.t.Fatalf("receive from %s: %v", addr, err)
	}
	messages, err := unix.ParseSocketControlMessage(control[:n])
	if err != nil {
		k.t.Fatal(err)
	}
	for _, m := range messages {
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SO_MARK {
			return binary.NativeEndian.Uint32(m.Data)
		}
	}
	k.t.Fatal("a datagram without a mark")
	return 0
}

// randomAddr returns an address that packets can come from: unicast, and
// neither of this host nor of a link only.
func (k *kernel) randomAddr(rnd *rand.Rand) netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], rnd.Uint64())
	binary.BigEndian.PutUint64(b[8:], rnd.Uint64())
	if !k.local.Is4() {
		b[0] = 0x20 | b[0]&0x1f // 2000::/3, RFC 4291
		return netip.AddrFrom16(b)
	}
	b[0] = 1 + b[0]%126
	return netip.AddrFrom4([4]byte(b[:4]))
}
