package dataplane

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"github.com/shoal-net/shoal/internal/cluster"
)

// Snapshot is what a pinned data plane holds at one moment.
type Snapshot struct {
	Lease         time.Duration // what is left; negative: since when it is over, or no lease was given
	LeaseEpoch    uint64
	TableEpoch    uint64
	States        []State  // by bucket
	BucketPackets []uint64 // packets that ingress saw, by bucket
	Interfaces    map[string]InterfaceSnapshot
}

// InterfaceSnapshot is what it holds of one interface.
type InterfaceSnapshot struct {
	Attached bool           // false: the interface is gone, or the programs were removed
	Mode     cluster.Attach // of ingress
	Counters Counters
}

// Inspect reads a pinned data plane, whether an agent runs or not, and
// disturbs neither. Where there is none it fails with ErrNotPinned.
func Inspect(dir string) (*Snapshot, error) {
	m, err := ebpf.LoadPinnedMap(filepath.Join(dir, pinNames[dataSection]), nil)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", dir, ErrNotPinned)
	}
	if err != nil {
		return nil, fmt.Errorf("open the pinned table: %w", err)
	}
	defer m.Close()
	control, err := mapControl(m, false)
	if err != nil {
		return nil, err
	}
	defer control.close()
	buckets, err := ebpf.LoadPinnedMap(filepath.Join(dir, "buckets"), nil)
	if err != nil {
		return nil, fmt.Errorf("open the pinned bucket counters: %w", err)
	}
	defer buckets.Close()

	s := &Snapshot{
		Lease:      time.Duration(control.shared.LeaseDeadline) - Now(),
		LeaseEpoch: control.shared.LeaseEpoch,
		Interfaces: make(map[string]InterfaceSnapshot),
	}
	s.TableEpoch, s.States = control.table(int(buckets.MaxEntries()))
	if s.BucketPackets, err = readBuckets(buckets); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("look into %s: %w", dir, err)
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		name := strings.ReplaceAll(e.Name(), ":", ".")
		if s.Interfaces[name], err = inspectInterface(filepath.Join(dir, e.Name())); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return s, nil
}

// Addresses returns the cluster addresses that a pinned data plane knows; none
// where none is pinned.
func Addresses(dir string) ([]netip.Addr, error) {
	m, err := ebpf.LoadPinnedMap(filepath.Join(dir, "addresses"), nil)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open the pinned addresses: %w", err)
	}
	defer m.Close()
	var (
		addrs []netip.Addr
		key   [16]byte
		bits  uint32
	)
	it := m.Iterate()
	for it.Next(&key, &bits) {
		addrs = append(addrs, netip.AddrFrom16(key).Unmap())
	}
	if err := it.Err(); err != nil {
		return nil, fmt.Errorf("read the pinned addresses: %w", err)
	}
	return addrs, nil
}

func inspectInterface(dir string) (InterfaceSnapshot, error) {
	var s InterfaceSnapshot
	counters, err := ebpf.LoadPinnedMap(filepath.Join(dir, "counters"), nil)
	if err != nil {
		return s, fmt.Errorf("open the pinned counters: %w", err)
	}
	defer counters.Close()
	if s.Counters, err = readCounters(counters); err != nil {
		return s, err
	}
	for mode, h := range ingressHooks {
		info, err := pinnedLink(filepath.Join(dir, h.pin))
		if err != nil {
			return s, err
		}
		if info != nil && linkInterface(info) > 0 {
			s.Mode, s.Attached = mode, true
		}
	}
	return s, nil
}
