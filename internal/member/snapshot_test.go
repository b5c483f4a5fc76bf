package member

import "testing"

// A new process goes on with what the one before had begun alone: nobody joins it any
// sooner (clauses A3, R4).
func TestSnapshotBeginsAlone(t *testing.T) {
	cfg := testConfig(1, 2)
	cfg.Available = true
	random := func() uint64 { return 7 }
	m := New(cfg, nil, 0, random)
	m.amnesiac = false
	h := ViewHeader{Epoch: 1<<8 | 1, Lineage: 1, Alone: true}
	h.Members[0] = Entry{State: Serving, Incarnation: m.incarnation, Weight: 100}
	h.Voters, h.OldVoters = Set(0).With(1), Set(0).With(1)
	m.now = cfg.Lease
	m.activate(m.build(&h))
	m.durable = m.wanted
	text, err := m.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		now    Time
		begins bool
	}{
		{cfg.Lease + cfg.Lease/2, true},
		{cfg.Lease + m.patience(), false},
	} {
		next, err := Restore(cfg, text, c.now, random)
		if err != nil {
			t.Fatal(err)
		}
		next.begin(c.now)
		if next.beginsAlone() != c.begins {
			t.Errorf("at %v it says that it has just gone on alone: %t", c.now, !c.begins)
		}
	}
}
