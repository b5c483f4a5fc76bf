package dataplane

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/rlimit"
	"github.com/shoal-net/shoal/internal/cluster"
	"golang.org/x/sys/unix"
)

// dataSection is the map of the objects' one global variable, `shared`.
const dataSection = ".bss"

// pinNames are the cluster's maps by their names in the objects and in the
// pin directory, where a name must not have a dot.
var pinNames = map[string]string{
	dataSection:  "shared",
	"addresses":  "addresses",
	"peers":      "peers",
	"buckets":    "buckets",
	"heartbeats": "heartbeats",
	"udp_flows":  "udp_flows",
	"frozen":     "frozen",
	"fragments":  "fragments",
}

// Plane is the data plane of one cluster on this host, with the right to write
// it. It is not safe for concurrent use.
type Plane struct {
	dir     string
	cluster *cluster.Cluster
	maps    map[string]*ebpf.Map
	control *control
	lock    *os.File
	adopted bool
}

// Open makes the maps of a cluster in the BPF file system directory dir, or
// adopts those that are pinned there. Either way it holds no lease afterwards.
// It fails with ErrLocked, ErrOtherVersion or a *MissingFeatureError.
func Open(dir string, c *cluster.Cluster) (*Plane, error) { return openPlane(dir, c, false) }

// OpenInPlace is Open for an agent that takes the place of another one: whoever
// renews the lease goes on.
func OpenInPlace(dir string, c *cluster.Cluster) (*Plane, error) { return openPlane(dir, c, true) }

func openPlane(dir string, c *cluster.Cluster, inPlace bool) (*Plane, error) {
	if err := rlimit.RemoveMemlock(); err != nil {
		return nil, fmt.Errorf("raise the memory lock limit: %w", err)
	}
	if err := checkKernel(needed(c)); err != nil {
		return nil, err
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	p := &Plane{dir: dir, cluster: c, lock: lock, maps: make(map[string]*ebpf.Map)}
	if err := p.open(inPlace); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the pin directory: %w", err)
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("open the pin directory: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s: %w", dir, ErrLocked)
		}
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return f, nil
}

func (p *Plane) open(inPlace bool) error {
	spec, err := loadIngressTCX()
	if err != nil {
		return err
	}
	sizeMaps(spec, p.cluster)
	if err := p.openControl(spec.Maps[dataSection]); err != nil {
		return err
	}
	for name, pin := range pinNames {
		if name == dataSection {
			continue
		}
		if err := p.openMap(spec.Maps[name], pin); err != nil {
			return err
		}
	}
	if !inPlace {
		p.control.setLease(p.control.shared.LeaseEpoch, 0)
	}
	if err := p.syncAddresses(); err != nil {
		return err
	}
	return p.SetPeers(p.cluster.Nodes)
}

// openControl comes before all other maps: of another version nothing is touched.
func (p *Plane) openControl(spec *ebpf.MapSpec) error {
	if err := p.openMap(spec, pinNames[dataSection]); err != nil {
		return err
	}
	var err error
	if p.control, err = mapControl(p.maps[dataSection], true); err != nil {
		return err
	}
	// 0: whoever pinned it got no further.
	if v := p.control.shared.AbiVersion; v != 0 && v != abiVersion {
		return fmt.Errorf("%s: %w", p.dir, ErrOtherVersion)
	}
	p.control.shared.AbiVersion = abiVersion
	return nil
}

// openMap adopts a pinned map that fits, and makes a new one otherwise.
func (p *Plane) openMap(spec *ebpf.MapSpec, pin string) error {
	path := filepath.Join(p.dir, pin)
	if spec.Name == dataSection {
		spec.Flags |= unix.BPF_F_MMAPABLE // as the library does for what it loads itself
	}
	m, made, err := openOrMake(spec, path)
	if err != nil {
		return err
	}
	p.adopted = p.adopted || spec.Name == dataSection && !made
	p.maps[spec.Name] = m
	return nil
}

func (p *Plane) syncAddresses() error {
	want := make(map[netip.Addr]uint32)
	for bit, ifc := range p.cluster.Interfaces {
		for _, a := range ifc.Addresses {
			want[a] |= 1 << bit
		}
	}
	return syncMap(p.maps["addresses"], want)
}

// SetPeers says from which addresses heartbeats are taken.
func (p *Plane) SetPeers(nodes []cluster.Node) error {
	want := make(map[netip.Addr]uint32)
	for _, n := range nodes {
		for _, a := range n.Addresses {
			want[a] = uint32(n.ID)
		}
	}
	return syncMap(p.maps["peers"], want)
}

// syncMap makes a map keyed by struct address hold just what is wanted.
func syncMap(m *ebpf.Map, want map[netip.Addr]uint32) error {
	var stale []netip.Addr
	var key [16]byte
	var value uint32
	for it := m.Iterate(); it.Next(&key, &value); {
		if a := netip.AddrFrom16(key).Unmap(); want[a] == 0 {
			stale = append(stale, a)
		}
	}
	for _, a := range stale {
		if err := m.Delete(a.As16()); err != nil {
			return fmt.Errorf("delete %s from map %s: %w", a, m, err)
		}
	}
	for a, v := range want {
		if err := m.Put(a.As16(), v); err != nil {
			return fmt.Errorf("put %s into map %s: %w", a, m, err)
		}
	}
	return nil
}

// Adopted reports whether the maps were there already.
func (p *Plane) Adopted() bool { return p.adopted }

// SetTable puts a new table in force, as Control.SetTable does: the state of each
// bucket.
func (p *Plane) SetTable(epoch uint64, states []State) { p.control.setTable(epoch, stateBytes(states)) }

func stateBytes(states []State) []uint8 {
	b := make([]uint8, len(states))
	for i, s := range states {
		b[i] = uint8(s)
	}
	return b
}

// Owns reports whether a bucket is owned in the table in force.
func (p *Plane) Owns(bucket int) bool {
	return p.control.state(bucket) == Owned
}

// Table returns the table in force and its epoch, and whether the node acts on
// it: under a lease. It may be called beside all else but Close.
func (p *Plane) Table() (epoch uint64, states []State, acts bool) {
	epoch, states = p.control.table(p.cluster.Hash.Buckets)
	return epoch, states, p.control.acts()
}

// State returns the state of a bucket in the table in force. It may be called
// beside all else but Close.
func (p *Plane) State(bucket int) State { return p.control.state(bucket) }

// SetLease lets the node act until the deadline (see Now), with tables of that
// epoch and later ones. A deadline of 0 ends the lease.
func (p *Plane) SetLease(epoch uint64, deadline time.Duration) { p.control.setLease(epoch, deadline) }

// Conflicts returns how often others claimed a cluster address, by interface.
func (p *Plane) Conflicts(ifname string) (uint64, error) {
	m, err := ebpf.LoadPinnedMap(filepath.Join(p.interfaceDir(ifname), "counters"), nil)
	if err != nil {
		return 0, fmt.Errorf("open counters of %s: %w", ifname, err)
	}
	defer m.Close()
	counters, err := readCounters(m)
	return counters[AlarmConflict], err
}

// Close gives up the right to write. What is pinned stays and acts on under
// its lease.
func (p *Plane) Close() error {
	var errs []error
	if p.control != nil {
		errs = append(errs, p.control.close())
	}
	for _, m := range p.maps {
		errs = append(errs, m.Close())
	}
	return errors.Join(append(errs, p.lock.Close())...)
}

// Remove ends the lease, detaches every program and removes every pin.
func (p *Plane) Remove() error {
	p.control.setLease(p.control.shared.LeaseEpoch, 0)
	return errors.Join(removePins(p.dir), p.Close())
}

// Remove removes what a process left behind that did not end in order. It
// fails with ErrLocked where one still runs. Where nothing is pinned it does
// nothing.
func Remove(dir string) error {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	lock, err := lockDir(dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	return removePins(dir)
}

// Epoch returns the epoch of the table in force; 0 before the first.
func (p *Plane) Epoch() uint64 { return p.control.epoch() }
