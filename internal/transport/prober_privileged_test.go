//go:build privileged

package transport

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/mdlayher/packet"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// probed is a host on the far end of the cable "one".
type probed struct{ far netns.NsHandle }

func newProbed(t testing.TB) probed {
	t.Helper()
	near, far := newNamespace(t), newNamespace(t)
	enter(t, near)
	newPair(t, "one", "two")
	must(t, netlink.LinkSetNsFd(link(t, "two"), int(far)))
	addAddress(t, "one", "192.0.2.2/24")
	addAddress(t, "one", "2001:db8::2/64")
	addAddress(t, "one", "fe80::2/64")
	up(t, "one")
	within(t, far, func() {
		addAddress(t, "two", "192.0.2.1/24")
		addAddress(t, "two", "2001:db8::1/64")
		addAddress(t, "two", "fe80::1/64")
		up(t, "two")
		awaitSending(t, "two")
	})
	awaitSending(t, "one")
	return probed{far}
}

// probers are all kinds, towards the host and towards nobody.
var probers = []struct {
	name         string
	open         func(target netip.Addr) (*Prober, error)
	host, nobody string
}{
	{"arp", onOne, "192.0.2.1", "192.0.2.99"},
	{"arp without an address of that subnet", onOne, "198.51.100.1", "198.51.100.99"},
	{"nd", onOne, "2001:db8::1", "2001:db8::99"},
	{"nd link-local", onOne, "fe80::1", "fe80::99"},
	{"echo v4", OpenEchoProber, "192.0.2.1", "192.0.2.99"},
	{"echo v6", OpenEchoProber, "2001:db8::1", "2001:db8::99"},
}

// openProber opens a prober towards a host that is there, once it answers: the
// kernel gets IPv6 addresses ready in the background.
func openProber(t testing.TB, open func(netip.Addr) (*Prober, error), target string) *Prober {
	t.Helper()
	p, err := open(netip.MustParseAddr(target))
	must(t, err)
	t.Cleanup(func() { p.Close() })
	for deadline := now() + 5*time.Second; ; {
		err := p.Probe() // echo finds no source address until there is one
		if err == nil && readable(t, p.FD(), 20*time.Millisecond) && p.Answered() {
			return p
		}
		if now() > deadline {
			t.Fatalf("%s does not answer: %v", target, err)
		}
	}
}

func onOne(target netip.Addr) (*Prober, error) { return OpenNeighbourProber("one", target) }

func TestProber(t *testing.T) {
	for _, tt := range probers {
		t.Run(tt.name, func(t *testing.T) {
			host := newProbed(t)
			within(t, host.far, func() { addAddress(t, "two", "198.51.100.1/24") })
			p := openProber(t, tt.open, tt.host)
			nobody, err := tt.open(netip.MustParseAddr(tt.nobody))
			must(t, err)
			defer nobody.Close()
			for range 3 {
				must(t, p.Probe())
				awaitReadable(t, p.FD())
				if !p.Answered() {
					t.Error("not answered")
				}
				if p.Answered() {
					t.Error("answered twice")
				}
			}
			must(t, nobody.Probe())
			// The host has answered all that was asked before this.
			must(t, p.Probe())
			awaitReadable(t, p.FD())
			if nobody.Answered() {
				t.Error("nobody answered")
			}
			within(t, host.far, func() { down(t, "two") })
			p.Probe() // may fail at once: no carrier
			if readable(t, p.FD(), 50*time.Millisecond) && p.Answered() {
				t.Error("answered by a host that is down")
			}
			if allocs := testing.AllocsPerRun(100, func() { p.Probe(); p.Answered() }); allocs != 0 {
				t.Errorf("%v allocations", allocs)
			}
		})
	}
}

// An answer to what was asked before is none to what is asked now, where that
// can be told, and nothing that comes unasked is.
func TestProberUnasked(t *testing.T) {
	for _, tt := range probers {
		t.Run(tt.name, func(t *testing.T) {
			host := newProbed(t)
			within(t, host.far, func() { addAddress(t, "two", "198.51.100.1/24") })
			p := openProber(t, tt.open, tt.host)
			must(t, p.Probe())
			awaitReadable(t, p.FD())
			must(t, p.Probe()) // the first answer goes unseen
			awaitReadable(t, p.FD())
			if !p.Answered() || p.Answered() {
				t.Error("not answered once")
			}
			must(t, p.send(p.message)) // an answer comes to what Probe has not asked
			awaitReadable(t, p.FD())
			if p.Answered() {
				t.Error("answered unasked")
			}
		})
	}
}

// What a host sends to everybody, or to another, wakes nobody and shows nothing.
func TestProberFilter(t *testing.T) {
	host := newProbed(t)
	within(t, host.far, func() { must(t, netlink.LinkSetARPOff(link(t, "two"))) }) // the kernel there says nothing
	p, err := onOne(netip.MustParseAddr("192.0.2.1"))
	must(t, err)
	defer p.Close()
	must(t, p.Probe())
	own := link(t, "one").Attrs().HardwareAddr
	var conn *packet.Conn
	within(t, host.far, func() {
		ifc, err := net.InterfaceByName("two")
		must(t, err)
		conn, err = packet.Listen(ifc, packet.Raw, unix.ETH_P_ARP, nil)
		must(t, err)
	})
	defer conn.Close()
	frame := func(to net.HardwareAddr, operation byte, sender string) []byte {
		b := append(append([]byte(nil), to...), 2, 0, 0, 0, 0, 9, 8, 6, 0, 1, 8, 0, 6, 4, 0, operation, 2, 0, 0, 0, 0, 9)
		b = append(b, netip.MustParseAddr(sender).AsSlice()...)
		return append(append(b, own...), 192, 0, 2, 2)
	}
	send := func(b []byte) {
		_, err := conn.WriteTo(b, &packet.Addr{HardwareAddr: b[:6]})
		must(t, err)
	}
	broadcast := net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	send(frame(broadcast, 2, "192.0.2.1"))
	send(frame(broadcast, 1, "192.0.2.1"))
	send(frame(own, 1, "192.0.2.1"))
	send(frame(own, 2, "192.0.2.3"))
	send(frame(own, 2, "192.0.2.1")[:30])
	if readable(t, p.FD(), 0) {
		t.Error("woken for nothing") // veth delivers before WriteTo returns, or the next line fails
	}
	send(frame(own, 2, "192.0.2.1"))
	awaitReadable(t, p.FD())
	if n, errno := p.receive(p.in[:]); n != 42 || errno != 0 || p.in[21] != 2 || p.in[31] != 1 {
		t.Errorf("got % x, %v", p.in[:max(n, 0)], errno)
	}
	if p.Answered() {
		t.Error("something else came, too")
	}
}
