package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// schedstat is how long all threads of a process have run, and how long they have
// waited for a processor: the first two numbers of their schedstat, in ns
// (Documentation/scheduler/sched-stats.rst).
func schedstat(pid int) (ran, waited time.Duration, err error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("process %d is gone", pid)
	}
	for _, file := range files {
		var r, w int64
		text, readErr := os.ReadFile(file)
		if readErr == nil {
			_, readErr = fmt.Sscan(string(text), &r, &w)
		}
		err = errors.Join(err, readErr)
		ran, waited = ran+time.Duration(r), waited+time.Duration(w)
	}
	return ran, waited, err
}
