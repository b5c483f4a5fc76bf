package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/shoal-net/shoal/internal/agent"
	"github.com/shoal-net/shoal/internal/dataplane"
	"github.com/shoal-net/shoal/internal/lab"
	"github.com/shoal-net/shoal/test/handover"
)

const (
	drainNodes   = 3
	drainedNode  = 2
	drainClients = 100             // addresses of each family
	drainPeriod  = 4 * time.Second // between two requests on a connection
)

// measureDrains drains one node of three, and brings it back, again and again.
func measureDrains(rounds, connections int) (all []handover.DrainTimes, err error) {
	dir, binary, err := buildShoal()
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	c, err := handover.NewShoal(ctx, lab.Options{Name: "bench", Nodes: drainNodes, Clients: drainClients, Binary: binary})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	load := handover.Load{Connections: connections, Period: drainPeriod}
	for range rounds {
		t, err := handover.MeasureDrain(ctx, c, load, drainedNode, func() (bool, error) { return handedOver(c.Lab()) })
		if err != nil {
			return nil, err
		}
		all = append(all, t)
		if err := c.Change(ctx, handover.Change{Kind: handover.Undrain, Node: drainedNode, On: drainedNode}); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// handedOver reports whether each bucket has one node that takes new flows, and
// the drained one is that of none.
func handedOver(l *lab.Lab) (bool, error) {
	takers := map[int]int{} // by bucket
	buckets := 0
	for _, n := range l.Nodes {
		paths, err := agent.NewPaths(n.Instance, "lab")
		if err != nil {
			return false, err
		}
		s, err := dataplane.Inspect(paths.Pins())
		if err != nil {
			return false, fmt.Errorf("read the table of %s: %w", n.Name, err)
		}
		buckets = len(s.States)
		for b, state := range s.States {
			switch {
			case state == dataplane.Foreign || state == dataplane.Draining:
			case n.ID == drainedNode:
				return false, nil
			default:
				takers[b]++
			}
		}
	}
	return len(takers) == buckets, nil
}

func (r *report) drainTable() string {
	var connections, handed, returned, ended, emptied sample
	for _, d := range r.drains {
		connections = append(connections, float64(d.Connections))
		for s, t := range map[*sample]time.Duration{&handed: d.Handed, &returned: d.Returned, &ended: d.Ended, &emptied: d.Emptied} {
			*s = append(*s, float64(t)/float64(time.Millisecond))
		}
	}
	row := func(what string, s sample) []string {
		return []string{what, fmt.Sprintf("%.0f", s.median()), fmt.Sprintf("%.0f–%.0f", s.quantile(0), s.quantile(1))}
	}
	return table([]string{"", "median", "all"}, [][]string{
		row("connections that the node has", connections),
		row("until it takes no new ones, and the others do, ms", handed),
		row("until `shoal drain --no-wait` returns, ms", returned),
		row("until its clients have ended the last connection, ms", ended),
		row("from then until `shoal drain` knows, ms", emptied),
	})
}
