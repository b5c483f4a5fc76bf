package handover

import (
	"reflect"
	"slices"
	"testing"
)

// At every moment of a plan some node takes new connections, whichever of the
// changes of a step come first, nobody asks a node that is away, and everything
// comes up.
func TestPlan(t *testing.T) {
	var seen [kinds]int
	overlapping := 0
	for seed := range uint64(200) {
		steps := Plan(seed, 3, 50)
		if !reflect.DeepEqual(steps, Plan(seed, 3, 50)) {
			t.Fatalf("seed %d: two plans", seed)
		}
		drained, idle, away := map[int]bool{}, map[int]bool{}, map[int]bool{}
		out := func(id int) bool { return drained[id] || idle[id] || away[id] }
		total := 0
		for _, s := range steps {
			before := map[int]bool{1: out(1), 2: out(2), 3: out(3)}
			for _, id := range s.Back {
				if !away[id] {
					t.Fatalf("seed %d: %v: it is not away", seed, s)
				}
				delete(away, id)
			}
			var nodes []int
			for _, c := range s.Changes {
				seen[c.Kind]++
				total++
				if slices.Contains(nodes, c.Node) || away[c.Node] {
					t.Fatalf("seed %d: %v: node %d is away or changed already", seed, s, c.Node)
				}
				nodes = append(nodes, c.Node)
				switch c.Kind {
				case Drain, Undrain:
					if drained[c.Node] == (c.Kind == Drain) {
						t.Fatalf("seed %d: %v changes nothing", seed, s)
					}
					drained[c.Node] = c.Kind == Drain
				case Weigh:
					idle[c.Node] = c.Weight == 0
				case Return:
					drained[c.Node], away[c.Node] = false, true
				}
			}
			for _, c := range s.Changes {
				if away[c.On] {
					t.Fatalf("seed %d: %v: node %d is away", seed, s, c.On)
				}
			}
			takes := 0
			for id := 1; id <= 3; id++ {
				if !before[id] && !out(id) {
					takes++
				}
			}
			if takes == 0 {
				t.Fatalf("seed %d: %v: nobody takes new connections for a moment", seed, s)
			}
			if len(s.Changes) > 1 || len(away) > 0 {
				overlapping++
			}
		}
		if total != 50 {
			t.Fatalf("seed %d: %d changes", seed, total)
		}
	}
	if slices.Contains(seen[:], 0) || overlapping == 0 {
		t.Errorf("changes by kind: %v; %d overlap", seen, overlapping)
	}
}
