//go:build privileged

package netdev

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// A host is a network namespace without a name: it goes when the test ends.
type host struct{ ns netns.NsHandle }

// newHost makes a namespace and moves the test's thread into it. The thread
// ends with the test, so it never has to return.
func newHost(t *testing.T) host {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("privileged tests need root")
	}
	runtime.LockOSThread()
	ns, err := netns.New()
	if err != nil {
		t.Fatalf("make a network namespace: %v", err)
	}
	t.Cleanup(func() { ns.Close() })
	up(t, "lo")
	write(t, "net/ipv6/conf/default/accept_dad", "0") // saves a second
	return host{ns}
}

// on runs fn in the host's namespace.
func (h host) on(t *testing.T, fn func()) {
	t.Helper()
	before, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	defer before.Close()
	if err := netns.Set(h.ns); err != nil {
		t.Fatal(err)
	}
	defer netns.Set(before)
	fn()
}

// pair makes two hosts joined by a cable, eth1 on both, and goes to the first.
func pair(t *testing.T) (node, peer host) {
	t.Helper()
	peer, node = newHost(t), newHost(t)
	cable(t, node, "eth1", peer, "eth1")
	return node, peer
}

func cable(t *testing.T, a host, aName string, b host, bName string) {
	t.Helper()
	a.on(t, func() {
		err := netlink.LinkAdd(&netlink.Veth{
			LinkAttrs:     netlink.LinkAttrs{Name: aName, MTU: 1500},
			PeerName:      bName,
			PeerNamespace: netlink.NsFd(b.ns),
		})
		if err != nil {
			t.Fatalf("add %s: %v", aName, err)
		}
		up(t, aName)
	})
	b.on(t, func() { up(t, bName) })
	// The kernel notices the carrier, and gives the ends their link-local
	// addresses, in its own time.
	a.on(t, func() { ready(t, aName) })
	b.on(t, func() { ready(t, bName) })
}

func ready(t *testing.T, name string) {
	t.Helper()
	link := info(t, name)
	eventually(t, name+" has a link-local address", func() bool {
		_, err := ownAddress(link, nil, false)
		return err == nil
	})
}

func device(t *testing.T, name string) netlink.Link {
	t.Helper()
	l, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatalf("look up %s: %v", name, err)
	}
	return l
}

func up(t *testing.T, name string) {
	t.Helper()
	if err := netlink.LinkSetUp(device(t, name)); err != nil {
		t.Fatalf("set %s up: %v", name, err)
	}
}

func info(t *testing.T, name string) LinkInfo {
	t.Helper()
	l, err := Link(name)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// own gives an interface an address as an administrator would.
func own(t *testing.T, name, prefix string) {
	t.Helper()
	a, err := netlink.ParseAddr(prefix)
	if err != nil {
		t.Fatal(err)
	}
	if a.IP.To4() == nil {
		a.Flags = unix.IFA_F_NODAD // else it is no source for a moment
	}
	if err := netlink.AddrAdd(device(t, name), a); err != nil {
		t.Fatalf("add %s to %s: %v", prefix, name, err)
	}
}

func route(t *testing.T, prefix, via string) {
	t.Helper()
	_, dst, err := net.ParseCIDR(prefix)
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.RouteAdd(&netlink.Route{Dst: dst, Gw: net.ParseIP(via)}); err != nil {
		t.Fatalf("route %s via %s: %v", prefix, via, err)
	}
}

func add(t *testing.T, name, addr string) {
	t.Helper()
	if _, err := AddAddress(device(t, name).Attrs().Index, netip.MustParseAddr(addr)); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, key string) string {
	t.Helper()
	value, err := readSysctl(key)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func write(t *testing.T, key, value string) {
	t.Helper()
	if err := writeFile(key, value); err != nil {
		t.Fatal(err)
	}
}

// eventually waits for what the kernel tells nobody about.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 5 s: %s", what)
		}
	}
}

// A tap receives all frames that arrive at an interface.
type tap struct{ fd int }

func newTap(t *testing.T, name string) tap {
	t.Helper()
	all := binary.NativeEndian.Uint16([]byte{0, unix.ETH_P_ALL})
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		t.Cleanup(func() { unix.Close(fd) })
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: device(t, name).Attrs().Index})
	}
	if err == nil {
		err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5})
	}
	if err != nil {
		t.Fatalf("capture on %s: %v", name, err)
	}
	return tap{fd}
}

// wait returns the first frame that fits.
func (c tap) wait(t *testing.T, what string, fits func(frame []byte) bool) []byte {
	t.Helper()
	buf := make([]byte, 2048)
	for {
		n, _, err := unix.Recvfrom(c.fd, buf, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			t.Fatalf("no frame arrived that is %s: %v", what, err)
		}
		if fits(buf[:n]) {
			return buf[:n]
		}
	}
}

// echo answers UDP datagrams to addr until the test ends.
func echo(t *testing.T, addr string) {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(addr)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	go func() {
		buf := make([]byte, 100)
		for {
			n, from, err := c.ReadFromUDP(buf)
			if err != nil {
				return
			}
			c.WriteToUDP(buf[:n], from)
		}
	}()
}

// ask sends a datagram to addr and says whether it was echoed in time.
func ask(t *testing.T, addr string, patience time.Duration) bool {
	t.Helper()
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(addr)))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	_, err = c.Read(make([]byte, 100))
	return err == nil
}

// checkEcho fails the test where an address does not echo.
func checkEcho(t *testing.T, addrs ...string) {
	t.Helper()
	for _, addr := range addrs {
		if !ask(t, addr, 5*time.Second) {
			t.Errorf("%s does not answer", addr)
		}
	}
}
