//go:build privileged

package e2e

import (
	"testing"

	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/internal/lab"
	"github.com/shoal-net/shoal/test/failover"
)

// The faults of the short run; make soak has all of them, many times.
var failoverFaults = map[cluster.Mode][]string{
	cluster.Backend: {"kill-agent", "kill-heartbeat", "freeze-agent", "freeze-heartbeat", "freeze-both", "unplug", "mute", "deaf",
		"power-off", "partition", "loss-5"},
	cluster.Gateway: {"freeze-both", "power-off", "unplug-server", "mute-client", "deaf-server"},
}

// Clients of a node that fails are served by the others, nobody else notices,
// and no packet is handled twice. How soon depends on what else this machine
// does: it is told, and make soak measures it.
func TestFailover(t *testing.T) {
	for mode, faults := range failoverFaults {
		t.Run(mode.String(), func(t *testing.T) {
			log := &logbook{}
			rig, err := failover.NewShoal(t.Context(), lab.Options{Name: labName(), Binary: shoal, Mode: mode, Clients: 8, NoServices: true, Log: log},
				failover.DefaultTiming, lab.MonitorOptions{Clients: 8, Interval: failoverProbes})
			must(t, err)
			closeRig(t, rig)
			rig.Ask = mode == cluster.Backend
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("the agents' logs:\n%s", log)
				}
			})
			for turn, fault := range faults {
				o, err := rig.Run(t.Context(), caseOf(t, mode, 3, fault), turn)
				t.Logf("%s of nodes %v: gaps %v, when it was over %v", fault, o.Struck, o.Gaps, o.Moves)
				if err != nil {
					t.Fatalf("%s: %v", fault, err)
				}
				checkOutcome(t, fault, o)
			}
		})
	}
}

func checkOutcome(t *testing.T, fault string, o failover.Outcome) {
	t.Helper()
	if !o.Settled || !o.Healed {
		t.Errorf("%s: the others took over: %v; all serve again: %v", fault, o.Settled, o.Healed)
	}
	if o.Doubles > 0 {
		t.Errorf("%s: %d packets were handled twice", fault, o.Doubles)
	}
	if len(o.Needless) > 0 {
		t.Errorf("%s: clients interrupted without need, for %v", fault, o.Needless)
	}
	if o.Answers {
		t.Errorf("%s: a node that was given up still answers", fault)
	}
}
