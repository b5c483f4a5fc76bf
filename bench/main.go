// Command bench measures what a packet costs: the data plane's programs by test
// runs, foreign packets end to end beside what else takes the same decision, and
// bulk TCP transfers; how long clients have no service when a node fails, and new
// ones when a bucket moves; how long a node takes to be drained; and what nodes
// spend on knowing each other. It writes tables and plots into docs/benchmarks.
//
// It needs root, Linux 6.6, and iptables, nft, keepalived and nginx for the peers. All that it makes
// lives in namespaces of its own and ends with it.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// effort is how much is measured.
type effort struct {
	rounds    int // that count, of programs and drops
	repeats   int // of a program in a round
	frames    int // that are sent to a node in a round
	transfers int // rounds of transfers
	long      time.Duration
	failovers int // rounds of faults
	controls  int // rounds of watching heartbeat processes
	watch     time.Duration
	moves     int // hand-overs
	drains    int // rounds of whole drains
	kept      int // connections during them
}

var (
	full  = effort{rounds: 21, repeats: 500_000, frames: 200_000, transfers: 7, long: 2 * time.Second, failovers: 7, controls: 3, watch: 10 * time.Second, moves: 1000, drains: 5, kept: 10_000}
	smoke = effort{rounds: 1, repeats: 1000, frames: 1000, transfers: 1, long: 50 * time.Millisecond, failovers: 1, controls: 1, watch: 200 * time.Millisecond, moves: 4, drains: 1, kept: 30}
)

func main() {
	quick := flag.Bool("quick", false, "measure next to nothing and write nothing: does it run, with all its rows?")
	dir := flag.String("o", "docs/benchmarks", "write tables and plots into this `directory`")
	only := flag.String("only", "", "only these `parts`: "+strings.Join(partNames(), ","))
	flag.Parse()
	if err := start(*quick, *dir, *only); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) { // the child has said why
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
		os.Exit(1)
	}
}

func start(quick bool, dir, only string) error {
	chosen, err := choose(only)
	if err != nil {
		return err
	}
	if os.Getenv(childMark) == "" {
		return runIsolated()
	}
	amount := full
	if quick {
		amount = smoke
	}
	bpffs, err := mountBPF()
	if err != nil {
		return err
	}
	r := &report{}
	for _, p := range chosen {
		fmt.Fprintln(os.Stderr, p.name+"…")
		if err := p.measure(r, bpffs, amount); err != nil {
			return fmt.Errorf("measure %s: %w", p.name, err)
		}
	}
	if err := r.complete(amount); err != nil {
		return err
	}
	if quick {
		fmt.Print(r.text())
		return nil
	}
	return r.write(dir)
}

// part is what can be measured alone.
type part struct {
	name    string
	measure func(r *report, bpffs string, amount effort) error
}

var parts = []part{
	{"programs", func(r *report, bpffs string, amount effort) (err error) {
		r.costs, err = measureCost(bpffs, amount.rounds, amount.repeats)
		return err
	}},
	{"drops", func(r *report, bpffs string, amount effort) (err error) {
		r.drops, err = measureDrops(bpffs, amount.rounds, amount.frames)
		return err
	}},
	{"transfers", func(r *report, bpffs string, amount effort) (err error) {
		r.transfers, err = measureTransfers(bpffs, amount.transfers, amount.long)
		return err
	}},
	{"failover", func(r *report, _ string, amount effort) (err error) {
		r.failovers, err = measureFailover(amount.failovers)
		return err
	}},
	{"control", func(r *report, _ string, amount effort) (err error) {
		r.controls, err = measureControl(amount.controls, amount.watch)
		return err
	}},
	{"handover", func(r *report, _ string, amount effort) (err error) {
		r.handover, err = measureHandover(amount.moves)
		return err
	}},
	{"drain", func(r *report, _ string, amount effort) (err error) {
		r.drains, err = measureDrains(amount.drains, amount.kept)
		return err
	}},
}

func partNames() (names []string) {
	for _, p := range parts {
		names = append(names, p.name)
	}
	return names
}

// choose returns the parts in a list with commas; an empty one has all.
func choose(only string) (chosen []part, err error) {
	if only == "" {
		return parts, nil
	}
	for _, name := range strings.Split(only, ",") {
		i := slices.Index(partNames(), name)
		if i < 0 {
			return nil, fmt.Errorf("-only %s: the parts are %s", name, strings.Join(partNames(), ", "))
		}
		chosen = append(chosen, parts[i])
	}
	return chosen, nil
}
