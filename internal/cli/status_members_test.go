package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shoal-net/shoal/internal/agent"
	"github.com/shoal-net/shoal/internal/heartbeat"
)

func TestPrintMembership(t *testing.T) {
	s := &agent.Status{
		Nodes: []agent.NodeStatus{{ID: 1, Rate: 17.6}},
		Members: &heartbeat.Status{
			Interfaces: []heartbeat.InterfaceStatus{{Name: "eth1"}, {Name: "hb0"}},
			Refused:    map[string]uint64{"wrong_key": 3, "malformed": 1},
			Lateness:   heartbeat.LatenessStatus{WorstMS: 1.25},
			Nodes: []heartbeat.NodeStatus{
				{ID: 1, Name: "alpha", Self: true, Present: true, State: "serving", Says: "serving", Weight: 100, Buckets: 4096, LeaseLeftMS: 80, LatenessMS: 1.25,
					HealthLimit: 1000, Acquiring: 7, OrderedBy: 2, Ordered: 100},
				{ID: 2, Name: "beta", Present: true, State: "lost", Says: "joining", Weight: 50, HearsUs: []string{"hb0"}, HealthLimit: 0, DrainedBy: 1, Draining: 9,
					LastHeardMS: map[string]float64{"eth1": 4, "hb0": 3.6}},
				{ID: 3, Name: "gamma", State: "serving", Says: "serving", Voter: true, VotesOnly: true, LastHeardMS: map[string]float64{"eth1": 61_000}},
				{ID: 4, Name: "delta", State: "unknown", HealthLimit: -1},
			},
		},
	}
	var out bytes.Buffer
	printMembership(&out, s)
	want := `
NODE  NAME   STATE                 WEIGHT      BUCKETS  PER SECOND  LEASE LEFT  LATE    HEARD ON ETH1     HEARD ON HB0
1     alpha  serving               100         4096     18          80.0 ms     1.2 ms  self              self
2     beta   lost, says joining    50          0        0           0.0 ms      0.0 ms  4ms ago, one way  4ms ago
3     gamma  serving, silent       votes only  0        0           -           -       1m1s ago          never
4     delta  unknown, never heard  0           0        0           -           -       never             never
alpha: weight 100, asked for on beta; others have connections still in 7 of its buckets
beta: drained, asked for on alpha; unhealthy, as its checks say; gave 9 buckets up in which it has connections still

heartbeats at worst 1.2 ms late within a minute, 1 refused: malformed, 3 refused: wrong_key
`
	if diff := cmp.Diff(strings.TrimPrefix(want, "\n"), out.String()); diff != "" {
		t.Error(diff)
	}
}

func TestViewWords(t *testing.T) {
	for want, m := range map[string]*heartbeat.Status{
		"none yet: this node is joining": {State: "joining"},
		"epoch 1.2, for 4.8s: alpha joins; without a majority; 7 buckets wait for their old owners": {
			View: &heartbeat.ViewStatus{Epoch: 258, Round: 1, Proposer: 2, SinceMS: 4812, Reason: "alpha joins", Alone: true, Moving: 7}},
	} {
		if got := viewWords(m); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestLeaseWords(t *testing.T) {
	for want, lease := range map[string]agent.LeaseStatus{
		"none, epoch 3, table of epoch 2":            {View: "3", TableView: "2"},
		"80 ms left, epoch 1.2, table of epoch 2.64": {Valid: true, LeftMS: 80.2, View: "1.2", TableView: "2.64"},
	} {
		if got := leaseWords(&agent.Status{Lease: lease}); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
