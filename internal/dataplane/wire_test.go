//go:build privileged

package dataplane

import (
	"cmp"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/mdlayher/packet"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// wire is a cable in the test's namespace: the host's end is an interface that
// holds the cluster addresses, the other end is sent to and read from frame by
// frame.
type wire struct {
	t    testing.TB
	conn *packet.Conn
	host netlink.Link
}

func newWire(t testing.TB, mtu int) *wire {
	t.Helper()
	w := plug(t, "host", "cable", mtu)
	for _, f := range families {
		w.hold(f.vip)
		w.route(f.client)
	}
	w.awaitLocal(vip6)
	return w
}

// plug makes a cable between an interface of the host and the test.
func plug(t testing.TB, host, far string, mtu int) *wire {
	t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.HardwareAddr = host, mtu, ownMAC[:]
	w := &wire{t: t}
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: far, PeerMTU: uint32(mtu)}))
	var err error
	w.host, err = netlink.LinkByName(host)
	must(t, err)
	cable, err := net.InterfaceByName(far)
	must(t, err)
	link, err := netlink.LinkByName(far)
	must(t, err)
	sysctl(t, "ipv6/conf/"+far+"/disable_ipv6", "1") // nothing comes but what the test sends
	must(t, netlink.LinkSetUp(w.host))
	must(t, netlink.LinkSetUp(link))
	w.conn, err = packet.Listen(cable, packet.Raw, unix.ETH_P_ALL, nil)
	must(t, err)
	t.Cleanup(func() { w.conn.Close() })
	return w
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func single(a netip.Addr) *net.IPNet {
	return &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())}
}

// hold gives the host's end an address.
func (w *wire) hold(a netip.Addr) {
	w.t.Helper()
	must(w.t, netlink.AddrAdd(w.host, &netlink.Addr{IPNet: single(a), Flags: unix.IFA_F_NODAD}))
}

// route gives the host a way to an address at the far end.
func (w *wire) route(a netip.Addr) {
	w.t.Helper()
	index := w.host.Attrs().Index
	must(w.t, netlink.RouteAdd(&netlink.Route{LinkIndex: index, Dst: single(a), Scope: netlink.SCOPE_LINK}))
	must(w.t, netlink.NeighAdd(&netlink.Neigh{LinkIndex: index, IP: a.AsSlice(), HardwareAddr: clientMAC[:], State: netlink.NUD_PERMANENT}))
}

// awaitLocal waits until the host takes packets to an address: the kernel gets
// an IPv6 one ready in the background.
func (w *wire) awaitLocal(a netip.Addr) {
	w.t.Helper()
	for deadline := time.Now().Add(5 * time.Second); ; {
		routes, err := netlink.RouteGet(a.AsSlice())
		if err == nil && len(routes) == 1 && routes[0].Type == unix.RTN_LOCAL {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("%s is not there: %v, %v", a, routes, err)
		}
	}
}

func (w *wire) send(frame []byte) {
	w.t.Helper()
	_, err := w.conn.WriteTo(frame, &packet.Addr{HardwareAddr: frame[:6]})
	must(w.t, err)
}

// frame reads until a frame from the host fits.
func (w *wire) frame(what string, fits func(p gopacket.Packet) bool) gopacket.Packet {
	w.t.Helper()
	must(w.t, w.conn.SetReadDeadline(time.Now().Add(5*time.Second)))
	buf := make([]byte, 10000)
	for {
		n, _, err := w.conn.ReadFrom(buf)
		if err != nil {
			w.t.Fatalf("wait for %s: %v", what, err)
		}
		if p := gopacket.NewPacket(buf[:n], layers.LayerTypeEthernet, gopacket.Default); fits(p) {
			return p
		}
	}
}

// await reads until a TCP segment to the given port fits.
func (w *wire) await(port uint16, fits func(s *layers.TCP) bool) *layers.TCP {
	w.t.Helper()
	p := w.frame("a segment", func(p gopacket.Packet) bool {
		s, ok := p.Layer(layers.LayerTypeTCP).(*layers.TCP)
		return ok && uint16(s.DstPort) == port && fits(s)
	})
	return p.Layer(layers.LayerTypeTCP).(*layers.TCP)
}

// sysctl sets a value of the calling thread's network namespace.
func sysctl(t testing.TB, name, value string) {
	t.Helper()
	must(t, os.WriteFile("/proc/sys/net/"+name, []byte(value), 0o644))
}

// client is one TCP client at the far end of the wire, done by hand.
type client struct {
	*wire
	f          family
	port       uint16
	seq, acked uint32
}

const service = 80

func (c *client) frame(flags byte, seq, acked uint32) []byte {
	return eth(ownMAC, ip(c.f.client, c.f.vip, tcpWith(c.port, service, flags, seq, acked)))
}

// knock sends a SYN, with the number 1000 unless seq says another, and waits
// for what answers it.
func (c *client) knock() {
	c.t.Helper()
	c.seq = cmp.Or(c.seq, 1000)
	c.send(c.frame(syn, c.seq, 0))
	c.acked = c.await(c.port, func(s *layers.TCP) bool { return s.SYN && s.ACK }).Seq + 1
	c.seq++
}

// connect completes the handshake and returns the host's end of the connection.
func (c *client) connect(l net.Listener) net.Conn {
	c.t.Helper()
	c.knock()
	return c.connected(l)
}

// connected sends the last ACK of the handshake.
func (c *client) connected(l net.Listener) net.Conn {
	c.t.Helper()
	c.send(c.frame(ack, c.seq, c.acked))
	must(c.t, l.(*net.TCPListener).SetDeadline(time.Now().Add(5*time.Second)))
	conn, err := l.Accept()
	must(c.t, err)
	c.t.Cleanup(func() { conn.Close() })
	return conn
}

// part ends the connection, the host first: its end goes to TIME_WAIT.
func (c *client) part(conn net.Conn) {
	c.t.Helper()
	must(c.t, conn.Close())
	c.await(c.port, func(s *layers.TCP) bool { return s.FIN })
	c.acked++
	c.send(c.frame(fin|ack, c.seq, c.acked))
	c.seq++
	c.await(c.port, func(s *layers.TCP) bool { return s.ACK && s.Ack == c.seq })
}
