package heartbeat

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// priority is below that of the kernel's threaded interrupt handlers (50):
	// without them no heartbeat arrives.
	priority = 40
	// memoryLimit is where garbage is collected after all. Steady work makes
	// none; questions and reloads make some.
	memoryLimit = 128 << 20
)

// becomeRealtime makes the process one that runs when it is to. What the host
// does not allow is told: it goes on without.
func becomeRealtime() (lacking []string) {
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(memoryLimit)
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"memory is not locked, heartbeats are late when it is short", lockMemory},
		{"the node is lost when memory runs out", func() error {
			return os.WriteFile("/proc/self/oom_score_adj", []byte("-1000"), 0)
		}},
		// Last: what takes long before it takes nothing from others.
		{"no real-time priority, heartbeats are late on a busy host", setScheduler},
	} {
		if err := step.do(); err != nil {
			lacking = append(lacking, fmt.Sprintf("%s: %v", step.what, err))
		}
	}
	return lacking
}

// setScheduler gives all threads of the process the priority, and with them
// those that they start: a thread that comes back from a long system call may
// need another one of the Go runtime's to go on.
func setScheduler() error {
	attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: priority}
	for {
		threads, err := filepath.Glob("/proc/self/task/*")
		if err != nil {
			return err
		}
		changed := false
		for _, t := range threads {
			tid, err := strconv.Atoi(filepath.Base(t))
			if err != nil {
				return err
			}
			now, err := unix.SchedGetAttr(tid, 0)
			if errors.Is(err, unix.ESRCH) || err == nil && now.Policy == attr.Policy && now.Priority == attr.Priority {
				continue
			}
			changed = true
			if err := unix.SchedSetAttr(tid, &attr, 0); err != nil && !errors.Is(err, unix.ESRCH) {
				return os.NewSyscallError("sched_setattr", err)
			}
		}
		if !changed {
			return nil // none was started by one that had not changed yet
		}
	}
}

// lockMemory keeps what is used once from being paged out, and reads in what
// may be used: the program itself. Memory that the Go runtime has only reserved
// takes no room.
func lockMemory() error {
	if err := unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | unix.MCL_ONFAULT); err != nil {
		return os.NewSyscallError("mlockall", err)
	}
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		return err
	}
	defer maps.Close()
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		if start, length, ok := programText(lines.Text()); ok {
			// Best effort: what fails here is read when it is used.
			_, _, _ = unix.Syscall(unix.SYS_MADVISE, start, length, unix.MADV_POPULATE_READ)
		}
	}
	return nil
}

// programText parses a line of /proc/PID/maps (proc_pid_maps(5)); ok: it is a
// part of a file that is mapped to be read or run, and not to be written.
func programText(line string) (start, length uintptr, ok bool) {
	fields := strings.Fields(line)
	if len(fields) < 6 || !strings.HasPrefix(fields[5], "/") || !strings.HasPrefix(fields[1], "r-") {
		return 0, 0, false
	}
	from, to, _ := strings.Cut(fields[0], "-")
	first, err := strconv.ParseUint(from, 16, 64)
	if err != nil {
		return 0, 0, false
	}
	end, err := strconv.ParseUint(to, 16, 64)
	return uintptr(first), uintptr(end - first), err == nil
}
