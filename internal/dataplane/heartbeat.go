package dataplane

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
)

// Control is what decides of a pinned data plane: table, lease, and the
// heartbeats that come in. It is for the one process that decides, while the
// agent, which holds the lock of the pin directory, keeps programs and maps in
// place. Nothing but OpenControl and Close allocates or waits for the Go
// scheduler. It is not safe for concurrent use.
type Control struct {
	control    *control
	ring       *ring
	heartbeats *ebpf.Map
}

// Heartbeat is a frame of a listed node to the heartbeat port.
type Heartbeat struct {
	Received time.Duration // by the clock of Now, when the frame came in
	Ifindex  int           // of the interface that it came in by
	Node     int           // id of the node that the source address is listed for, 1..cluster.MaxNodes
	Frame    []byte        // from the Ethernet header on; the kernel's memory: valid until the next call of Next
}

// OpenControl opens what the agent has pinned in dir. The number of buckets
// must be the one that it was made for. Heartbeats that nobody took before are
// still there. It fails with ErrNotPinned or ErrOtherVersion.
func OpenControl(dir string, buckets int) (*Control, error) {
	shared, err := openPinned(dir, pinNames[dataSection])
	if err != nil {
		return nil, err
	}
	defer shared.Close() // the mapping keeps it
	c := &Control{}
	if c.control, err = mapControl(shared, true); err != nil {
		return nil, err
	}
	if err := c.open(dir, buckets); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *Control) open(dir string, buckets int) error {
	if c.control.shared.AbiVersion != abiVersion {
		return fmt.Errorf("%s: %w", dir, ErrOtherVersion)
	}
	counters, err := openPinned(dir, pinNames["buckets"])
	if err != nil {
		return err
	}
	defer counters.Close()
	if made := int(counters.MaxEntries()); made != buckets {
		return fmt.Errorf("%s: the data plane was made for %d buckets, not %d", dir, made, buckets)
	}
	if c.heartbeats, err = openPinned(dir, pinNames["heartbeats"]); err != nil {
		return err
	}
	c.ring, err = mapRing(c.heartbeats)
	return err
}

func openPinned(dir, name string) (*ebpf.Map, error) {
	m, err := ebpf.LoadPinnedMap(filepath.Join(dir, name), nil)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", dir, ErrNotPinned)
	}
	if err != nil {
		return nil, fmt.Errorf("open pinned map %s: %w", filepath.Join(dir, name), err)
	}
	return m, nil
}

// SetTable puts a new table in force: the state of each bucket, one byte as a
// State. Buckets beyond the slice are foreign. A table of another epoch than the
// one before sleeps, for up to a millisecond, until that has been in force for
// so long; one of the same epoch is in force at once.
func (c *Control) SetTable(epoch uint64, states []uint8) { c.control.setTable(epoch, states) }

// SetLease lets the node act until the deadline (see Now), with tables of that
// epoch and later ones. A deadline of 0 ends the lease.
func (c *Control) SetLease(epoch uint64, deadline time.Duration) {
	c.control.setLease(epoch, deadline)
}

// Epoch returns the epoch of the table in force; 0 before the first.
func (c *Control) Epoch() uint64 { return c.control.epoch() }

// FD becomes readable (POLLIN) when there are heartbeats. It must not be
// closed or read from.
func (c *Control) FD() int { return c.heartbeats.FD() }

// Next returns the oldest heartbeat that has not been taken; false: there is
// none now. It never blocks.
func (c *Control) Next() (Heartbeat, bool) {
	for record := c.ring.read(); record != nil; record = c.ring.read() {
		if len(record) < int(unsafe.Sizeof(ingressXDPHeartbeat{})) {
			continue
		}
		hb := (*ingressXDPHeartbeat)(unsafe.Pointer(&record[0]))
		return Heartbeat{
			Received: time.Duration(hb.Received),
			Ifindex:  int(hb.Ifindex),
			Node:     int(hb.Node),
			Frame:    hb.Frame[:min(int(hb.Length), len(hb.Frame))],
		}, true
	}
	return Heartbeat{}, false
}

// Close ends nothing: what is in force stays so until the lease is over.
func (c *Control) Close() error {
	errs := []error{c.control.close()}
	if c.ring != nil {
		errs = append(errs, c.ring.close())
	}
	if c.heartbeats != nil {
		errs = append(errs, c.heartbeats.Close())
	}
	return errors.Join(errs...)
}
