//go:build privileged

package e2e

import (
	"context"
	"testing"
	"time"

	"github.com/shoal-net/shoal/internal/lab"
	"github.com/shoal-net/shoal/test/handover"
)

// Nodes are drained, weighed, stopped and started again while clients send
// datagrams: none is handled twice, none is lost without a change, and flows
// stay with their nodes where they are to. It is a small form of `make handover`.
func TestHandoverUDP(t *testing.T) {
	const seed, nodes, changes = 28, 3, 6
	plan := handover.Plan(seed, nodes, changes)
	for name, tt := range map[string]struct {
		build  func(context.Context, lab.Options) (handover.Cluster, error)
		plan   []handover.Step
		limits handover.UDPLimits
	}{
		"keep":      {handover.NewUDP("keep"), handover.WithoutReturns(plan), handover.KeepLimits},
		"move":      {handover.NewUDP("move"), plan, handover.MoveLimits},
		"conntrack": {handover.NewUDPGateways, handover.WithoutReturns(plan), handover.KeepLimits},
	} {
		t.Run(name, func(t *testing.T) {
			log := &logbook{}
			defer func() {
				if t.Failed() {
					t.Logf("what was done, and the agents' logs:\n%s", log)
				}
			}()
			c, err := tt.build(t.Context(), lab.Options{Name: labName(), Binary: shoal, Nodes: nodes, Clients: 20, Log: log, NodeConfig: patientLease})
			must(t, err)
			defer func() { must(t, c.Close()) }()
			load := handover.UDPLoad{Flows: 200, Period: 200 * time.Millisecond, Queries: 100}
			r, err := handover.RunUDP(t.Context(), c, load, tt.plan, log)
			must(t, err)
			if err := r.Check(tt.limits); err != nil {
				t.Error(err)
			}
			if moves := r.Kept.Moves; !tt.limits.Keeps && moves == 0 {
				t.Error("no flow went on with another node, though nodes were drained")
			}
			t.Logf("%d flows, %d of %d datagrams answered, on with another node %d times; %d of %d queries answered",
				r.Kept.Flows, r.Kept.Answered, r.Kept.Sent, r.Kept.Moves, r.Queries.Answered, r.Queries.Sent)
		})
	}
}
