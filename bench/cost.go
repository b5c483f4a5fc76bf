package main

import (
	"fmt"

	"github.com/cilium/ebpf"
)

// costCase is one path through a program.
type costCase struct {
	name    string
	prog    *ebpf.Program
	frame   []byte
	plane   *plane // whose counter every run must raise; nil: a program without
	counter string
	floor   int     // index of the bare drop of the same program type
	beside  int     // index of the case that the target counts from; the floor mostly
	target  float64 // ns above beside; 0: none
}

// costResult is what a case costs, in ns for each packet.
type costResult struct {
	costCase
	total sample
	more  sample // than the case beside
}

// measureCost runs the programs by BPF_PROG_TEST_RUN on one CPU. A repeat finds
// the frame as the one before left it, so every program here leaves it as it
// was: the interface's own address is the cluster MAC, which makes to_host write
// what is there already. The counters tell that no repeat took another path.
func measureCost(bpffs string, rounds, repeats int) ([]costResult, error) {
	h, err := newHost()
	if err != nil {
		return nil, err
	}
	var results []costResult
	err = h.do(func() error {
		cases, closeAll, err := costCases(h, bpffs)
		if err != nil {
			return err
		}
		defer closeAll()
		_, unpin, err := pinThread()
		if err != nil {
			return err
		}
		defer unpin()
		samples, err := interleave(rounds, len(cases), func(i int) (float64, error) { return cases[i].measure(repeats) })
		if err != nil {
			return err
		}
		for i, c := range cases {
			results = append(results, costResult{c, samples[i], samples[i].minus(samples[c.beside])})
		}
		return nil
	})
	return results, err
}

// measure returns the ns that one run took, of so many. The library starts a run
// again that a signal interrupts. It does not say so, but the counter does: such
// a run does not count.
func (c costCase) measure(repeats int) (float64, error) {
	for {
		before, err := c.count()
		if err != nil {
			return 0, err
		}
		start := threadTime()
		_, err = c.prog.Run(&ebpf.RunOptions{Data: c.frame, Repeat: uint32(repeats)})
		took := threadTime() - start
		if err != nil {
			return 0, fmt.Errorf("run %s: %w", c.name, err)
		}
		after, err := c.count()
		if err != nil {
			return 0, err
		}
		switch ran := after - before; {
		case c.plane == nil || ran == uint64(repeats):
			return float64(took.Nanoseconds()) / float64(repeats), nil
		case ran < uint64(repeats):
			return 0, fmt.Errorf("run %s: %d of %d runs ended as %s", c.name, ran, repeats, c.counter)
		}
	}
}

func (c costCase) count() (uint64, error) {
	if c.plane == nil {
		return 0, nil
	}
	counters, err := c.plane.counters()
	return counters[c.counter], err
}
