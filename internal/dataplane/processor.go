package dataplane

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// The kernel's check of a program keeps a processor busy for tens of
// milliseconds, and unless the kernel preempts itself (PREEMPT_NONE and
// PREEMPT_VOLUNTARY do not) nobody else runs there meanwhile, at whatever
// priority. So where a process may use several processors, the last of them is
// for heartbeats, and programs are loaded on the others.

// TakeHeartbeatProcessor moves the calling thread, which must be locked to its
// goroutine, to the processor where no programs are loaded.
func TakeHeartbeatProcessor() error {
	var allowed, last unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		return os.NewSyscallError("sched_getaffinity", err)
	}
	last.Set(lastOf(&allowed))
	return os.NewSyscallError("sched_setaffinity", unix.SchedSetaffinity(0, &last))
}

// offHeartbeatProcessor calls f on a thread that keeps off that processor, as
// far as there are others. It is merely of use: errors do not matter.
func offHeartbeatProcessor(f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var allowed unix.CPUSet
	if unix.SchedGetaffinity(0, &allowed) == nil && allowed.Count() > 1 {
		others := allowed
		others.Clear(lastOf(&allowed))
		_ = unix.SchedSetaffinity(0, &others)
		defer func() { _ = unix.SchedSetaffinity(0, &allowed) }()
	}
	return f()
}

// lastOf is the highest number in a set that is not empty.
func lastOf(set *unix.CPUSet) (last int) {
	for cpu, seen := 0, 0; seen < set.Count(); cpu++ {
		if set.IsSet(cpu) {
			last = cpu
			seen++
		}
	}
	return last
}
