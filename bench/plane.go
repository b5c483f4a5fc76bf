package main

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/internal/dataplane"
	"github.com/shoal-net/shoal/match"
)

const (
	seed = 0xdeadbeef
	// leaseLength is far longer than any run.
	leaseLength = 24 * time.Hour
)

var (
	clusterIPv4 = netip.MustParseAddr("192.0.2.10")
	clusterIPv6 = netip.MustParseAddr("2001:db8::10")
	// groupMAC is the manual page's own; unicastMAC is what shoal takes by default.
	groupMAC   = cluster.MAC{0x01, 0x00, 0x5e, 0x00, 0x01, 0x01}
	unicastMAC = cluster.DefaultMAC(cluster.Unicast, clusterIPv4)
)

// plane is a data plane on one interface of the host that it was opened in.
type plane struct {
	*dataplane.Plane
	dir   string
	ifc   string
	mode  cluster.Attach
	hash  match.Hash
	table []dataplane.State
}

// planeOptions are what the runs vary of a cluster.
type planeOptions struct {
	name    string
	ifc     string
	attach  cluster.Attach
	mac     cluster.MAC
	ownMAC  cluster.MAC // zero: the interface's
	buckets int
	key     cluster.Key
	mode    cluster.Mode
	flows   cluster.Handover
}

// openPlane opens and attaches a data plane in the calling thread's namespace.
// Every bucket is foreign, and the lease stands for the whole run.
func openPlane(bpffs string, o planeOptions) (*plane, error) {
	ifc := cluster.Interface{
		Name: o.ifc, MAC: o.mac, Attach: o.attach,
		Addresses: []netip.Addr{clusterIPv4, clusterIPv6},
	}
	c := &cluster.Cluster{
		Name: o.name, Self: 1,
		Nodes:      []cluster.Node{{ID: 1, Name: "one", Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}},
		Interfaces: []cluster.Interface{ifc},
		Hash:       cluster.Hash{Seed: seed, Buckets: o.buckets, Key: o.key},
		Lease:      cluster.DefaultLease,
		Mode:       o.mode, Handover: o.flows,
	}
	index, own, err := linkInfo(o.ifc)
	if err != nil {
		return nil, err
	}
	if o.ownMAC != (cluster.MAC{}) {
		own = o.ownMAC
	}
	p := &plane{
		dir: filepath.Join(bpffs, o.name), ifc: o.ifc, mode: o.attach,
		hash: match.Hash{Seed: seed}, table: make([]dataplane.State, o.buckets),
	}
	if p.Plane, err = dataplane.Open(p.dir, c); err != nil {
		return nil, fmt.Errorf("open the data plane %s: %w", o.name, err)
	}
	p.SetTable(1, p.table)
	p.SetLease(1, dataplane.Now()+leaseLength)
	if _, _, err := p.Attach(dataplane.Interface{Interface: ifc, Index: index, OwnMAC: own}); err != nil {
		return nil, fmt.Errorf("attach the data plane %s: %w", o.name, err)
	}
	return p, nil
}

// bucket returns the bucket of a client.
func (p *plane) bucket(client netip.Addr) int {
	return match.Bucket(p.hash.Client(client), len(p.table))
}

// set puts a client's bucket into a state.
func (p *plane) set(client netip.Addr, state dataplane.State) {
	p.table[p.bucket(client)] = state
	p.SetTable(1, p.table)
}

// program returns the program behind a pinned link of the interface.
func (p *plane) program(pin string) (*ebpf.Program, error) {
	l, err := link.LoadPinnedLink(filepath.Join(p.dir, p.ifc, pin), nil)
	if err != nil {
		return nil, fmt.Errorf("open the pinned link %s: %w", pin, err)
	}
	defer l.Close()
	info, err := l.Info()
	if err != nil {
		return nil, fmt.Errorf("read the link %s: %w", pin, err)
	}
	prog, err := ebpf.NewProgramFromID(info.Program)
	if err != nil {
		return nil, fmt.Errorf("open the program of %s: %w", pin, err)
	}
	return prog, nil
}

// counters returns the interface's counters by name.
func (p *plane) counters() (map[string]uint64, error) {
	s, err := dataplane.Inspect(p.dir)
	if err != nil {
		return nil, fmt.Errorf("read the counters of %s: %w", p.dir, err)
	}
	return s.Interfaces[p.ifc].Counters.ByName(), nil
}
