//go:build privileged

package e2e

import (
	"slices"
	"testing"
	"time"

	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/internal/lab"
	"github.com/shoal-net/shoal/test/failover"
)

// Each client of each family sends an echo this often.
const failoverProbes = 2 * time.Millisecond

func closeRig(t *testing.T, rig *failover.Rig) {
	t.Helper()
	t.Cleanup(func() {
		if err := rig.Close(); err != nil {
			t.Error(err)
		}
	})
}

// caseOf is a fault by its name.
func caseOf(t *testing.T, mode cluster.Mode, nodes int, name string) failover.Case {
	t.Helper()
	all := failover.Cases(mode, nodes)
	i := slices.IndexFunc(all, func(c failover.Case) bool { return c.Name == name })
	if i < 0 {
		t.Fatalf("no fault %s", name)
	}
	return all[i]
}

// What the instrument shows of a peer that is known: keepalived takes over
// within three to four advertisements, and does not fence.
func TestFailoverInstrument(t *testing.T) {
	rig, err := failover.NewKeepalived(t.Context(), lab.Options{Name: labName(), Nodes: 2, Clients: 4, NoServices: true},
		failover.KeepalivedOptions{Advert: 50 * time.Millisecond, Realtime: true}, lab.MonitorOptions{Clients: 4, Interval: failoverProbes})
	must(t, err)
	closeRig(t, rig)
	rig.Ask = true
	for _, test := range []struct {
		fault       string
		least, most time.Duration // without service, of each client
		answers     bool
	}{
		{"unplug", 90 * time.Millisecond, time.Second, false},
		{"power-off", 90 * time.Millisecond, time.Second, false},
		{"freeze-both", 0, 100 * time.Millisecond, true},
	} {
		o, err := rig.Run(t.Context(), caseOf(t, cluster.Backend, 2, test.fault), 0)
		must(t, err)
		t.Logf("%s: %v", test.fault, o.Gaps)
		if !o.Settled || len(o.Gaps) != 8 || slices.Min(o.Gaps) < test.least || slices.Max(o.Gaps) > test.most {
			t.Errorf("%s: settled %v, gaps %v; want 8 from %v to %v", test.fault, o.Settled, o.Gaps, test.least, test.most)
		}
		if o.Answers != test.answers || o.Doubles > 0 {
			t.Errorf("%s: the node that was given up answers: %v, want %v; %d packets handled twice",
				test.fault, o.Answers, test.answers, o.Doubles)
		}
	}
}

// One node handles everything that two are sent: the instrument must see it.
func TestFailoverInstrumentSeesDoubles(t *testing.T) {
	l := startLab(t, lab.Options{Nodes: 2, Clients: 4, NodeConfig: func(_ int, file string) string { return file + "action: {mark: 0x1}\n" }})
	m, err := l.NewMonitor(lab.MonitorOptions{Clients: 4, Interval: failoverProbes})
	must(t, err)
	t.Cleanup(func() { must(t, m.Close()) })
	began := time.Now()
	await(t, "packets that both nodes handle", func() bool { return len(m.Doubles(began, time.Now())) > 100 })
}
