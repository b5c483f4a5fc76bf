//go:build privileged

package transport

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/packet"
	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newNamespace makes a network namespace. The test's thread is locked and stays
// in its own.
func newNamespace(t testing.TB) netns.NsHandle {
	t.Helper()
	runtime.LockOSThread()
	old, err := netns.Get()
	must(t, err)
	ns, err := netns.New()
	if err != nil {
		t.Fatalf("make a network namespace (needs root): %v", err)
	}
	must(t, errors.Join(netns.Set(old), old.Close()))
	t.Cleanup(func() { ns.Close() })
	return ns
}

// enter puts the test's thread into a namespace, until the test ends.
func enter(t testing.TB, ns netns.NsHandle) {
	t.Helper()
	old, err := netns.Get()
	must(t, err)
	must(t, netns.Set(ns))
	t.Cleanup(func() {
		must(t, errors.Join(netns.Set(old), old.Close()))
	})
}

// within does something in another namespace.
func within(t testing.TB, ns netns.NsHandle, do func()) {
	t.Helper()
	old, err := netns.Get()
	must(t, err)
	must(t, netns.Set(ns))
	defer func() { must(t, errors.Join(netns.Set(old), old.Close())) }()
	do()
}

// link finds an interface.
func link(t testing.TB, name string) netlink.Link {
	t.Helper()
	l, err := netlink.LinkByName(name)
	must(t, err)
	return l
}

func up(t testing.TB, name string)   { t.Helper(); must(t, netlink.LinkSetUp(link(t, name))) }
func down(t testing.TB, name string) { t.Helper(); must(t, netlink.LinkSetDown(link(t, name))) }

// newPair makes a cable between two interfaces, both down.
func newPair(t testing.TB, near, far string) {
	t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = near
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: far}))
}

func addAddress(t testing.TB, name, address string) {
	t.Helper()
	p := netip.MustParsePrefix(address)
	must(t, netlink.AddrAdd(link(t, name), &netlink.Addr{Flags: unix.IFA_F_NODAD,
		IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}}))
}

// awaitSending waits until interfaces send what they are given: the kernel gets
// them ready a while after they have carrier, and so it does bridges' ports.
func awaitSending(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		for deadline := time.Now().Add(5 * time.Second); link(t, name).Attrs().OperState != netlink.OperUp; {
			if time.Now().After(deadline) {
				t.Fatalf("%s is %s", name, link(t, name).Attrs().OperState)
			}
		}
	}
}

// awaitReadable polls, as the heartbeat process does.
func awaitReadable(t testing.TB, fd int) {
	t.Helper()
	if !readable(t, fd, 5*time.Second) {
		t.Fatal("nothing came")
	}
}

func readable(t testing.TB, fd int, within time.Duration) bool {
	t.Helper()
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(within.Milliseconds()))
		if !errors.Is(err, unix.EINTR) {
			must(t, err)
			return n > 0
		}
	}
}

func openDirect(t testing.TB, name string) *Direct {
	t.Helper()
	d, err := OpenDirect(name)
	must(t, err)
	t.Cleanup(func() { d.Close() })
	return d
}

func awaitMessage(t testing.TB, d *Direct) []byte {
	t.Helper()
	for {
		if payload, _, ok := d.Next(); ok {
			return payload
		}
		awaitReadable(t, d.FD())
	}
}

// newStar makes a bridge with ports whose near ends are the given interfaces.
func newStar(t testing.TB, names ...string) {
	t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "bridge"
	must(t, netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}))
	up(t, "bridge")
	for _, name := range names {
		newPair(t, name, name+"-port")
		must(t, netlink.LinkSetMaster(link(t, name+"-port"), link(t, "bridge")))
		up(t, name+"-port")
		up(t, name)
		awaitSending(t, name, name+"-port")
	}
}

func TestDirect(t *testing.T) {
	enter(t, newNamespace(t))
	newStar(t, "one", "two", "three")
	one, two, three := openDirect(t, "one"), openDirect(t, "two"), openDirect(t, "three")
	for _, size := range []int{0, 1, 45, 46, 1000, MaxPayload} {
		payload, before := bytes.Repeat([]byte{0xa5}, size), now()
		must(t, one.Send(payload))
		awaitReadable(t, two.FD())
		got, arrived, ok := two.Next()
		if !ok || !bytes.Equal(got, payload) || arrived < before || arrived > now() {
			t.Errorf("%d bytes: %t, % x at %s, sent at %s", size, ok, got, arrived, before)
		}
		if got := awaitMessage(t, three); !bytes.Equal(got, payload) {
			t.Errorf("%d bytes: the third got % x", size, got)
		}
	}
	if got, _, ok := one.Next(); ok {
		t.Errorf("the sender got % x", got)
	}
	if err := one.Send(make([]byte, MaxPayload+1)); err != unix.EMSGSIZE {
		t.Errorf("one byte more: %v", err)
	}
}

// What others send to the group is no matter.
func TestDirectMalformed(t *testing.T) {
	enter(t, newNamespace(t))
	newStar(t, "one", "two")
	two := openDirect(t, "two")
	ifc, err := net.InterfaceByName("one")
	must(t, err)
	conn, err := packet.Listen(ifc, packet.Raw, etherDirect, nil)
	must(t, err)
	defer conn.Close()
	header := append(append(directMAC[:], ifc.HardwareAddr...), 0x88, 0xb5)
	for _, body := range []string{"", "\x00", "\x00\x02x", "\xff\xffxxxx", strings.Repeat("\x05\xdc", 1486/2), "\x00\x02ok filled up"} {
		_, err := conn.WriteTo(append(bytes.Clone(header), body...), &packet.Addr{HardwareAddr: directMAC[:]})
		must(t, err)
	}
	if got := awaitMessage(t, two); string(got) != "ok" {
		t.Errorf("got %q", got)
	}
	if got, _, ok := two.Next(); ok {
		t.Errorf("another: %q", got)
	}
}

func TestDirectNoGarbage(t *testing.T) {
	enter(t, newNamespace(t))
	newStar(t, "one", "two")
	one, two, payload, taken := openDirect(t, "one"), openDirect(t, "two"), make([]byte, 1000), 0
	poll := []unix.PollFd{{Fd: int32(two.FD()), Events: unix.POLLIN}}
	allocs := testing.AllocsPerRun(100, func() {
		one.Send(payload)
		unix.Poll(poll, 5000)
		for got, _, ok := two.Next(); ok; got, _, ok = two.Next() {
			taken += len(got)
		}
	})
	if allocs != 0 || taken != 101*len(payload) {
		t.Errorf("%v allocations, %d bytes", allocs, taken)
	}
}

var vip4 = netip.MustParseAddr("192.0.2.10")

func openSender(t testing.TB, ifname string) *Sender {
	t.Helper()
	s, err := OpenSender(cluster.Interface{Name: ifname, MAC: testTo, Addresses: []netip.Addr{vip4}}, addresses("192.0.2.2"))
	must(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

// Whoever sends can tell what is wrong, at no cost.
func TestSendErrors(t *testing.T) {
	enter(t, newNamespace(t))
	newStar(t, "one")
	addAddress(t, "one", "192.0.2.2/24")
	sender, direct, payload := openSender(t, "one"), openDirect(t, "one"), make([]byte, 1200)
	check := func(what string, want unix.Errno) {
		t.Helper()
		for name, send := range map[string]func([]byte) error{"sender": sender.Send, "direct": direct.Send} {
			if err := send(payload); !errors.Is(err, want) && (err != nil || want != 0) {
				t.Errorf("%s, %s: %v, want %v", what, name, err, want)
			}
			if allocs := testing.AllocsPerRun(100, func() { send(payload) }); allocs != 0 {
				t.Errorf("%s, %s: %v allocations", what, name, allocs)
			}
		}
	}
	check("up", 0)
	must(t, netlink.LinkSetMTU(link(t, "one"), 1000))
	check("MTU of 1000", unix.EMSGSIZE)
	must(t, netlink.LinkSetMTU(link(t, "one"), 1500))
	slow := netlink.QdiscAttrs{LinkIndex: link(t, "one").Attrs().Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT}
	// 1,000 bytes a second after a burst of two of them, of 64 ns each tick.
	must(t, netlink.QdiscAdd(&netlink.Tbf{QdiscAttrs: slow, Rate: 1000, Limit: 1500, Buffer: 2e9 / 64}))
	for range 5 {
		sender.Send(payload)
	}
	check("queue full", unix.ENOBUFS)
	must(t, netlink.QdiscDel(&netlink.Tbf{QdiscAttrs: slow}))
	check("queue back", 0)
	down(t, "one")
	check("down", unix.ENETDOWN)
	must(t, netlink.LinkDel(link(t, "one")))
	check("gone", unix.ENXIO)
	if got, _, ok := direct.Next(); ok {
		t.Errorf("got % x", got)
	}
	if readable(t, direct.FD(), 0) {
		t.Error("the poller of a dead socket is not let sleep")
	}
	if _, err := OpenSender(cluster.Interface{Name: "one"}, nil); err == nil || !strings.Contains(err.Error(), "look up interface one") {
		t.Errorf("open again: %v", err)
	}
	if _, err := OpenDirect("lo"); err == nil || !strings.Contains(err.Error(), "lo is not Ethernet") {
		t.Errorf("open lo: %v", err)
	}
}

// A host without a data plane that takes frames to the cluster MAC, and holds
// the cluster address, answers that nobody listens: that stops no sender.
func TestSendToNobody(t *testing.T) {
	near, far := newNamespace(t), newNamespace(t)
	enter(t, near)
	newPair(t, "one", "two")
	must(t, netlink.LinkSetNsFd(link(t, "two"), int(far)))
	addAddress(t, "one", "192.0.2.2/24")
	up(t, "one")
	within(t, far, func() {
		must(t, netlink.LinkSetHardwareAddr(link(t, "two"), testTo[:]))
		addAddress(t, "two", "192.0.2.10/24")
		up(t, "two")
		awaitSending(t, "two")
	})
	awaitSending(t, "one")
	ifc, err := net.InterfaceByName("one")
	must(t, err)
	conn, err := packet.Listen(ifc, packet.Raw, etherIPv4, nil)
	must(t, err)
	defer conn.Close()
	sender := openSender(t, "one")
	must(t, sender.Send([]byte("anyone?")))
	must(t, conn.SetReadDeadline(time.Now().Add(5*time.Second)))
	for buf := make([]byte, 2000); ; {
		n, _, err := conn.ReadFrom(buf)
		if err != nil {
			t.Fatalf("no answer: %v", err)
		}
		if n > 34 && buf[23] == protocolICMP && buf[34] == 3 { // destination unreachable
			break
		}
	}
	for range 3 {
		must(t, sender.Send([]byte("anyone?")))
	}
}
