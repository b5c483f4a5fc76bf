package dataplane

import (
	"fmt"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// abiVersion is ABI_VERSION of bpf/abi.h.
const abiVersion = 3

// swapPause is how long a half of the table is left alone after it was in use:
// a program that began with it must have ended before another epoch's table is
// written there.
const swapPause = time.Millisecond

// control is the memory that the agent, or the process that decides in its
// place, and the programs share. One of them writes at a time.
type control struct {
	memory  []byte
	shared  *ingressXDPControl
	swapped time.Duration // when the halves changed places last, or may have
}

func mapControl(m *ebpf.Map, writable bool) (*control, error) {
	size := int(unsafe.Sizeof(ingressXDPControl{}))
	if int(m.ValueSize()) != size {
		return nil, fmt.Errorf("%w: shared map has %d bytes, expected %d", ErrOtherVersion, m.ValueSize(), size)
	}
	prot := unix.PROT_READ
	if writable {
		prot |= unix.PROT_WRITE
	}
	memory, err := unix.Mmap(m.FD(), 0, size, prot, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map the table into memory: %w", err)
	}
	// Another process may have swapped a moment ago.
	return &control{memory: memory, shared: (*ingressXDPControl)(unsafe.Pointer(&memory[0])), swapped: Now()}, nil
}

func (c *control) close() error { return unix.Munmap(c.memory) }

// setTable puts a table in force, a byte for each bucket; those beyond are
// foreign. One of a new epoch is written beside the one before: a program sees
// one of them, with its epoch. What changes within an epoch are buckets that
// their old owners have left, each by itself, and nobody has them until it is
// written: that is done at once, where it is.
func (c *control) setTable(epoch uint64, states []uint8) {
	half := c.shared.Active & 1
	if epoch != c.epoch() {
		sleepUntil(c.swapped + swapPause)
		half = 1 - half
	}
	table := c.shared.State[half][:]
	clear(table[copy(table, states):])
	atomic.StoreUint64(&c.shared.TableEpoch[half], epoch)
	if half != c.shared.Active&1 {
		atomic.StoreUint32(&c.shared.Active, half)
		c.swapped = Now()
	}
}

// sleepUntil sleeps by a raw system call: a real-time thread must not have to
// wait for the Go scheduler after it, and to others a millisecond is no matter.
func sleepUntil(t time.Duration) {
	if t <= Now() {
		return
	}
	ts := unix.NsecToTimespec(int64(t))
	for errno := unix.EINTR; errno == unix.EINTR; {
		_, _, errno = unix.RawSyscall6(unix.SYS_CLOCK_NANOSLEEP, unix.CLOCK_BOOTTIME, unix.TIMER_ABSTIME,
			uintptr(unsafe.Pointer(&ts)), 0, 0, 0)
	}
}

// setLease orders its two stores so that no program sees the new deadline with
// the old epoch.
func (c *control) setLease(epoch uint64, deadline time.Duration) {
	if deadline < time.Duration(atomic.LoadUint64(&c.shared.LeaseDeadline)) {
		atomic.StoreUint64(&c.shared.LeaseDeadline, uint64(max(deadline, 0)))
	}
	atomic.StoreUint64(&c.shared.LeaseEpoch, epoch)
	atomic.StoreUint64(&c.shared.LeaseDeadline, uint64(max(deadline, 0)))
}

func (c *control) state(bucket int) State {
	half := atomic.LoadUint32(&c.shared.Active) & 1
	return State(c.shared.State[half][bucket])
}

func (c *control) table(buckets int) (epoch uint64, states []State) {
	half := atomic.LoadUint32(&c.shared.Active) & 1
	states = make([]State, buckets)
	for i := range states {
		states[i] = State(c.shared.State[half][i])
	}
	return atomic.LoadUint64(&c.shared.TableEpoch[half]), states
}

// acts reports whether packets of owned buckets are let pass: lease_valid of
// bpf/bucket.h.
func (c *control) acts() bool {
	return time.Duration(atomic.LoadUint64(&c.shared.LeaseDeadline)) > Now() &&
		c.epoch() >= atomic.LoadUint64(&c.shared.LeaseEpoch)
}

// epoch returns the epoch of the active half.
func (c *control) epoch() uint64 {
	return atomic.LoadUint64(&c.shared.TableEpoch[atomic.LoadUint32(&c.shared.Active)&1])
}

// Now returns the clock that leases are counted on: CLOCK_BOOTTIME, which runs
// on while the machine is suspended. The call is a raw one: see sleepUntil.
func Now() time.Duration {
	var ts unix.Timespec
	// Cannot fail with a valid clock and pointer.
	unix.RawSyscall(unix.SYS_CLOCK_GETTIME, unix.CLOCK_BOOTTIME, uintptr(unsafe.Pointer(&ts)), 0)
	return time.Duration(ts.Nano())
}
