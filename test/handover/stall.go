package handover

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// A virtual machine's processors stand still while their host has others run,
// which /proc/stat tells as steal time, in units of 10 ms (proc(5), USER_HZ). What
// is sent meanwhile waits in queues, which may be too short.
const (
	stealUnit   = 10 * time.Millisecond
	stealPeriod = 50 * time.Millisecond // between two looks
	stealLeast  = 50 * time.Millisecond // of one processor, that counts
)

// watchStalls notes when a processor stands still, until ctx ends.
func watchStalls(ctx context.Context, since func() time.Duration) (stalls []window, err error) {
	before, err := readSteal()
	for err == nil && wait(ctx, stealPeriod) {
		var now []time.Duration
		if now, err = readSteal(); len(now) != len(before) {
			continue
		}
		worst := time.Duration(0)
		for i := range now {
			worst = max(worst, now[i]-before[i])
		}
		if before = now; worst >= stealLeast {
			stalls = append(stalls, window{since() - stealPeriod - worst, since()})
		}
	}
	return stalls, err
}

// readSteal returns the steal time of each processor.
func readSteal() ([]time.Duration, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return nil, fmt.Errorf("read how long the processors stood still: %w", err)
	}
	return parseSteal(string(text)), nil
}

func parseSteal(text string) (all []time.Duration) {
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) > 8 && strings.HasPrefix(words[0], "cpu") && words[0] != "cpu" {
			n, _ := strconv.Atoi(words[8]) // a number, by the kernel
			all = append(all, time.Duration(n)*stealUnit)
		}
	}
	return all
}
