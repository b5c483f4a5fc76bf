//go:build privileged

package e2e

import (
	"testing"
	"time"

	"github.com/shoal-net/shoal/internal/lab"
	"github.com/shoal-net/shoal/test/handover"
)

// Nodes are drained, weighed, stopped and started again while clients use
// connections that they keep open, and open others: none breaks. It is a small
// form of `make handover`.
func TestHandover(t *testing.T) {
	const seed, nodes, changes = 1, 3, 16
	log := &logbook{}
	defer func() {
		if t.Failed() {
			t.Logf("what was done, and the agents' logs:\n%s", log)
		}
	}()
	c, err := handover.NewShoal(t.Context(), lab.Options{Name: labName(), Binary: shoal, Nodes: nodes, Clients: 20, Log: log, NodeConfig: patientLease})
	must(t, err)
	defer func() { must(t, c.Close()) }()
	load := handover.Load{Connections: 400, Period: 2 * time.Second, Visits: 50}
	r, err := handover.Run(t.Context(), c, load, handover.Plan(seed, nodes, changes), log)
	must(t, err)
	if r.Opened < load.Connections || r.Answers < load.Connections || r.Visits == 0 || r.Ended == 0 {
		t.Errorf("too little happened: %+v", r)
	}
	for _, b := range r.Broken {
		t.Errorf("broken: %+v", b)
	}
	for _, b := range r.Failed {
		t.Errorf("failed: %+v", b)
	}
	for _, reset := range r.Resets {
		t.Errorf("a stray reset: %+v", reset)
	}
	if r.ResetsSent > 0 {
		t.Errorf("clients sent %d resets", r.ResetsSent)
	}
	t.Logf("%v: %d connections, %d ended, %d answers, the slowest after %v; %d visits; %d SYNs repeated, %d segments", r.Took,
		r.Opened, r.Ended, r.Answers, r.Slowest, r.Visits, r.SynsRepeated, r.Repeated)
}
