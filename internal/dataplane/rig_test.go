//go:build privileged

package dataplane

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/match"
	"golang.org/x/sys/unix"
)

// The interface under test and those around it.
var (
	toCluster = cluster.MAC{0x02, 0xbf, 192, 0, 2, 10}
	ownMAC    = cluster.MAC{0x02, 0, 0, 0, 0, 0x11}
	clientMAC = cluster.MAC{0x02, 0, 0, 0, 0, 0xc1}
	broadcast = cluster.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	noMAC     = cluster.MAC{}

	vip4, vip6       = addr("192.0.2.10"), addr("2001:db8::10")
	other4, other6   = addr("198.51.100.10"), addr("2001:db8:1::10") // of the cluster's other interface
	own4, own6       = addr("192.0.2.1"), addr("2001:db8::1")
	peer4, peer6     = addr("192.0.2.2"), addr("fe80::2") // another node
	client4, client6 = addr("203.0.113.7"), addr("2001:db8:77::7")
	server4, server6 = addr("10.1.1.80"), addr("fd00:1::80")
	router4, router6 = addr("192.0.2.254"), addr("fe80::fe")
)

const peerID = 2

// setup is what is constant of a program: the zero value is a client side that
// hashes the client's address into 4096 buckets and drops.
type setup struct {
	side       cluster.Side
	affinity   cluster.Affinity
	key        cluster.Key
	firstWord  bool
	action     cluster.Action
	buckets    int // 0: cluster.DefaultBuckets
	heartbeats bool
	mac        cluster.MAC // zero: toCluster
	mode       cluster.Mode
	handover   cluster.Handover
}

func (s setup) String() string {
	return fmt.Sprintf("%s/%s/%s first-word=%t marking=%t buckets=%d heartbeats=%t %s flows=%d udp=%d",
		s.side, s.affinity, s.key, s.firstWord, s.action.Marking, s.buckets, s.heartbeats, s.mode, s.handover.Flows, s.handover.UDP)
}

const testSeed = 0xdeadbeef

func (s setup) cluster() (*cluster.Cluster, Interface) {
	if s.buckets == 0 {
		s.buckets = cluster.DefaultBuckets
	}
	if s.mac == (cluster.MAC{}) {
		s.mac = toCluster
	}
	ifc := Interface{
		Interface: cluster.Interface{Name: "a", Side: s.side, Addresses: []netip.Addr{vip4, vip6}, MAC: s.mac},
		OwnMAC:    ownMAC,
	}
	c := &cluster.Cluster{
		Interfaces: []cluster.Interface{ifc.Interface, {Name: "b", Addresses: []netip.Addr{other4, other6}}},
		Hash:       cluster.Hash{Seed: testSeed, Buckets: s.buckets, Affinity: s.affinity, Key: s.key, IPv6FirstWord: s.firstWord},
		Action:     s.action,
		Mode:       s.mode,
		Handover:   s.handover,
	}
	if s.heartbeats {
		c.Nodes = []cluster.Node{{ID: peerID, Addresses: []netip.Addr{peer4, peer6}}}
	}
	return c, ifc
}

// kind is which of the programs decides.
type kind int

const (
	inXDP kind = iota
	inTCX
	inEgress
	kinds
)

func (k kind) String() string { return [...]string{"xdp", "tcx", "egress"}[k] }

func (k kind) loader() loader { return [...]loader{xdpLoader, tcxLoader, egressLoader}[k] }

// rig is the programs of one interface, not attached to any.
type rig struct {
	setup    setup
	cluster  *cluster.Cluster
	maps     map[string]*ebpf.Map
	control  *control
	counters [kinds]*ebpf.Map
	programs [kinds]*ebpf.Program
}

func newRig(t testing.TB, s setup) *rig {
	t.Helper()
	c, ifc := s.cluster()
	r := &rig{setup: s, cluster: c, maps: make(map[string]*ebpf.Map)}
	spec, err := loadIngressTCX()
	if err != nil {
		t.Fatal(err)
	}
	sizeMaps(spec, c)
	spec.Maps[dataSection].Flags |= unix.BPF_F_MMAPABLE
	for name := range pinNames {
		r.maps[name] = newMap(t, spec.Maps[name])
	}
	if r.control, err = mapControl(r.maps[dataSection], true); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.control.close() })
	p := &Plane{cluster: c, maps: r.maps}
	if err := p.syncAddresses(); err != nil {
		t.Fatal(err)
	}
	if err := p.SetPeers(p.cluster.Nodes); err != nil {
		t.Fatal(err)
	}
	for k := range kinds {
		if s.action.Marking && k == inXDP {
			continue
		}
		r.counters[k] = newMap(t, spec.Maps["counters"])
		r.maps["counters"] = r.counters[k]
		prog, err := k.loader().loadProgram(c, ifc, r.maps)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { prog.Close() })
		r.programs[k] = prog
	}
	return r
}

func newMap(t testing.TB, spec *ebpf.MapSpec) *ebpf.Map {
	t.Helper()
	m, err := ebpf.NewMap(spec)
	if err != nil {
		t.Fatalf("make map %s (needs root): %v", spec.Name, err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// skb is struct __sk_buff of linux/bpf.h.
type skb struct {
	Length, Type, Mark uint32
	_                  [6]uint32
	IngressIfindex     uint32
	Ifindex            uint32
	_                  [33]uint32
	_                  [2]uint64
}

// result is what a program did with a frame.
type result struct {
	counted string // names of the counters that moved
	passed  bool
	out     []byte // where it passed
	mark    uint32
}

const oldMark = 0xabc00000

// run puts one frame through one program. The sockets and connections that it
// finds are those of the calling thread's network namespace.
func (r *rig) run(t testing.TB, k kind, frame []byte) result {
	t.Helper()
	before := r.count(t, k)
	opts := &ebpf.RunOptions{Data: frame, DataOut: make([]byte, len(frame)+256)}
	var after skb
	if k != inXDP {
		opts.Context, opts.ContextOut = skb{Mark: oldMark, IngressIfindex: loopback}, &after
	}
	action, err := r.programs[k].Run(opts)
	if err != nil {
		t.Fatalf("run %s with %d bytes: %v", k, len(frame), err)
	}
	res := result{counted: moved(before, r.count(t, k)), mark: after.Mark}
	res.passed = passes(t, k, action)
	if res.passed {
		res.out = opts.DataOut
	}
	return res
}

func passes(t testing.TB, k kind, action uint32) bool {
	t.Helper()
	pass, drop := uint32(0xffffffff), uint32(2) // TCX_NEXT, TCX_DROP
	if k == inXDP {
		pass, drop = 2, 1 // XDP_PASS, XDP_DROP
	}
	if action != pass && action != drop {
		t.Fatalf("%s returned %d", k, int32(action))
	}
	return action == pass
}

// count reads the counters in one call.
func (r *rig) count(t testing.TB, k kind) Counters {
	t.Helper()
	var (
		cursor ebpf.MapBatchCursor
		c      Counters
		keys   [len(c)]uint32
		perCPU = make([]uint64, len(c)*ebpf.MustPossibleCPU())
	)
	if n, err := r.counters[k].BatchLookup(&cursor, keys[:], perCPU, nil); n != len(c) {
		t.Fatalf("%d counters: %v", n, err)
	}
	for i, n := range perCPU {
		c[keys[i*len(c)/len(perCPU)]] += n
	}
	return c
}

// moved names the counters that grew, and by how much if not by one.
func moved(before, after Counters) string {
	var names []string
	for v := range after {
		switch n := after[v] - before[v]; n {
		case 0:
		case 1:
			names = append(names, verdictNames[v])
		default:
			names = append(names, fmt.Sprintf("%s×%d", verdictNames[v], n))
		}
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// inForce puts a table and a lease in force, as seen from now.
type inForce struct {
	tableEpoch, leaseEpoch uint64
	lease                  time.Duration // from now; 0: none was ever given
}

var goodLease = inForce{tableEpoch: 5, leaseEpoch: 5, lease: time.Hour}

// share makes one bucket of the given state and all others of another.
func (r *rig) share(bucket int, state, others State, f inForce) {
	states := make([]State, r.cluster.Hash.Buckets)
	for i := range states {
		states[i] = others
	}
	if bucket >= 0 {
		states[bucket] = state
	}
	// No program runs between two calls: there is nothing to wait for.
	r.control.swapped = 0
	r.control.setTable(f.tableEpoch, stateBytes(states))
	deadline := time.Duration(0)
	if f.lease != 0 {
		deadline = Now() + f.lease
	}
	r.control.setLease(f.leaseEpoch, deadline)
}

// key says which bucket a frame is expected to fall into; nil: into none.
type key func(h match.Hash) uint32

func by(a netip.Addr) key        { return func(h match.Hash) uint32 { return h.Client(a) } }
func byNetwork(a netip.Addr) key { return func(h match.Hash) uint32 { return h.Network(a) } }
func byFlow(proto uint8, client netip.Addr, cport uint16, server netip.Addr, sport uint16) key {
	return func(h match.Hash) uint32 {
		return h.Flow(match.Flow{Client: client, Server: server, Protocol: proto, ClientPort: cport, ServerPort: sport})
	}
}

func (r *rig) bucket(k key) int {
	if k == nil {
		return -1
	}
	h := match.Hash{Seed: testSeed, IPv6FirstWord: r.setup.firstWord}
	return match.Bucket(k(h), r.cluster.Hash.Buckets)
}
