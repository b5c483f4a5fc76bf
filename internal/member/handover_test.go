package member

import "testing"

// A line of views that a node goes over to may have been without it, as long as it
// does not know better: others have answered for its flows then (clause T7).
func TestOtherLineEndsFlows(t *testing.T) {
	for _, c := range []struct {
		name    string
		lineage uint64
		follows bool // the view that the node acted on
		voters  Set
		stale   bool
	}{
		{"a view of the same line", 1, true, 3, false},
		{"one that the other made alone on top of it", 2, true, 2, false},
		{"of another line", 2, false, 2, true},
		{"its own, on top of one that it does not know any more", 2, false, 1, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := testConfig(1, 2)
			cfg.Keep, cfg.Available = true, true
			m := New(cfg, nil, 0, func() uint64 { return 7 })
			h := ViewHeader{Epoch: 1<<8 | 1, Lineage: 1, Voters: 3, OldVoters: 3}
			h.Members[0] = Entry{State: Serving, Incarnation: m.incarnation, Weight: 100}
			first := m.build(&h)
			m.known = append(m.known, first)
			m.activate(first)
			m.stale = false
			m.takeOver()
			h.Epoch, h.Lineage, h.Parent = 3<<8|2, c.lineage, ViewID{Epoch: 2<<8 | 2}
			h.Voters, h.OldVoters = c.voters, c.voters
			if c.follows {
				h.Parent = first.ID()
			}
			m.activate(m.build(&h))
			if m.stale != c.stale {
				t.Errorf("its flows are stale: %t", m.stale)
			}
		})
	}
}
