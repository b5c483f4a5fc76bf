// Command bench measures what a packet costs: the data plane's programs by test
// runs, foreign packets end to end beside what else takes the same decision, and
// bulk TCP transfers; and how long clients have no service when a node fails. It
// writes tables and plots into docs/benchmarks.
//
// It needs root, Linux 6.6, and iptables, nft and keepalived for the peers. All that it makes
// lives in namespaces of its own and ends with it.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
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
}

var (
	full  = effort{rounds: 21, repeats: 500_000, frames: 200_000, transfers: 7, long: 2 * time.Second, failovers: 7}
	smoke = effort{rounds: 1, repeats: 1000, frames: 1000, transfers: 1, long: 50 * time.Millisecond, failovers: 1}
)

func main() {
	quick := flag.Bool("quick", false, "measure next to nothing and write nothing: does it run, with all its rows?")
	dir := flag.String("o", "docs/benchmarks", "write tables and plots into this `directory`")
	flag.Parse()
	if err := start(*quick, *dir); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) { // the child has said why
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
		os.Exit(1)
	}
}

func start(quick bool, dir string) error {
	if os.Getenv(childMark) == "" {
		return runIsolated()
	}
	amount := full
	if quick {
		amount = smoke
	}
	r, err := measureAll(amount)
	if err != nil {
		return err
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

// measureAll runs the parts one after the other.
func measureAll(amount effort) (*report, error) {
	bpffs, err := mountBPF()
	if err != nil {
		return nil, err
	}
	r := &report{}
	fmt.Fprintln(os.Stderr, "programs…")
	if r.costs, err = measureCost(bpffs, amount.rounds, amount.repeats); err != nil {
		return nil, fmt.Errorf("measure programs: %w", err)
	}
	fmt.Fprintln(os.Stderr, "drops…")
	if r.drops, err = measureDrops(bpffs, amount.rounds, amount.frames); err != nil {
		return nil, fmt.Errorf("measure drops: %w", err)
	}
	fmt.Fprintln(os.Stderr, "transfers…")
	if r.transfers, err = measureTransfers(bpffs, amount.transfers, amount.long); err != nil {
		return nil, fmt.Errorf("measure transfers: %w", err)
	}
	fmt.Fprintln(os.Stderr, "failover…")
	if r.failovers, err = measureFailover(amount.failovers); err != nil {
		return nil, fmt.Errorf("measure failover: %w", err)
	}
	return r, nil
}
