//go:build privileged

package dataplane

import (
	"fmt"
	"net"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket/layers"
	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// server is a way to serve the cluster address, on the node whose namespace the
// calling thread is in.
type server struct {
	name  string
	serve func(t testing.TB, f family, n int) net.Listener
}

var servers = []server{
	{"one socket for both families", func(t testing.TB, _ family, _ int) net.Listener { return listenOn(t, "tcp", "", service) }},
	{"a socket for each family", func(t testing.TB, f family, _ int) net.Listener {
		return listenOn(t, tcpOf(f), "", service)
	}},
	{"container", container},
	{"container, and a proxy on the host", func(t testing.TB, f family, n int) net.Listener {
		listenOn(t, tcpOf(f), "", service) // as container runtimes have it, for what does not go through the translation
		return container(t, f, n)
	}},
}

func tcpOf(f family) string {
	if f.v6 {
		return "tcp6"
	}
	return "tcp4"
}

func listenOn(t testing.TB, network, host string, port int) net.Listener {
	t.Helper()
	l, err := net.Listen(network, net.JoinHostPort(host, fmt.Sprint(port)))
	must(t, err)
	t.Cleanup(func() { l.Close() })
	return l
}

const containerPort = 8080

// container makes a service in a namespace of its own behind the node, which
// translates the cluster address into the container's. The addresses are the
// n-th: one kernel begins connections of equal ends with nearly equal numbers,
// which two hosts do not.
func container(t testing.TB, f family, n int) net.Listener {
	t.Helper()
	node, err := netns.Get()
	must(t, err)
	defer node.Close()
	gateway, inside, iptables := netip.MustParsePrefix(fmt.Sprintf("10.9.%d.1/24", n)), netip.MustParsePrefix(fmt.Sprintf("10.9.%d.2/24", n)), "iptables"
	if f.v6 {
		gateway, inside, iptables = netip.MustParsePrefix(fmt.Sprintf("fd09:%d::1/64", n)), netip.MustParsePrefix(fmt.Sprintf("fd09:%d::2/64", n)), "ip6tables"
	}
	to := netip.AddrPortFrom(inside.Addr(), containerPort).String()
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "inside"}, PeerName: "eth0"}))
	addAddress(t, "inside", gateway)
	forward(t)
	run(t, "", iptables, "-t", "nat", "-A", "PREROUTING", "-d", f.vip.String(), "-p", "tcp", "--dport", fmt.Sprint(service), "-j", "DNAT", "--to-destination", to)
	far, err := netlink.LinkByName("eth0")
	must(t, err)
	ns, err := netns.New() // the thread is in it now
	must(t, err)
	t.Cleanup(func() { ns.Close() })
	defer func() { must(t, netns.Set(node)) }()
	must(t, netns.Set(node))
	must(t, netlink.LinkSetNsFd(far, int(ns)))
	must(t, netns.Set(ns))
	addAddress(t, "eth0", inside)
	must(t, netlink.RouteAdd(&netlink.Route{Gw: gateway.Addr().AsSlice()}))
	sysctl(t, "ipv4/tcp_syncookies", "0")
	return listenOn(t, tcpOf(f), "", containerPort)
}

func addAddress(t testing.TB, link string, a netip.Prefix) {
	t.Helper()
	l, err := netlink.LinkByName(link)
	must(t, err)
	ipnet := &net.IPNet{IP: a.Addr().AsSlice(), Mask: net.CIDRMask(a.Bits(), a.Addr().BitLen())}
	must(t, netlink.AddrAdd(l, &netlink.Addr{IPNet: ipnet, Flags: unix.IFA_F_NODAD}))
	must(t, netlink.LinkSetUp(l))
}

// Whatever connections the nodes of a moving bucket have, one of them takes each
// segment, and the right one.
func TestBackendsTCP(t *testing.T) {
	for _, s := range servers {
		for _, f := range families {
			t.Run(s.name+" "+f.name, func(t *testing.T) {
				tw := newTwins(t, setup{})
				b := backends{twins: tw, f: f}
				tw.old.in(func() { b.atOld = s.serve(t, f, 1) })
				tw.new.in(func() { b.atNew = s.serve(t, f, 2) })
				b.established(4001)
				b.requests(4002)
				b.timeWait(4003)
				b.simultaneous(4004)
				b.halfClosed(4006)
				b.unknown(4007)
			})
		}
	}
}

// An end in TIME_WAIT says nothing to the connection that comes after it: the
// first that leaves the old owner is the answer to what is its own.
func TestSilentTimeWait(t *testing.T) {
	for _, mode := range modes {
		for _, f := range families {
			t.Run(mode.String()+" "+f.name, func(t *testing.T) {
				n := newNode(t, "old", setup{})
				l := listenOn(t, "tcp", "", service)
				c := &client{wire: n.wires[0], f: f, port: 4001}
				c.part(c.connect(l))
				attachRig(t, n.rigs[0], mode, n.wires[0].host.Attrs().Index)
				n.become(Draining)
				for _, frame := range [][]byte{
					c.to(syn, c.seq+100000, 0), c.to(ack, c.seq+100001, c.acked+100001), c.to(rst, c.seq+100001, 0), // of another
					c.to(fin|ack, c.seq-1, c.acked), // sent again
				} {
					n.wires[0].send(frame)
				}
				if s := c.await(c.port, func(*layers.TCP) bool { return true }); !s.ACK || s.Ack != c.seq || s.RST {
					t.Errorf("%+v left the old owner", s)
				}
			})
		}
	}
}

// backends are twins with a service each.
type backends struct {
	*twins
	f            family
	atOld, atNew net.Listener
}

func (b backends) client(n *node, port uint16, seq uint32) *client {
	return &client{wire: n.wires[cluster.ClientSide], f: b.f, port: port, seq: seq}
}

// takes checks frames of a client.
func (b backends) takes(want expect, what string, frames ...[]byte) {
	b.t.Helper()
	for i, frame := range frames {
		b.check(fmt.Sprintf("%s (%d)", what, i), cluster.ClientSide, frame, want)
	}
}

// reopen connects the client of a port to the new owner, with its SYN going
// through both nodes. Before the last ACK the frames of meanwhile are checked.
func (b backends) reopen(port uint16, seq uint32, meanwhile func(c *client)) *client {
	b.t.Helper()
	c := b.client(b.new, port, seq)
	b.takes(theNew, "syn", c.to(syn, seq, 0))
	c.knock()
	meanwhile(c)
	b.takes(theNew, "last ack", c.to(ack, c.seq, c.acked), c.to(psh|ack, c.seq, c.acked), c.about(c.acked-1))
	c.connected(b.atNew)
	b.takes(theNew, "established at the new owner", c.to(ack, c.seq, c.acked), c.to(fin|ack, c.seq, c.acked),
		c.to(rst, c.seq, 0), c.to(rst|ack, c.seq, c.acked), c.about(c.acked-1))
	return c
}

// established: a connection stays, also when somebody sends a SYN in its name;
// and a client that has forgotten it gets a new one.
func (b backends) established(port uint16) {
	b.t.Helper()
	c := b.client(b.old, port, 1000)
	c.connect(b.atOld)
	stays := func(when string) {
		b.t.Helper()
		b.takes(theOld, when, c.to(ack, c.seq, c.acked), c.to(psh|ack, c.seq+5000, c.acked), c.to(fin|ack, c.seq, c.acked),
			c.to(rst, c.seq, 0), c.to(rst|ack, c.seq, c.acked), c.about(c.acked-1))
	}
	stays("established")
	b.reopen(port, 0x70000000, func(*client) { stays("established, and a SYN came") })
	stays("established, and opened again")
}

// requests: a SYN that comes to both nodes makes two requests.
func (b backends) requests(port uint16) {
	b.t.Helper()
	c := b.client(b.old, port, 1000)
	c.knock()
	b.takes(theOld, "request", c.to(ack, c.seq, c.acked), c.to(psh|ack, c.seq, c.acked), c.about(c.acked-1))
	b.takes(nobody, "request, other number", c.to(ack, c.seq, c.acked+1), c.to(rst, c.seq+1, 0), c.about(c.acked))
	again := b.client(b.new, port, 1000)
	b.takes(theNew, "syn again", c.to(syn, 1000, 0))
	again.knock()
	if again.acked == c.acked {
		b.t.Fatal("both nodes chose one number")
	}
	b.takes(theOld, "two requests, ack of the old one's", c.to(ack, c.seq, c.acked), c.about(c.acked-1))
	b.takes(theNew, "two requests, ack of the new one's", again.to(ack, c.seq, again.acked), again.about(again.acked-1))
	b.takes(theNew, "two requests, reset", c.to(rst, c.seq, 0))
	b.takes(nobody, "two requests, other ack", c.to(ack, c.seq, c.acked+7))
	c.connected(b.atOld)
	b.takes(theOld, "the old one's taken up", c.to(ack, c.seq, c.acked), c.to(fin|ack, c.seq, c.acked))
}

// timeWait: what is left of a connection answers for it, and is in nobody's way.
// The bucket moves back while the new connection lives.
func (b backends) timeWait(port uint16) {
	b.t.Helper()
	c := b.client(b.old, port, 1000)
	c.part(c.connect(b.atOld))
	rest := func() {
		b.t.Helper()
		b.takes(theOld, "time wait", c.to(fin|ack, c.seq-1, c.acked), c.to(ack, c.seq, c.acked), c.about(c.acked-1))
	}
	rest()
	again := b.reopen(port, c.seq+100000, func(*client) { rest() })
	rest()
	b.moveBack()
	b.takes(theOld, "moved back", again.to(ack, again.seq, again.acked), again.to(fin|ack, again.seq, again.acked), again.to(rst, again.seq, 0))
	b.takes(theNew, "moved back, syn", c.to(syn, c.seq+200000, 0))
	b.takes(nobody, "moved back, other ack", c.to(ack, again.seq, again.acked+1<<30))
	b.moveBack()
}

// closed is a client whose connection the old owner has closed, which it has not
// confirmed.
func (b backends) closed(port uint16) *client {
	b.t.Helper()
	c := b.client(b.old, port, 1000)
	must(b.t, c.connect(b.atOld).Close())
	c.await(c.port, func(s *layers.TCP) bool { return s.FIN })
	return c
}

// simultaneous: both ends send a FIN before they have the other's, and a reset
// crosses a FIN.
func (b backends) simultaneous(port uint16) {
	b.t.Helper()
	c := b.closed(port)
	b.pass("fin crosses fin", cluster.ClientSide, c.to(fin|ack, c.seq, c.acked), theOld)
	c.seq++
	c.await(c.port, func(s *layers.TCP) bool { return s.ACK && s.Ack == c.seq })
	c.acked++
	b.pass("ack of the fin", cluster.ClientSide, c.to(ack, c.seq, c.acked), theOld)
	b.takes(theOld, "after both fins", c.to(fin|ack, c.seq-1, c.acked), c.to(ack, c.seq, c.acked))

	c = b.closed(port + 1)
	b.takes(theOld, "reset crosses fin", c.to(rst, c.seq, 0), c.to(rst|ack, c.seq, c.acked))
}

// halfClosed: the host has closed, the client has not.
func (b backends) halfClosed(port uint16) {
	b.t.Helper()
	c := b.closed(port)
	c.acked++
	b.pass("ack of the fin", cluster.ClientSide, c.to(ack, c.seq, c.acked), theOld)
	b.takes(theOld, "half closed", c.to(ack, c.seq, c.acked), c.to(psh|ack, c.seq, c.acked), c.to(fin|ack, c.seq, c.acked), c.to(rst, c.seq, 0))
	b.reopen(port, 0x60000000, func(*client) { b.takes(theOld, "half closed, and a SYN came", c.to(fin|ack, c.seq, c.acked)) })
}

// unknown: a flow of neither, and one that opens.
func (b backends) unknown(port uint16) {
	b.t.Helper()
	c := b.client(b.new, port, 1000)
	b.takes(nobody, "unknown", c.to(ack, 1, 1), c.to(fin|ack, 1, 1), c.to(rst, 1, 0), c.to(syn|ack, 1, 1), c.about(1))
	b.reopen(port, 1000, func(*client) {})
}
