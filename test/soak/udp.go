package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/shoal-net/shoal/internal/lab"
	"github.com/shoal-net/shoal/test/handover"
)

const udpPeriod = time.Second // between two datagrams of a flow that goes on

// What changes may cost UDP's clients, on average over all.
var (
	movesLimits = handover.UDPLimits{Flow: 5 * time.Millisecond, Query: 5 * time.Millisecond}
	keepsLimits = handover.UDPLimits{Keeps: true, Flow: time.Millisecond, Query: 300 * time.Millisecond}
)

// datagrams lets a cluster change while it is sent datagrams.
func datagrams(build newCluster, plan func([]handover.Step) []handover.Step, limits handover.UDPLimits) func(context.Context, handoverOptions, lab.Options) ([]figure, error) {
	return func(ctx context.Context, o handoverOptions, l lab.Options) (all []figure, err error) {
		c, err := build(ctx, l)
		if err != nil {
			return nil, err
		}
		load := handover.UDPLoad{Flows: o.flows, Period: udpPeriod, Queries: o.queries}
		r, err := handover.RunUDP(ctx, c, load, plan(handover.Plan(o.seed, handoverNodes, o.changes)), os.Stderr)
		if r != nil {
			fmt.Fprint(os.Stderr, r)
			err = errors.Join(err, r.Check(limits))
			for _, row := range r.Rows() {
				all = append(all, figure{row[0], row[1]})
			}
		}
		return append(all, figure{"seed", fmt.Sprint(o.seed)}), errors.Join(err, c.Close())
	}
}

const datagramsText = "\n## UDP\n\n"
