package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// pinThread keeps the calling goroutine on the last CPU that it may use, which
// takes fewer interrupts than the first.
func pinThread() (cpu int, undo func(), err error) {
	var allowed, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		return 0, nil, fmt.Errorf("read the CPU affinity: %w", err)
	}
	for i := range 1024 {
		if allowed.IsSet(i) {
			cpu = i
		}
	}
	one.Set(cpu)
	runtime.LockOSThread()
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return 0, nil, fmt.Errorf("bind to CPU %d: %w", cpu, err)
	}
	return cpu, func() {
		_ = unix.SchedSetaffinity(0, &allowed) // a thread may always run where it might before
		runtime.UnlockOSThread()
	}, nil
}

// threadTime returns the CPU time of the calling thread, softirqs that ran on
// its back included: other work on the machine does not count, but for what it
// does to the caches.
func threadTime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		panic(fmt.Sprintf("clock_gettime: %v", err)) // cannot fail with a valid clock and pointer
	}
	return time.Duration(ts.Nano())
}

// packetClock counts the CPU time of the calling thread and of the kernel
// thread that takes over the CPU's softirqs when there are many.
type packetClock struct{ softirqd string }

// newPacketClock finds the kernel thread of a CPU.
func newPacketClock(cpu int) (packetClock, error) {
	want := fmt.Sprintf("ksoftirqd/%d\n", cpu)
	names, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		return packetClock{}, err
	}
	for _, name := range names {
		if comm, err := os.ReadFile(name); err == nil && string(comm) == want {
			return packetClock{filepath.Join(filepath.Dir(name), "schedstat")}, nil
		}
	}
	return packetClock{}, fmt.Errorf("find ksoftirqd of CPU %d: none in /proc", cpu)
}

// now returns the time so far. Differences have a meaning.
func (c packetClock) now() (time.Duration, error) {
	text, err := os.ReadFile(c.softirqd)
	if err != nil {
		return 0, fmt.Errorf("read the CPU time of softirqs: %w", err)
	}
	var ran int64 // ns; the first field of three
	if _, err := fmt.Sscan(string(text), &ran); err != nil {
		return 0, fmt.Errorf("read %s: %w", c.softirqd, err)
	}
	return threadTime() + time.Duration(ran), nil
}
