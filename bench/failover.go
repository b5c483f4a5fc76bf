package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/internal/lab"
	"github.com/shoal-net/shoal/test/failover"
)

// failoverCase is a cluster of three nodes whose clients lose their node.
type failoverCase struct {
	name   string
	target float64 // ms that no client should be longer without service; 0: none
	build  func(context.Context, lab.Options, lab.MonitorOptions) (*failover.Rig, error)
}

// failoverResult is what one kind of fault did to a cluster.
type failoverResult struct {
	failoverCase
	fault     failover.Case
	gaps      sample // ms, of the client that was longest without service, one for each round
	doubles   int    // packets that two nodes handled
	answers   int    // rounds in which the node that was given up still answered
	unsettled int    // rounds in which nobody took over
}

// The faults that both kinds of cluster can have, in words that fit both.
var failoverFaults = map[string]string{
	"unplug":      "the node's cables pulled",
	"power-off":   "power off",
	"kill-both":   "its processes killed (SIGKILL)",
	"freeze-both": "its processes stopped (SIGSTOP)",
}

// Which clients are watched, and how closely.
const (
	failoverClients  = 4 // of each family
	failoverInterval = 2 * time.Millisecond
)

func failoverCases() []failoverCase {
	shoal := func(t failover.Timing) func(context.Context, lab.Options, lab.MonitorOptions) (*failover.Rig, error) {
		return func(ctx context.Context, o lab.Options, m lab.MonitorOptions) (*failover.Rig, error) {
			return failover.NewShoal(ctx, o, t, m)
		}
	}
	peer := func(advert time.Duration) func(context.Context, lab.Options, lab.MonitorOptions) (*failover.Rig, error) {
		return func(ctx context.Context, o lab.Options, m lab.MonitorOptions) (*failover.Rig, error) {
			return failover.NewKeepalived(ctx, o, failover.KeepalivedOptions{Advert: advert}, m)
		}
	}
	return []failoverCase{
		{"shoal, default: 20/100 ms", 150, shoal(failover.DefaultTiming)},
		{"shoal, fast: 5/30 ms", 50, shoal(failover.FastTiming)},
		{"keepalived, default: 1 s", 0, peer(time.Second)},
		{"keepalived, 100 ms", 0, peer(100 * time.Millisecond)},
		{"keepalived, 10 ms", 0, peer(10 * time.Millisecond)},
	}
}

// measureFailover builds each cluster in every round anew, so that only one of
// them runs at a time, and strikes it with each fault.
func measureFailover(rounds int) ([]failoverResult, error) {
	dir, binary, err := buildShoal()
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	var results []failoverResult
	for _, c := range failoverCases() {
		for _, fault := range failover.Cases(cluster.Backend, 3) {
			if failoverFaults[fault.Name] != "" {
				results = append(results, failoverResult{failoverCase: c, fault: fault})
			}
		}
	}
	for round := range rounds {
		for i := 0; i < len(results); i += len(failoverFaults) {
			if err := measureCluster(binary, round, results[i:i+len(failoverFaults)]); err != nil {
				return nil, fmt.Errorf("%s: %w", results[i].name, err)
			}
		}
	}
	return results, nil
}

// measureCluster builds a cluster and strikes it once with each fault.
func measureCluster(binary string, round int, results []failoverResult) (err error) {
	ctx := context.Background()
	rig, err := results[0].build(ctx, lab.Options{Name: "bench", Nodes: 3, Clients: failoverClients, Binary: binary, NoServices: true},
		lab.MonitorOptions{Clients: failoverClients, Interval: failoverInterval})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rig.Close()) }()
	rig.Ask = true
	for i := range results {
		r := &results[i]
		outcome, err := rig.Run(ctx, r.fault, round)
		if err != nil {
			return fmt.Errorf("%s: %w", r.fault.Name, err)
		}
		longest := time.Duration(0)
		for _, gap := range outcome.Gaps {
			longest = max(longest, gap)
		}
		r.gaps = append(r.gaps, float64(longest)/float64(time.Millisecond))
		r.doubles += outcome.Doubles
		if outcome.Answers {
			r.answers++
		}
		if !outcome.Settled {
			r.unsettled++
		}
	}
	return nil
}

// failoverTable returns the table of all faults.
func (r *report) failoverTable() string {
	var rows [][]string
	for _, f := range r.failovers {
		row := []string{
			f.name, failoverFaults[f.fault.Name], fmt.Sprintf("%.0f (%s)", f.gaps.median(), f.gaps.spread()), fmt.Sprintf("%.0f", f.gaps.quantile(1)),
			"", "", fmt.Sprint(f.doubles), "no",
		}
		if f.target > 0 {
			row[4] = fmt.Sprintf("≤ %.0f", f.target)
			row[5] = verdict(f.gaps.quantile(1) <= f.target && f.unsettled == 0)
		}
		if f.answers > 0 {
			row[7] = fmt.Sprintf("**yes**, in %d of %d", f.answers, len(f.gaps))
		}
		rows = append(rows, row)
	}
	return table([]string{"cluster", "fault", "longest gap, ms (middle half)", "worst", "target", "", "handled twice", "given up, still answers"}, rows)
}

// failoverBars are the bars of the plot: what both can do nothing but notice.
func (r *report) failoverBars() []bar {
	var bars []bar
	for _, f := range r.failovers {
		if f.fault.Name != "power-off" && f.fault.Name != "unplug" {
			continue
		}
		c := peerColor
		if f.target > 0 {
			c = shoalColor
		}
		bars = append(bars, newBar(f.name+", "+f.fault.Name, f.gaps.median(), "%.0f", c))
	}
	return bars
}
