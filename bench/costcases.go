package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/gopacket/gopacket/layers"
	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/internal/dataplane"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// client is one client of each family whose buckets are in one state.
type client struct{ v4, v6 netip.Addr }

func (c client) pick(v6 bool) netip.Addr {
	if v6 {
		return c.v6
	}
	return c.v4
}

var (
	foreignClient   = client{netip.MustParseAddr("198.18.0.1"), netip.MustParseAddr("2001:db8:1::1")}
	ownedClient     = client{netip.MustParseAddr("198.18.0.2"), netip.MustParseAddr("2001:db8:1::2")}
	udpClient       = client{netip.MustParseAddr("198.18.0.5"), netip.MustParseAddr("2001:db8:1::5")}
	ownedUDP        = client{netip.MustParseAddr("198.18.0.7"), netip.MustParseAddr("2001:db8:1::7")}
	drainingUDP     = client{netip.MustParseAddr("198.18.0.6"), netip.MustParseAddr("2001:db8:1::6")}
	drainingClient  = client{netip.MustParseAddr("198.18.0.3"), netip.MustParseAddr("2001:db8:1::3")}
	acquiringClient = client{netip.MustParseAddr("198.18.0.4"), netip.MustParseAddr("2001:db8:1::4")}
	drainingDNAT    = client{netip.MustParseAddr("198.18.0.8"), netip.MustParseAddr("2001:db8:1::8")}
	drainingOther   = client{netip.MustParseAddr("198.18.0.9"), netip.MustParseAddr("2001:db8:1::9")} // another node's flow
	acquiringOther  = client{netip.MustParseAddr("198.18.0.10"), netip.MustParseAddr("2001:db8:1::a")}
)

// costBuilder collects cases, and what to close after them.
type costBuilder struct {
	cases   []costCase
	closers []func() error
	flows   map[netip.Addr]packet // a TCP flow of each client that this host has
}

func (b *costBuilder) close() {
	for _, c := range b.closers {
		_ = c() // the process ends soon, and with it all that it holds
	}
}

func (b *costBuilder) add(c costCase) int {
	b.cases = append(b.cases, c)
	return len(b.cases) - 1
}

// costCases builds all cases in the calling thread's namespace, that of h.
func costCases(h host, bpffs string) ([]costCase, func(), error) {
	b := &costBuilder{flows: make(map[netip.Addr]packet)}
	err := errors.Join(wire(h, "eth0", h, "eth3"), wire(h, "eth1", h, "eth4"), wire(h, "eth2", h, "eth5"), wire(h, "eth6", h, "eth7"))
	if err == nil {
		err = b.connect()
	}
	if err == nil {
		err = b.build(bpffs)
	}
	if err != nil {
		b.close()
		return nil, nil, err
	}
	return b.cases, b.close, nil
}

// connect makes TCP connections over lo, with connection tracking, from each
// client that will have a flow here.
func (b *costBuilder) connect() error {
	if err := nft("table inet track { chain in { type filter hook prerouting priority 0; ct state new accept; }; " +
		"chain out { type nat hook output priority -100; " +
		"ip daddr 192.0.2.10 tcp dport 8080 dnat ip to 192.0.2.10:80; ip6 daddr 2001:db8::10 tcp dport 8080 dnat ip6 to [2001:db8::10]:80; }; }"); err != nil {
		return err
	}
	// The kernel makes the route of an IPv6 address some time after it took the address.
	if err := command("ip route add local 2001:db8::/32 dev lo"); err != nil {
		return err
	}
	for _, v6 := range []bool{false, true} {
		server := client{clusterIPv4, clusterIPv6}.pick(v6)
		if err := addAddress("lo", netip.PrefixFrom(server, server.BitLen()), netlink.SCOPE_HOST); err != nil {
			return err
		}
		for _, c := range []client{udpClient, ownedUDP, drainingUDP} {
			udp := c.pick(v6)
			b.flows[udp] = packet{netip.AddrPortFrom(udp, 40000), netip.AddrPortFrom(server, 53), layers.IPProtocolUDP, 0}
		}
		l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(server, 80)))
		if err != nil {
			return fmt.Errorf("listen on %s: %w", server, err)
		}
		b.closers = append(b.closers, l.Close)
		for _, c := range []client{foreignClient, ownedClient, drainingClient, acquiringClient} {
			if err := b.connectFrom(c.pick(v6), netip.AddrPortFrom(server, 80), l); err != nil {
				return err
			}
		}
		if err := b.connectFrom(drainingDNAT.pick(v6), netip.AddrPortFrom(server, 8080), l); err != nil {
			return err
		}
		for _, c := range []client{drainingOther, acquiringOther} {
			other := c.pick(v6)
			b.flows[other] = packet{netip.AddrPortFrom(other, 40000), netip.AddrPortFrom(server, 80), layers.IPProtocolTCP, 1}
		}
	}
	return nil
}

// connectFrom connects a client to an address that leads to a listener.
func (b *costBuilder) connectFrom(from netip.Addr, to netip.AddrPort, l net.Listener) error {
	if err := addAddress("lo", netip.PrefixFrom(from, from.BitLen()), netlink.SCOPE_UNIVERSE); err != nil {
		return err
	}
	src := netip.AddrPortFrom(from, 40000)
	conn, err := net.DialTCP("tcp", net.TCPAddrFromAddrPort(src), net.TCPAddrFromAddrPort(to))
	if err != nil {
		return fmt.Errorf("connect from %s: %w", from, err)
	}
	accepted, err := l.Accept()
	if err != nil {
		return fmt.Errorf("accept from %s: %w", from, err)
	}
	b.closers = append(b.closers, conn.Close, accepted.Close)
	sent, err := sequence(accepted.(*net.TCPConn))
	if err != nil {
		return err
	}
	b.flows[from] = packet{src, to, layers.IPProtocolTCP, sent}
	return nil
}

// sequence returns the number of the byte that a connection sends next.
func sequence(conn *net.TCPConn) (uint32, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, fmt.Errorf("read a sequence number: %w", err)
	}
	var number int
	controlErr := raw.Control(func(fd uintptr) {
		set := func(option, value int) {
			if err == nil {
				err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, option, value)
			}
		}
		set(unix.TCP_REPAIR, unix.TCP_REPAIR_ON)
		set(unix.TCP_REPAIR_QUEUE, sendQueue)
		if err == nil {
			number, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUEUE_SEQ)
		}
		set(unix.TCP_REPAIR, unix.TCP_REPAIR_OFF_NO_WP)
	})
	if err := errors.Join(controlErr, err); err != nil {
		return 0, fmt.Errorf("read a sequence number: %w", err)
	}
	return uint32(number), nil
}

// sendQueue is TCP_SEND_QUEUE of include/uapi/linux/tcp.h.
const sendQueue = 2

// build loads the programs and lists the cases in the order of the table.
func (b *costBuilder) build(bpffs string) error {
	drop, err := b.bareXDP("eth3", xdpDrop)
	if err != nil {
		return err
	}
	pass, err := b.bareXDP("eth4", xdpPass)
	if err != nil {
		return err
	}
	tcDrop, err := returning(ebpf.SchedCLS, tcxDrop)
	if err != nil {
		return err
	}
	frame, err := b.flows[foreignClient.v4].frame(unicastMAC)
	if err != nil {
		return err
	}
	other, err := b.flows[foreignClient.v4].frame(cluster.MAC{2, 0, 0, 0, 0, 2})
	if err != nil {
		return err
	}
	floor := b.add(costCase{name: "bare XDP_DROP", prog: drop, frame: frame})
	b.add(costCase{name: "empty program, XDP_PASS", prog: pass, frame: frame})

	backend, err := openCostPlane(bpffs, planeOptions{name: "backend", ifc: "eth0", attach: cluster.AttachGeneric,
		flows: cluster.Handover{UDP: cluster.UDPKeep}})
	if err != nil {
		return err
	}
	gateway, err := openCostPlane(bpffs, planeOptions{name: "gateway", ifc: "eth6", attach: cluster.AttachGeneric,
		mode: cluster.Gateway, flows: cluster.Handover{Flows: cluster.FlowsConntrack}})
	if err != nil {
		return err
	}
	original, err := openCostPlane(bpffs, planeOptions{name: "original", ifc: "eth1", attach: cluster.AttachGeneric, key: cluster.KeyOriginal})
	if err != nil {
		return err
	}
	tcx, err := openCostPlane(bpffs, planeOptions{name: "tcx", ifc: "eth2", attach: cluster.AttachTCX})
	if err != nil {
		return err
	}
	if err := b.xdpCases(backend, gateway, original, other, floor); err != nil {
		return err
	}
	tcFloor := b.add(costCase{name: "bare TCX_DROP", prog: tcDrop, frame: frame})
	b.cases[tcFloor].floor, b.cases[tcFloor].beside = tcFloor, tcFloor
	return b.tcxCases(tcx, tcFloor)
}

// bareXDP loads a program that only returns, and attaches it.
func (b *costBuilder) bareXDP(ifc string, value int32) (*ebpf.Program, error) {
	prog, err := returning(ebpf.XDP, value)
	if err != nil {
		return nil, err
	}
	l, err := attachXDP(prog, ifc, link.XDPGenericMode)
	if err != nil {
		return nil, err
	}
	b.closers = append(b.closers, l.Close)
	return prog, nil
}

func openCostPlane(bpffs string, o planeOptions) (*plane, error) {
	o.mac, o.ownMAC, o.buckets = unicastMAC, unicastMAC, cluster.DefaultBuckets
	p, err := openPlane(bpffs, o)
	if err != nil {
		return nil, err
	}
	for c, state := range map[client]dataplane.State{
		ownedClient: dataplane.Owned, ownedUDP: dataplane.Owned, drainingClient: dataplane.Draining, acquiringClient: dataplane.Acquiring,
		drainingDNAT: dataplane.Draining, drainingOther: dataplane.Draining, acquiringOther: dataplane.Acquiring,
	} {
		p.set(c.v4, state)
		p.set(c.v6, state)
	}
	return p, nil
}

// xdpCases adds the paths through the XDP program.
func (b *costBuilder) xdpCases(backend, gateway, original *plane, other []byte, floor int) error {
	progs := make(map[*plane]*ebpf.Program)
	for _, p := range []*plane{backend, gateway, original} {
		prog, err := p.program("ingress-generic")
		if err != nil {
			return err
		}
		progs[p] = prog
	}
	b.add(costCase{"not for the cluster, IPv4", progs[backend], other, backend, "pass_other", floor, floor, 0})
	for _, v6 := range []bool{false, true} {
		family, foreignMost, ownedMost := "IPv4", 12.0, 60.0
		if v6 {
			family, foreignMost, ownedMost = "IPv6", 16, 65
		}
		var failed error
		path := func(p *plane, what string, from client, counter string, beside int, target float64) int {
			frame, err := b.flows[from.pick(v6)].frame(unicastMAC)
			failed = errors.Join(failed, err)
			return b.add(costCase{what + ", " + family, progs[p], frame, p, counter, floor, beside, target})
		}
		foreign := path(backend, "foreign", foreignClient, "drop_foreign", floor, foreignMost)
		path(backend, "foreign, UDP", udpClient, "drop_foreign", floor, foreignMost)
		owned := path(backend, "owned", ownedClient, "handle_owned", floor, ownedMost)
		path(backend, "draining, a flow I have", drainingClient, "handle_my_flow", owned, 90)
		path(backend, "acquiring, a flow I have", acquiringClient, "handle_my_flow", owned, 90)
		path(backend, "draining, a flow I have behind DNAT", drainingDNAT, "handle_my_flow", owned, 90+130)
		path(backend, "draining, another's flow", drainingOther, "drop_not_my_flow", owned, 90+130)
		path(backend, "acquiring, another's flow", acquiringOther, "drop_not_my_flow", owned, 90+130)
		path(gateway, "draining, a flow I track", drainingClient, "handle_my_flow", owned, 130)
		path(gateway, "acquiring, a flow I track", acquiringClient, "handle_my_flow", owned, 130)
		path(gateway, "draining, a flow I do not track", drainingOther, "drop_not_my_flow", owned, 130)
		path(gateway, "acquiring, a flow I do not track", acquiringOther, "drop_not_my_flow", owned, 130)
		path(backend, "owned, UDP with udp: keep", ownedUDP, "handle_owned", owned, 0)
		failed = errors.Join(failed, noteUDP(backend, progs[backend], b.flows[drainingUDP.pick(v6)]))
		path(backend, "draining, a UDP flow I have", drainingUDP, "handle_my_flow", owned, 90)
		path(original, "foreign, key original", foreignClient, "drop_foreign", foreign, 130)
		path(original, "owned, key original", ownedClient, "handle_owned", owned, 130)
		if failed != nil {
			return failed
		}
	}
	return nil
}

// noteUDP makes a flow one that the programs know, in a bucket that drains.
func noteUDP(p *plane, prog *ebpf.Program, flow packet) error {
	frame, err := flow.frame(unicastMAC)
	if err != nil {
		return err
	}
	p.set(flow.src.Addr(), dataplane.Owned)
	if _, err := prog.Run(&ebpf.RunOptions{Data: frame}); err != nil {
		return fmt.Errorf("run with a UDP flow: %w", err)
	}
	p.set(flow.src.Addr(), dataplane.Draining)
	return nil
}

// tcxCases adds the paths through the programs in TC. Handling is missing: it
// changes the packet type once, and a repeat would find it changed.
func (b *costBuilder) tcxCases(p *plane, floor int) error {
	ingress, err := p.program("ingress-tcx")
	if err != nil {
		return err
	}
	for _, c := range []struct {
		name string
		from netip.Addr
	}{{"TCX ingress: foreign, IPv4", foreignClient.v4}, {"TCX ingress: foreign, IPv6", foreignClient.v6}} {
		frame, err := b.flows[c.from].frame(unicastMAC)
		if err != nil {
			return err
		}
		b.add(costCase{c.name, ingress, frame, p, "drop_foreign", floor, floor, 0})
	}
	egress, err := p.program("egress")
	if err != nil {
		return err
	}
	for _, c := range []struct {
		name, counter string
		from          netip.Addr
	}{
		{"TCX egress: from the node's own address, IPv4", "sent_other", netip.MustParseAddr("192.0.2.1")},
		{"TCX egress: from a cluster address, IPv4", "sent_owned", clusterIPv4},
		{"TCX egress: from a cluster address, IPv6", "sent_owned", clusterIPv6},
	} {
		answer := packet{netip.AddrPortFrom(c.from, 80), netip.AddrPortFrom(ownedClient.pick(c.from.Is6()), 40000), layers.IPProtocolTCP, 1}
		frame, err := answer.frame(cluster.MAC{2, 0, 0, 0, 0, 2})
		if err != nil {
			return err
		}
		b.add(costCase{c.name, egress, frame, p, c.counter, floor, floor, 0})
	}
	return nil
}
