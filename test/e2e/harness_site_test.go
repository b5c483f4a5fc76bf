//go:build privileged

package e2e

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/internal/lab"
	"github.com/shoal-net/shoal/internal/share"
	"github.com/shoal-net/shoal/match"
	"golang.org/x/net/bpf"
	xicmp "golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// answerTime is how long anything may take that takes under a millisecond on
// an idle machine.
const answerTime = 5 * time.Second

// A site is a lab under observation: on each node what reached prerouting, at
// clients and server what came in by their interface.
type site struct {
	*lab.Lab
	t       *testing.T // of the lab, not of a subtest
	gateway bool
	l2      cluster.L2
	nodes   []*prerouting
	clients *tap
	server  *tap // nil in backend mode
	rogues  *tap // frames whose source is a cluster MAC
	owners  []uint8
	port    uint16
}

// What came in, and where.
type events struct {
	nodes           [][]packet
	clients, server []packet
}

// The labs' nodes hash with this (internal/lab).
var labHash = match.Hash{Seed: 0xdeadbeef}

// newSite builds a lab and observes it. Its leases last so long that a busy
// machine does not let them run out: what happens then is not for these tests.
func newSite(t *testing.T, o lab.Options) *site {
	t.Helper()
	o.Static = true // who handles whom is computed from the file
	configure := o.NodeConfig
	o.NodeConfig = func(node int, file string) string {
		if configure != nil {
			file = configure(node, file)
		}
		return file + "lease: 10s\n"
	}
	s := &site{Lab: startLab(t, o), t: t, gateway: o.Mode == cluster.Gateway, l2: o.L2, port: 20000}
	for _, n := range s.Nodes {
		s.nodes = append(s.nodes, capturePrerouting(t, n.NS))
	}
	s.clients = openTap(t, s.Clients, "eth0")
	if s.gateway {
		s.server = openTap(t, s.Server, "eth0")
	}
	s.rogues = openTap(t, s.Switch, "", sourceFilter(s.clusterMACs())...)
	t.Cleanup(func() {
		for _, p := range s.rogues.take(t) {
			t.Errorf("a frame from a cluster MAC, to %s: %v", p.ethTo, p)
		}
	})
	for _, ns := range s.namespaces() {
		unlimitICMP(t, ns)
	}
	nodes := make([]cluster.Node, o.Nodes)
	for i := range nodes {
		nodes[i].ID = i + 1
	}
	t.Cleanup(func() {
		if t.Failed() {
			s.logCounters()
		}
	})
	var err error
	s.owners, err = share.Static(nodes, cluster.DefaultBuckets)
	must(t, err)
	return s
}

// logCounters shows what the nodes counted.
func (s *site) logCounters() {
	for _, n := range s.Nodes {
		out, err := n.NS.Run(context.Background(), shoal, "status", "--instance", n.Instance)
		s.t.Logf("%s: %v\n%s", n.Name, err, out)
	}
}

// namespaces are those of all hosts of the lab.
func (s *site) namespaces() []*lab.Namespace {
	all := []*lab.Namespace{s.Clients}
	for _, ns := range []*lab.Namespace{s.Server, s.Router} {
		if ns != nil {
			all = append(all, ns)
		}
	}
	for _, n := range s.Nodes {
		all = append(all, n.NS)
	}
	return all
}

// unlimitICMP lifts the limits of the kernel on ICMP errors, so that each
// packet that deserves one gets one.
func unlimitICMP(t *testing.T, ns *lab.Namespace) {
	t.Helper()
	for _, set := range [][2]string{
		{"ipv4/icmp_ratemask", "0"},
		{"ipv4/icmp_msgs_per_sec", "1000000"},
		{"ipv4/icmp_msgs_burst", "1000000"},
		{"ipv6/icmp/ratemask", "127"}, // no error
	} {
		must(t, ns.Sysctl(set[0], set[1]))
	}
}

// clusterMACs are the MACs of the sides, the clients' first.
func (s *site) clusterMACs() []cluster.MAC {
	macs := []cluster.MAC{cluster.DefaultMAC(s.l2, s.ClusterAddresses()[0])}
	if s.gateway {
		macs = append(macs, cluster.DefaultMAC(s.l2, s.ServerSideAddresses()[0]))
	}
	return macs
}

// sourceFilter passes frames from any of the MACs.
func sourceFilter(macs []cluster.MAC) []bpf.Instruction {
	var program []bpf.Instruction
	for _, m := range macs {
		program = append(program,
			bpf.LoadAbsolute{Off: 6, Size: 4},
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(m[0])<<24 | uint32(m[1])<<16 | uint32(m[2])<<8 | uint32(m[3]), SkipTrue: 3},
			bpf.LoadAbsolute{Off: 10, Size: 2},
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(m[4])<<8 | uint32(m[5]), SkipTrue: 1},
			bpf.RetConstant{Val: 256})
	}
	return append(program, bpf.RetConstant{Val: 0})
}

// owner is the id of the node that a client falls to.
func (s *site) owner(client netip.Addr) int {
	return int(s.owners[match.Bucket(labHash.Client(client), len(s.owners))])
}

// target is what a client of the same family asks.
func (s *site) target(client netip.Addr) netip.Addr { return sameFamily(s.Targets(), client)[0] }

// warmUp lets all hosts find each other: what is sent while an address is still
// being resolved waits in a queue that is not long.
func (s *site) warmUp(t *testing.T) {
	t.Helper()
	few, _ := s.clientsOfAllNodes(1)
	port := s.nextPort()
	each(t, few, func(ctx context.Context, client netip.Addr) error {
		return s.askUDP(ctx, netip.AddrPortFrom(client, port), 100)
	})
}

// nextPort returns a port that no earlier traffic of this lab had.
func (s *site) nextPort() uint16 {
	s.port++
	return s.port
}

// reset forgets what was captured.
func (s *site) reset(t *testing.T) {
	t.Helper()
	s.take(t)
}

// take returns what was captured since the last call, when everything that
// was sent until now has arrived.
func (s *site) take(t *testing.T) (ev events) {
	t.Helper()
	s.settle(t)
	for _, n := range s.nodes {
		ev.nodes = append(ev.nodes, withoutBarriers(n.take(t)))
	}
	ev.clients = withoutBarriers(s.clients.take(t))
	if s.server != nil {
		ev.server = withoutBarriers(s.server.take(t))
	}
	return ev
}

// takeUntil takes, and adds to ev, until there is enough: where processes take
// part, for which no echo waits.
func (s *site) takeUntil(t *testing.T, ev *events, enough func() bool) {
	t.Helper()
	await(t, "packets of all clients", func() bool {
		last := enough()
		now := s.take(t)
		if ev.nodes == nil {
			ev.nodes = make([][]packet, len(now.nodes))
		}
		for i := range ev.nodes {
			ev.nodes[i] = append(ev.nodes[i], now.nodes[i]...)
		}
		ev.clients, ev.server = append(ev.clients, now.clients...), append(ev.server, now.server...)
		return last
	})
}

func countPackets(pick func(*packet) bool, captures ...[]packet) (n int) {
	for _, c := range captures {
		for _, p := range c {
			if pick(&p) {
				n++
			}
		}
	}
	return n
}

const barrierID = 0xba44

func withoutBarriers(all []packet) []packet {
	return slices.DeleteFunc(all, func(p packet) bool {
		return (p.isEcho() || p.isEchoReply()) && p.echoID == barrierID
	})
}

// settle waits until the frames on their way have arrived. Virtual links hand
// frames over in queues of the processor that sends: an echo to each node that
// is sent from each processor, and its reply, come behind all that was there
// before. A reply that a frame on its way calls forth is behind the next
// echoes; no path here needs more than three.
func (s *site) settle(t *testing.T) {
	t.Helper()
	var fromClients, fromServer []netip.Addr
	for _, n := range s.Nodes {
		fromClients = append(fromClients, n.Addresses()[0])
		if s.gateway {
			fromServer = append(fromServer, n.ServerSideAddresses()[0])
		}
	}
	for range 3 {
		barrier(t, s.Clients, fromClients)
		if fromServer != nil {
			barrier(t, s.Server, fromServer)
		}
	}
}

// barrier sends an echo to each host from each processor and awaits the
// replies.
func barrier(t *testing.T, ns *lab.Namespace, hosts []netip.Addr) {
	t.Helper()
	c, err := ns.ListenPacket("ip4:icmp", "0.0.0.0")
	must(t, err)
	defer c.Close()
	// Other ICMP that is on its way would fill the socket up.
	var only ipv4.ICMPFilter
	only.SetAll(true)
	only.Accept(ipv4.ICMPTypeEchoReply)
	must(t, ipv4.NewPacketConn(c).SetICMPFilter(&only))
	for cpu := range runtime.NumCPU() {
		waiting := slices.Clone(hosts)
		deadline := time.Now().Add(patience)
		for len(waiting) > 0 && time.Now().Before(deadline) {
			must(t, sendEchoes(c, waiting, cpu))
			must(t, c.SetReadDeadline(time.Now().Add(patience/5)))
			if waiting, err = awaitEchoes(c, waiting, cpu); err != nil {
				t.Logf("no echo from %v to processor %d of %s: %v", waiting, cpu, ns.Name, err)
			}
		}
		if len(waiting) > 0 {
			t.Fatalf("no echo from %v in %v", waiting, patience)
		}
	}
}

// sendEchoes sends an echo to each host from one processor.
func sendEchoes(c net.PacketConn, hosts []netip.Addr, cpu int) error {
	m := xicmp.Message{Type: ipv4.ICMPTypeEcho, Body: &xicmp.Echo{ID: barrierID, Seq: cpu}}
	b, err := m.Marshal(nil)
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, only unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return err
	}
	only.Set(cpu)
	if err := unix.SchedSetaffinity(0, &only); err != nil {
		return err
	}
	defer unix.SchedSetaffinity(0, &before)
	for _, h := range hosts {
		if _, err := c.WriteTo(b, &net.IPAddr{IP: h.AsSlice()}); err != nil {
			return err
		}
	}
	return nil
}

// awaitEchoes waits for the echo of each host and returns those that are
// missing when it fails.
func awaitEchoes(c net.PacketConn, waiting []netip.Addr, cpu int) ([]netip.Addr, error) {
	for buf := make([]byte, 1500); len(waiting) > 0; {
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			return waiting, err
		}
		m, err := xicmp.ParseMessage(unix.IPPROTO_ICMP, buf[:n])
		if err != nil {
			return waiting, err
		}
		if e, ok := m.Body.(*xicmp.Echo); !ok || e.ID != barrierID || e.Seq != cpu {
			continue
		}
		host, _ := netip.AddrFromSlice(from.(*net.IPAddr).IP)
		waiting = slices.DeleteFunc(waiting, func(a netip.Addr) bool { return a == host.Unmap() })
	}
	return waiting, nil
}

// each does something for every address, several at a time, and fails the
// test where it fails.
func each(t *testing.T, addrs []netip.Addr, do func(ctx context.Context, a netip.Addr) error) {
	t.Helper()
	var mu sync.Mutex
	var faults []error
	var wg sync.WaitGroup
	queue := make(chan netip.Addr)
	for range 8 {
		wg.Go(func() {
			for a := range queue {
				ctx, cancel := context.WithTimeout(t.Context(), answerTime)
				if err := do(ctx, a); err != nil {
					mu.Lock()
					faults = append(faults, fmt.Errorf("%s: %w", a, err))
					mu.Unlock()
				}
				cancel()
			}
		})
	}
	for _, a := range addrs {
		queue <- a
	}
	close(queue)
	wg.Wait()
	fail(t, faults)
}

// fail reports faults, of many only some.
func fail[F any](t *testing.T, faults []F) {
	t.Helper()
	const enough = 10
	for i, f := range faults {
		if i == enough {
			t.Errorf("… and %d more", len(faults)-enough)
			break
		}
		t.Error(f)
	}
}
